"""The noise schedule against known numbers, and the algebra of the DDIM update and of guidance."""

import numpy as np
import pytest

from tests.helpers.tolerances import MODULE
from uniedit_jax.method.diffusion import (
  NoiseSchedule,
  ddim_update,
  guide,
  obelm_update,
  sampler_updates,
)

LAVIE = NoiseSchedule()
ANIMATEDIFF = NoiseSchedule(beta_start=0.00085, beta_end=0.012)
STABLE_DIFFUSION = NoiseSchedule('scaled_linear', 0.00085, 0.012)


# Levels (signal, noise) from noisy to clean; two powers need not add up to one.
NOISY, MIDDLE, CLEAN = (0.1, 0.9), (0.2, 0.7), (0.6, 0.4)


def ddim_step(latents, epsilon, level_from, level_to):
  return ddim_update(level_from, level_to)(latents, latents, epsilon)


def test_timesteps_are_leading_with_offset():
  timesteps = LAVIE.timesteps(50)
  np.testing.assert_array_equal(timesteps, np.arange(981, 0, -20))
  assert timesteps.dtype == np.int32
  np.testing.assert_array_equal(LAVIE.timesteps(4), [751, 501, 251, 1])
  np.testing.assert_array_equal(NoiseSchedule(offset=0).timesteps(3), [666, 333, 0])


@pytest.mark.parametrize(
  'schedule, known',
  [
    (LAVIE, {0: 0.99990, 1: 0.99978, 500: 0.0778, 981: 5.79e-5, 999: 4.04e-5}),
    (ANIMATEDIFF, {0: 0.99915, 1: 0.99829, 500: 0.1608, 981: 0.00196, 999: 0.00158}),
    (STABLE_DIFFUSION, {0: 0.99915, 1: 0.99830, 500: 0.2763, 981: 0.00578, 999: 0.00466}),
  ],
)
def test_alphas_at_known_timesteps(schedule, known):
  alphas = schedule.alphas_cumprod
  assert alphas.dtype == np.float32
  for timestep, alpha in known.items():
    rounded = float(f'{alphas[timestep]:.3g}')
    assert rounded == pytest.approx(float(f'{alpha:.3g}'), rel=2e-3), timestep


def test_levels_end_with_the_first_alpha_and_not_with_one():
  signal, noise = LAVIE.levels(50).T
  np.testing.assert_array_equal(signal[:50], LAVIE.alphas_cumprod[981::-20])
  assert signal[50] == LAVIE.alphas_cumprod[0] < 1
  assert (np.diff(signal) > 0).all()
  np.testing.assert_array_equal(noise, 1 - signal)


def test_levels_may_end_without_noise():
  levels = NoiseSchedule(set_alpha_to_one=True).levels(50)
  np.testing.assert_array_equal(levels[:50], LAVIE.levels(50)[:50])
  np.testing.assert_array_equal(levels[50], [1, 0])


def test_ddim_step_keeps_the_clean_latents_and_the_noise(rng):
  clean, noise = rng.standard_normal((2, 3, 4))
  at = lambda level: np.sqrt(level[0]) * clean + np.sqrt(level[1]) * noise
  np.testing.assert_allclose(ddim_step(at(NOISY), noise, NOISY, CLEAN), at(CLEAN), atol=1e-6)


def test_ddim_step_there_and_back_is_the_identity(rng):
  latents, epsilon = rng.standard_normal((2, 3, 4)).astype(np.float32)
  there = ddim_step(latents, epsilon, CLEAN, MIDDLE)
  np.testing.assert_allclose(ddim_step(there, epsilon, MIDDLE, CLEAN), latents, atol=1e-6)
  np.testing.assert_allclose(ddim_step(latents, epsilon, MIDDLE, MIDDLE), latents, atol=1e-6)


def test_obelm_is_exact_where_ddim_is_not(rng):
  """A parabola in sigma is determined by two latents and the slope at the last ones."""
  position, slope, curve = rng.standard_normal((3, 5))

  def at(level):
    signal, noise = level
    sigma = np.sqrt(noise / signal)
    clean = position + slope * sigma + curve * sigma**2
    return np.sqrt(signal) * clean, slope + 2 * curve * sigma

  for levels in ((NOISY, MIDDLE, CLEAN), (CLEAN, MIDDLE, NOISY)):
    (before, _), (latents, epsilon), (wanted, _) = map(at, levels)
    np.testing.assert_allclose(obelm_update(*levels)(before, latents, epsilon), wanted, atol=1e-5)
    assert np.abs(ddim_step(latents, epsilon, *levels[1:]) - wanted).max() > 0.1


def test_obelm_goes_back_where_it_came_from(rng):
  before, latents, epsilon = rng.standard_normal((3, 4)).astype(np.float32)
  after = obelm_update(NOISY, MIDDLE, CLEAN)(before, latents, epsilon)
  back = obelm_update(CLEAN, MIDDLE, NOISY)(after, latents, epsilon)
  np.testing.assert_allclose(back, before, atol=1e-5)


def test_samplers_end_with_ddim():
  levels = LAVIE.levels(5)
  ddim, obelm = (sampler_updates(name, levels) for name in ('ddim', 'obelm'))
  assert len(ddim) == len(obelm) == 5
  assert [a == b for a, b in zip(ddim, obelm, strict=True)] == [True, False, False, False, True]
  assert sampler_updates('obelm', LAVIE.levels(1)) == sampler_updates('ddim', LAVIE.levels(1))
  with pytest.raises(ValueError, match=r"sampler is 'euler'; accepted: \('ddim', 'obelm'\)"):
    sampler_updates('euler', levels)


def test_updates_are_in_float32(rng):
  before, latents, epsilon = rng.standard_normal((3, 4)).astype(np.float16)
  assert ddim_step(latents, epsilon, NOISY, CLEAN).dtype == np.float32
  assert obelm_update(NOISY, MIDDLE, CLEAN)(before, latents, epsilon).dtype == np.float32
  assert guide(latents, epsilon, 7.5).dtype == np.float32


def test_guidance(rng):
  uncond, cond = rng.standard_normal((2, 3, 4)).astype(np.float32)
  np.testing.assert_allclose(guide(uncond, cond, 7.5), 7.5 * cond - 6.5 * uncond, atol=20 * MODULE)
  np.testing.assert_array_equal(guide(uncond, cond, 0.0), uncond)
  # A null-prompt branch needs no second half: whatever the scale, equal halves come out unchanged.
  np.testing.assert_array_equal(guide(cond, cond, 7.5), cond)


@pytest.mark.parametrize('steps', [0, -1, 1000])
def test_number_of_steps_is_checked(steps):
  with pytest.raises(ValueError, match=f'steps is {steps}; accepted: 1 to 999'):
    LAVIE.timesteps(steps)


def test_fields_are_checked():
  with pytest.raises(
    ValueError, match=r"beta_schedule is 'cosine'; accepted: 'linear', 'scaled_linear'"
  ):
    NoiseSchedule('cosine')
  for betas in ((0.0, 0.02), (0.02, 0.01), (0.1, 1.0)):
    with pytest.raises(ValueError, match='accepted: 0 < beta_start <= beta_end < 1'):
      NoiseSchedule('linear', *betas)
