"""Inversions of clips: what each is conditioned on."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from uniedit_jax.method.sampling import Sampler
from uniedit_jax.pipeline import invert
from uniedit_jax.sprites.model import CONFIG

TEXTS = {'': np.zeros((2, 3), np.float32), 'a square': np.ones((2, 3), np.float32)}


@pytest.mark.parametrize('prompt', TEXTS)
def test_a_clip_is_inverted_with_its_own_prompt(monkeypatch, tmp_path, prompt):
  given = {}

  def walk(denoise, params, latents, text, sampler, *, null_text, progress):
    given.update(text=text, null=null_text, guidance=sampler.guidance)
    return np.stack([latents] * (sampler.steps + 1))

  monkeypatch.setattr(invert.inversion, 'ddim_invert', walk)
  monkeypatch.setattr(invert, 'batch_denoiser', lambda *_: None)
  model = types.SimpleNamespace(config=CONFIG, params={'unet': {'w': jnp.zeros(1)}}, hash='0' * 64)
  options = invert.InversionOptions('ddim', prompt=prompt, guidance=2.0)
  latents = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)
  sampler = Sampler(CONFIG.schedule, 3, 7.5)
  clip = invert.ClipToInvert(latents, TEXTS, 'a square', options, sampler)
  ((found, cached),) = invert.invert_clips(model, [clip], 'float32', tmp_path, lambda label: iter)
  assert not cached and given['guidance'] == 2.0
  np.testing.assert_array_equal(given['text'][0], TEXTS[prompt])
  np.testing.assert_array_equal(given['null'][0], TEXTS[''])
  # Guidance needs no second half where the prompt is null.
  assert (given['text'] is given['null']) == (prompt == '')
  np.testing.assert_array_equal(found.trajectory, [latents] * 4)
