"""Inversion and null-text optimisation against the original, and what holds for any model."""

import functools
import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.tolerances import EDIT, NULL_TEXT, NULL_TEXT_LOSS, agreement
from uniedit_jax.method.diffusion import NoiseSchedule, ddim_update, sampler_updates
from uniedit_jax.method.inversion import ddim_invert, obelm_invert, optimise_null_text
from uniedit_jax.method.sampling import Sampler

SCHEDULE = NoiseSchedule()
unguided = functools.partial(Sampler, SCHEDULE, guidance=1.0)


@pytest.mark.parametrize('guidance', [1.0, 7.5])
def test_ddim_inversion_agrees_with_the_original(wide, guidance):
  numbers = reference.golden('edit')
  null, source, _ = numbers['text']
  latents = reference.from_torch(numbers['latents'][0])
  sampler = Sampler(SCHEDULE, 4, guidance)
  out = ddim_invert(wide.denoise, wide.params, latents, source, sampler, null_text=null)
  assert agreement(reference.to_torch(out)[:, None], numbers[f'inversion_cfg{guidance:g}']) < EDIT


# The early stop costs minutes here and has a cheap test below: run on demand.
STOPPING = pytest.param('null_text_stop', 8.5, marks=pytest.mark.slow)


@pytest.mark.parametrize('name, threshold', [('null_text', 1e-5), STOPPING])
def test_null_text_agrees_with_the_original(tmp_path, name, threshold):
  numbers, path = reference.golden(name), tmp_path / 'found.npz'
  command = [
    sys.executable,
    '-m',
    'tests.helpers.null_text_golden',
    name,
    str(threshold),
    str(path),
  ]
  plain = {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'}
  subprocess.run(command, env=plain, check=True)
  found = np.load(path)
  # Adam moves an element by its learning rate whatever the size of its gradient: the texts
  # themselves differ.
  # and stops in the same place
  np.testing.assert_allclose(found['losses'], numbers['losses'], rtol=NULL_TEXT_LOSS)
  assert np.isnan(numbers['losses']).any() == (name == 'null_text_stop')
  assert (
    agreement(reference.to_torch(found['latents'])[:, None], numbers['reconstruction']) < NULL_TEXT
  )
  assert found['texts'].shape == (4, *numbers['text'][0].shape)


@pytest.fixture
def clip(rng):
  """Latents, a prompt and a null prompt."""
  latents = rng.standard_normal((2, 4, 4, 4)).astype(np.float32)
  null, text = rng.standard_normal((2, 7, 16)).astype(np.float32)
  return latents, text, null


def test_sampling_recovers_an_inverted_clip(clip):
  """The more steps, the nearer is the noise seen on the way back to that of the way there."""
  latents, text, _ = clip
  denoise = lambda params, x, timestep, text: params * x / (1 + x**2) + text.mean()
  errors = []
  for steps in (10, 40):
    x = ddim_invert(denoise, np.float32(0.05), latents, text, unguided(steps))[-1]
    timesteps, levels = SCHEDULE.timesteps(steps), SCHEDULE.levels(steps)
    for i in range(steps):
      x = ddim_update(*levels[i : i + 2])(x, x, denoise(0.05, x, timesteps[i], text))
    errors.append(agreement(x, latents))
  assert errors[1] < errors[0] / 2
  assert errors[1] < 0.1


def sample(denoise, start, before, updates, timesteps, text):
  """Samples by hand."""
  x = start
  for update, timestep in zip(updates, timesteps, strict=True):
    x, before = update(before, x, denoise(None, x, timestep, text)), x
  return x


def curved(_, x, timestep, text):
  """Noise that depends on everything, and strongly enough that DDIM inversion drifts."""
  return 0.3 * jnp.sin(3 * x) + jnp.float32(timestep) / 1000 * jnp.tanh(x) + text.mean()


def test_fixed_point_inversion_comes_back(clip):
  latents, text, _ = clip
  timesteps, updates = SCHEDULE.timesteps(20), sampler_updates('ddim', SCHEDULE.levels(20))
  drifts = []
  for inner_steps in range(4):
    start = ddim_invert(curved, {}, latents, text, unguided(20), inner_steps=inner_steps)[-1]
    drifts.append(agreement(sample(curved, start, start, updates, timesteps, text), latents))
  assert drifts[0] > 0.05
  assert all(drift < 0.5 * before for before, drift in itertools.pairwise(drifts))


@pytest.mark.parametrize('signal_end', [1.0, 0.7])
def test_obelm_comes_back_exactly(clip, signal_end):
  latents, text, _ = clip
  steps = 20
  schedule = NoiseSchedule('scaled_linear', 0.00085, 0.012, signal_end=signal_end)
  trajectory = obelm_invert(curved, {}, latents, text, Sampler(schedule, steps, 1.0))
  np.testing.assert_array_equal(trajectory[0], latents)
  timesteps, updates = schedule.timesteps(steps), sampler_updates('obelm', schedule.levels(steps))
  back = lambda before: sample(curved, trajectory[-2], before, updates[1:], timesteps[1:], text)
  assert agreement(back(trajectory[-1]), latents) < 1e-4
  assert agreement(back(trajectory[-2]), latents) > 1e-2  # it takes both latents


def test_inversion_predicts_at_the_noisier_level(clip):
  """One step by hand: the noise at timestep t of the latents of t - stride moves them to t."""
  latents, text, _ = clip
  seen = []
  ramp = lambda params, x, timestep, text: params * timestep.astype(np.float32) / 1000 * x
  trajectory = ddim_invert(
    ramp, np.float32(0.5), latents, text, unguided(3), progress=lambda i: seen.append(i) or i
  )
  levels, x = SCHEDULE.train_levels, latents
  for i, (before, after) in enumerate([(0, 1), (1, 334), (334, 667)]):
    x = ddim_update(levels[before], levels[after])(x, x, 0.5 * after / 1000 * x)
    assert agreement(trajectory[i + 1], x) < 1e-5
  np.testing.assert_array_equal(trajectory[0], latents)
  assert seen == [range(3)]


def test_guided_inversion_blends_the_halves(clip):
  latents, text, null = clip
  denoise = lambda params, x, timestep, text: x * text.mean()

  def invert(text, guidance=1.0, **options):
    return ddim_invert(denoise, {}, latents, text, Sampler(SCHEDULE, 2, guidance), **options)

  blend = np.full_like(text, null.mean() + 7.5 * (text.mean() - null.mean()))
  assert agreement(invert(text, guidance=7.5, null_text=null), invert(blend)) < 1e-5
  # Without guidance the null text is not looked at.
  np.testing.assert_array_equal(invert(text, null_text=null), invert(text))


def test_inverting_with_the_null_text_itself_needs_one_half(clip):
  latents, text, _ = clip
  batches = []

  def denoise(params, x, timestep, text):
    jax.debug.callback(lambda: batches.append(1))
    return 0.1 * x

  sampler = Sampler(SCHEDULE, 2, 7.5)
  ddim_invert(denoise, {}, latents, text, sampler, null_text=text)
  jax.effects_barrier()
  assert len(batches) == 2
  ddim_invert(denoise, {}, latents, text, sampler, null_text=text.copy())
  jax.effects_barrier()
  assert len(batches) == 2 + 4


def test_guidance_needs_a_null_text(clip):
  latents, text, _ = clip
  with pytest.raises(
    ValueError, match=r'inversion guidance is 7\.5 without a null text; accepted: 1'
  ):
    ddim_invert(lambda *_: None, {}, latents, text, Sampler(SCHEDULE, 2, 7.5))


def test_null_text_stops_after_the_update_that_was_below_the_threshold(clip):
  latents, text, null = clip
  denoise = lambda params, x, timestep, text: 0.1 * x * text.mean()
  trajectory = ddim_invert(denoise, {}, latents, text, unguided(2))
  optimise = lambda threshold: optimise_null_text(
    denoise, {}, trajectory, text, null, Sampler(SCHEDULE, 2), inner_steps=6, epsilon=threshold
  )
  full = optimise(0.0).losses
  assert np.isfinite(full[0]).all() and (np.diff(full[0]) < 0).all()
  at = (full[0, 2] + full[0, 3]) / 2  # the fourth loss is the first below
  stopped = optimise(at).losses
  np.testing.assert_allclose(stopped[0, :4], full[0, :4], rtol=1e-6)
  assert np.isnan(stopped[0, 4:]).all()


def test_the_threshold_of_null_text_grows_by_2e_5_a_step(clip):
  latents, text, null = clip
  denoise = lambda params, x, timestep, text: 0.1 * x * text.mean()
  trajectory = ddim_invert(denoise, {}, 3e-3 * latents, text, unguided(2))
  sampler, options = Sampler(SCHEDULE, 2), {'inner_steps': 3, 'epsilon': 0.0}
  first, second = optimise_null_text(denoise, {}, trajectory, text, null, sampler, **options).losses
  assert 0 < second[0] < 2e-5 and np.isnan(second[1:]).all()
  assert np.isfinite(first).all()
