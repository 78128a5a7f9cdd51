"""The schedules of known models: the originals' numbers, and what follows from any of them."""

import dataclasses
import itertools

import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.plans import plan_of
from tests.helpers.tolerances import COEFFICIENT, LEVEL, UNET, agreement
from uniedit_jax.method import sampling
from uniedit_jax.method.diffusion import NoiseSchedule, ddim_update, sampler_updates
from uniedit_jax.method.injection import Injections
from uniedit_jax.method.inversion import ddim_invert, obelm_invert, optimise_null_text
from uniedit_jax.models.presets import (
  ANIMATEDIFF_SCHEDULE,
  LAVIE,
  MODELSCOPE_SCHEDULE,
  VIDEOCRAFTER2_SCHEDULE,
)

# File -> schedule; diffusers' AnimateDiff ends where Stable Diffusion does.
ORIGINALS = {
  'modelscope': MODELSCOPE_SCHEDULE,
  'videocrafter': VIDEOCRAFTER2_SCHEDULE,
  'animatediff': dataclasses.replace(ANIMATEDIFF_SCHEDULE, set_alpha_to_one=False),
  'animatediff_alpha_one': ANIMATEDIFF_SCHEDULE,
}
KNOWN = [LAVIE.schedule, *ORIGINALS.values()]
original = pytest.mark.parametrize('name', ORIGINALS)
known = pytest.mark.parametrize('schedule', KNOWN, ids=['lavie', *ORIGINALS])


def golden(name):
  return reference.golden(f'{name}_schedule')


def original_levels(numbers, steps):
  """(alphas_cumprod, signal scale) f64[S + 1] of the original's levels."""
  alphas = np.float64(numbers[f'levels{steps}'])
  return alphas, np.float64(numbers.get(f'scale{steps}', np.ones(steps + 1)))


@original
def test_every_timestep_has_the_power_of_the_original(name):
  numbers, schedule = golden(name), ORIGINALS[name]
  np.testing.assert_allclose(schedule.alphas_cumprod, numbers['alphas_cumprod'], rtol=LEVEL)
  scale = numbers.get('signal_scale', np.ones(1000))
  np.testing.assert_allclose(schedule.signal_scale, scale, rtol=LEVEL)
  alphas = np.float64(numbers['alphas_cumprod'])
  levels = np.stack([alphas * scale**2, 1 - alphas], axis=1)
  np.testing.assert_allclose(schedule.train_levels, levels, rtol=0, atol=LEVEL)


@original
@pytest.mark.parametrize('steps', [4, 50])
def test_steps_go_through_the_levels_of_the_original(name, steps):
  numbers, schedule = golden(name), ORIGINALS[name]
  np.testing.assert_array_equal(schedule.timesteps(steps), numbers[f'timesteps{steps}'])
  alphas, scale = original_levels(numbers, steps)
  levels = schedule.levels(steps)
  assert levels.shape == (steps + 1, 2)
  np.testing.assert_allclose(levels[:, 0], alphas * scale**2, rtol=2 * LEVEL)
  np.testing.assert_allclose(levels[:, 1], 1 - alphas, rtol=0, atol=LEVEL)


@original
@pytest.mark.parametrize('steps', [4, 50])
def test_a_step_there_and_back_has_the_coefficients_of_the_original(name, steps):
  """The original predicts x_0 = (x - sqrt(1 - a) epsilon) / sqrt(a) / s, and adds noise again."""
  levels = ORIGINALS[name].levels(steps)
  pairs = list(zip(*original_levels(golden(name), steps), strict=True))
  for i, j in [*itertools.pairwise(range(steps + 1)), *itertools.pairwise(range(steps, -1, -1))]:
    (alpha, scale), (alpha_to, scale_to) = pairs[i], pairs[j]
    latents = scale_to * np.sqrt(alpha_to) / np.sqrt(alpha) / scale
    noise = np.sqrt(1 - alpha_to) - latents * np.sqrt(1 - alpha)
    found = ddim_update(levels[i], levels[j])
    np.testing.assert_allclose(found, [0, latents, noise], rtol=0, atol=COEFFICIENT)


def test_the_last_step_alone_tells_the_two_ends_of_animatediff_apart():
  """The noise of the last step, found in one run, leads to the end of the other."""
  one, first = golden('animatediff_alpha_one')['sampling'], golden('animatediff')['sampling']
  np.testing.assert_array_equal(one[:3], first[:3])
  updates = {
    name: sampler_updates('ddim', ORIGINALS[name].levels(4))[3]
    for name in ('animatediff', 'animatediff_alpha_one')
  }
  known = updates['animatediff']
  epsilon = (first[3] - known.latents * first[2]) / known.noise
  found = updates['animatediff_alpha_one'](one[2], one[2], epsilon)
  assert agreement(found, one[3]) < UNET
  assert agreement(first[3], one[3]) > 100 * UNET


def test_a_signal_scale_of_one_is_none():
  for schedule in KNOWN:
    plain = dataclasses.replace(schedule, signal_end=1.0)
    np.testing.assert_array_equal(plain.signal_scale, np.ones(1000))
    alphas = np.float64(plain.alphas_cumprod)
    np.testing.assert_array_equal(plain.train_levels, np.stack([alphas, 1 - alphas], axis=1))


def test_the_signal_scale_falls_in_a_line_and_stays():
  scale = NoiseSchedule(signal_end=0.5, signal_steps=11, train_steps=20).signal_scale
  np.testing.assert_allclose(scale, [*np.linspace(1, 0.5, 11), *[0.5] * 9], rtol=1e-12)
  for end in (0.0, 1.5):
    with pytest.raises(ValueError, match=f'signal_end is {end}; accepted: above 0 and at most 1'):
      NoiseSchedule(signal_end=end)
  with pytest.raises(ValueError, match='signal_steps is 1; accepted: at least 2'):
    NoiseSchedule(signal_steps=1)


STEPS = 8


@pytest.fixture
def clip(rng):
  """z_0, the noise that a model of one clip predicts everywhere, and two texts."""
  clean, noise = rng.standard_normal((2, 2, 4, 4, 4)).astype(np.float32)
  return clean, noise, *rng.standard_normal((2, 7, 16)).astype(np.float32)


def on_the_line(schedule, clean, noise):
  """The latents f32[S + 1, ...] of clean latents and noise before the first, ..., last step."""
  signal, power = np.sqrt(schedule.levels(STEPS)).T[..., None, None, None, None]
  return np.float32(signal * clean + power * noise)


def constant(noise, latents, timestep, text):
  """A model that predicts its parameter whatever it sees."""
  return noise


INVERSIONS = {
  'ddim': ddim_invert,
  'fixed_point': lambda *inputs, **given: ddim_invert(*inputs, inner_steps=2, **given),
  'obelm': obelm_invert,
}


@known
@pytest.mark.parametrize('method', INVERSIONS)
@pytest.mark.parametrize('guidance', [1.0, 7.5])
def test_inversion_keeps_clean_latents_and_noise_at_every_level(schedule, method, guidance, clip):
  clean, noise, text, null = clip
  line = on_the_line(schedule, clean, noise)
  sampler = sampling.Sampler(schedule, STEPS, guidance)
  found = INVERSIONS[method](constant, noise, line[-1], text, sampler, null_text=null)
  for latents, expected in zip(found, line[::-1], strict=True):
    assert agreement(latents, expected) < 2 * UNET


@known
def test_null_text_optimisation_keeps_clean_latents_and_noise_at_every_level(schedule, clip):
  clean, noise, text, null = clip
  line = on_the_line(schedule, clean, noise)
  sampler = sampling.Sampler(schedule, STEPS)
  found = optimise_null_text(constant, noise, line[::-1], text, null, sampler, inner_steps=1)
  for latents, expected in zip(found.latents, line[1:], strict=True):
    assert agreement(latents, expected) < 2 * UNET


@known
@pytest.mark.parametrize('kind', ['ddim', 'obelm'])
def test_edits_keep_clean_latents_and_noise_at_every_level(schedule, kind, clip):
  clean, noise, text, null = clip
  line, seen = on_the_line(schedule, clean, noise), []
  apply = lambda variables, *_: (variables['params'], {})
  plan = plan_of('appearance', [Injections()], STEPS, blocks=1, wanted=('main',))
  found = sampling.sample_edit(
    sampling.Network(apply, noise),
    line[0],
    plan,
    sampling.Sampler(schedule, STEPS, kind=kind),
    sampling.Conditioning(np.stack([null, text])),
    visit=lambda _, latents: seen.append(latents[0, -1]),
  )
  for latents, expected in zip([*seen, *found.values()], line, strict=True):
    assert agreement(latents, expected) < 2 * UNET
