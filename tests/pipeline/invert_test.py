"""Inversions of clips: what each is conditioned on, and their cache, where what is damaged or not
finite is made again and never kept.
"""

import logging
import types

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.sampling import Sampler
from uniedit_jax.pipeline import invert
from uniedit_jax.sprites.model import CONFIG

SHAPE = 2, 4, 4, 3
TEXTS = {'': np.zeros((2, 3), np.float32), 'a square': np.ones((2, 3), np.float32)}


@pytest.fixture
def clip():
  options = invert.InversionOptions('direct', '')
  sampler = Sampler(NoiseSchedule(), steps=2)
  return invert.ClipToInvert(np.zeros(SHAPE, np.float32), {}, '', options, sampler)


@pytest.fixture
def path(tmp_path):
  return epath.Path(tmp_path / 'cache' / 'a.npz')


def found(steps=2, free=True):
  arrays = {'trajectory': np.random.default_rng(0).random((steps + 1, *SHAPE), np.float32)}
  return arrays | ({'free': np.zeros(SHAPE, np.float32)} if free else {})


def with_nan(name, index):
  arrays = found()
  arrays[name][index] = np.nan
  return arrays


def test_what_is_kept_is_read(path, clip):
  kept = invert._keep_inversion(path, found())
  np.testing.assert_array_equal(invert._read_inversion(path, clip).trajectory, kept.trajectory)


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(bytes(data))


@pytest.mark.parametrize(
  'damage',
  [
    flip,
    lambda path: path.write_bytes(path.read_bytes()[:-30]),
    lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(b'garbage'),
    lambda path: np.savez(path, **found(steps=3)),
    lambda path: np.savez(path, **found(free=False)),
    lambda path: np.savez(path, **found(), more=np.zeros(1)),
    lambda path: np.savez(path, **with_nan('trajectory', 1)),
    lambda path: np.savez(path, **with_nan('free', 0)),
    lambda path: np.savez(path, trajectory=np.array([object()])),
  ],
)
def test_a_damaged_inversion_is_named_and_removed(path, clip, damage, caplog):
  invert._keep_inversion(path, found())
  damage(path)
  with caplog.at_level(logging.WARNING):
    assert invert._read_inversion(path, clip) is None
  assert str(path) in caplog.text and not path.exists()
  assert invert._read_inversion(path, clip) is None


def test_an_inversion_that_is_not_finite_is_not_kept(path, caplog):
  for arrays, words in (
    (with_nan('trajectory', 2), 'after step 2 of 2; it is not kept'),
    (with_nan('free', 0), 'free of the inversion'),
  ):
    caplog.clear()
    invert._keep_inversion(path, arrays)
    assert not path.exists() and words in caplog.text


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
