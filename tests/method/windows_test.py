"""Windows cover a clip, and blending them is the plain model where that is possible."""

import jax
import numpy as np
import pytest

from tests.helpers.plans import plan_of
from tests.helpers.tolerances import UNET, agreement
from uniedit_jax.method.injection import Injections, StructureControl
from uniedit_jax.method.sampling import predict_rows
from uniedit_jax.method.windows import window_starts, window_weights, windowed

EXAMPLES = [
  *[(16, 16, 8, [0]), (24, 16, 8, [0, 8]), (17, 16, 8, [0, 1])],
  *[(48, 16, 8, [0, 8, 16, 24, 32]), (9, 4, 0, [0, 2, 5])],
]


@pytest.mark.parametrize('frames, length, overlap, starts', EXAMPLES)
def test_windows_cover_the_clip_evenly(frames, length, overlap, starts):
  found = window_starts(frames, length, overlap)
  assert found.tolist() == starts
  weights = window_weights(found, length, frames)
  total = np.zeros(frames)
  for start, weight in zip(found, weights, strict=True):
    total[start : start + length] += weight
  np.testing.assert_allclose(total, 1, atol=1e-6)
  assert (weights > 0).all() and weights.shape == (len(starts), length)


def test_a_window_counts_most_in_its_middle():
  weights = window_weights(np.array([0, 2]), 4, 6)
  np.testing.assert_allclose(weights, [[1, 1, 2 / 3, 1 / 3], [1 / 3, 2 / 3, 1, 1]], rtol=1e-6)


def test_windows_that_do_not_fit():
  with pytest.raises(
    ValueError, match=r'window\.frames is 17 for a clip of 16 frames; accepted: 1 to 16'
  ):
    window_starts(16, 17, 8)
  with pytest.raises(
    ValueError, match=r'window\.overlap is 8 for windows of 8 frames; accepted: 0 to 7'
  ):
    window_starts(16, 8, 8)


def test_a_model_of_single_frames_does_not_notice_windows(rng):
  latents = rng.standard_normal((11, 2, 2, 3)).astype(np.float32)
  masks = {'grid': rng.random((11, 4, 1)) < 0.5}
  seen = set()

  def apply(variables, latents, timestep, text, routes, masks):
    seen.add(latents.shape)
    return latents * timestep + masks['grid'].reshape(-1, 2, 2, 1), {}

  epsilon, tapped = jax.jit(windowed(apply, 4, 2))({}, latents, 3.0, None, None, masks)
  assert agreement(epsilon, latents * 3 + masks['grid'].reshape(-1, 2, 2, 1)) < 1e-6
  assert seen == {(4, 2, 2, 3)} and tapped == {}


def test_one_window_is_the_plain_model_and_rows_cross_in_all(tiny, rng):
  latents = rng.standard_normal((2, 5, 4, 4, 4)).astype(np.float32)
  texts = rng.standard_normal((3, 7, 16)).astype(np.float32)
  plan = plan_of(
    'appearance',
    [Injections(StructureControl((0, 1), (0, 4)))],
    1,
    blocks=4,
    source=1,
    targets=[2],
    wanted=('main',),
  )
  (rows,) = plan.steps[0].passes
  jitted = jax.jit(predict_rows, static_argnums=0)
  predict = lambda apply, latents: np.asarray(jitted(apply, tiny.params, latents, texts, rows, 7))
  whole = predict(tiny.apply, latents)
  assert agreement(predict(windowed(tiny.apply, 5, 2), latents), whole) < UNET
  found = predict(windowed(tiny.apply, 3, 1), latents)
  parts = [predict(tiny.apply, latents[:, i : i + 3]) for i in (0, 2)]
  expected = np.concatenate(
    [parts[0][:, :2], (parts[0][:, 2:] + parts[1][:, :1]) / 2, parts[1][:, 1:]], axis=1
  )
  assert agreement(found, expected) < UNET
  assert agreement(found, whole) > 1e-2
