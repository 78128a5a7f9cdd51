"""TokenFlow: one frame is Plug-and-Play, tokens copy their nearest, and the reads of every step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.setups import TEXTS, inputs_of, sample_plainly, setup_of
from tests.helpers.tolerances import MODULE, UNET, agreement
from tests.helpers.trace import row_names, trace
from uniedit_jax.baselines import plug_and_play
from uniedit_jax.baselines.method import MAIN, own_routes, plan_of_rows
from uniedit_jax.baselines.overrides import ComparisonOverride, Flow
from uniedit_jax.baselines.tokenflow import TokenFlow, segment_neighbours, with_keyframes
from uniedit_jax.method import sampling
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models.comparison_attention import propagate

SCHEDULE, STEPS = NoiseSchedule(), 4
setup_small = functools.partial(setup_of, steps=STEPS, blocks=4, inverted=1)


def test_what_is_read():
  plan = TokenFlow(segment=4).plan(setup_of(steps=50, frames=16, inverted=1))
  source, halves = 'reconstruction:source', ('main:null', 'main:target')
  assert row_names(plan, TEXTS, 0) == row_names(plan, TEXTS, 49) == [source, *halves]
  windows = {
    'spatial_q': ((0, 25), (8, 16)),
    'spatial_k': ((0, 25), (8, 16)),
    'residual': ((0, 40), (8, 9)),
    'flow': ((0, 50), (0, 16)),
  }
  assert trace(plan, TEXTS) == {
    (slot, half, source): window for slot, window in windows.items() for half in halves
  }
  assert plan.stored.tolist() == [[True, False]] * 50
  assert sum(plan.row_counts) == 150


def test_keyframes_are_drawn_anew_and_see_each_other():
  method, setup = TokenFlow(segment=4), setup_of(steps=50, frames=16, inverted=1)
  routes = [step.passes[0].routes.comparison for step in method.plan(setup).steps]
  drawn = np.array([r.flow.drawn[0, 0] for r in routes])
  assert (drawn // 4 == np.arange(4)).all()  # one of each segment
  assert all(set(drawn[:, segment] % 4) == {0, 1, 2, 3} for segment in range(4))
  assert len({tuple(offsets) for offsets in drawn % 4}) > 20  # independently
  assert (routes[7].flow.drawn == drawn[7]).all()  # the same in all rows and blocks
  for block in (0, 15):
    source, *halves = routes[0].frames[:, block]
    assert source.tolist() == [[0] * 4, [1] * 4, [2] * 4, [3] * 4]
    assert all(half.tolist() == [[0, 1, 2, 3]] * 4 for half in halves)
  assert method.cost(setup) == {'inversion_rows': 50, 'keyframes_of_a_row': 4}
  assert TokenFlow(segment=5).faults(setup) == [
    'baseline.segment is 5; accepted: a divisor of the 16 frames'
  ]
  assert TokenFlow(attention_share=2).faults(setup) == [
    'baseline.attention_share is 2; accepted: 0 to 1'
  ]


def test_neighbours_are_those_of_the_authors():
  pairs, weights = segment_neighbours(12, 4)
  assert pairs.tolist() == [[0, 0]] * 4 + [[1, 0]] * 4 + [[2, 1]] * 4
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  # Frame 6 is the middle of its segment, 4 from the one before; frame 4 is 2 from both.
  assert weights[:4].tolist() == [1] * 4
  np.testing.assert_allclose(weights[[6, 4]], sigmoid(np.array([1, 0.5])), rtol=1e-6)
  assert (weights[4:] > 0.5).all() and (weights[4:] <= 0.7311).all()


def test_tokens_follow_the_nearest(rng):
  features, outputs = rng.standard_normal((2, 5, 6, 8)).astype(np.float32)
  pairs, weights = np.array([[0, 0], [1, 0], [1, 0]]), np.float32([1, 0.6, 0.7])
  found = propagate(
    jnp.asarray(features), jnp.asarray(outputs[:2]), Flow(None, np.array([0, 2]), pairs, weights)
  )
  unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
  for frame in range(3):
    for token in range(6):
      first, second = (
        outputs[k][np.argmax(unit[k] @ unit[2 + frame, token])] for k in pairs[frame]
      )
      expected = weights[frame] * first + (1 - weights[frame]) * second
      np.testing.assert_allclose(found[frame, token], expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope='module')
def image_apply(tiny):
  return functools.partial(tiny.apply, temporal=False)


@pytest.fixture(scope='module')
def flow_apply(image_apply):
  return with_keyframes(image_apply)


@pytest.fixture(scope='module')
def clip():
  rng = np.random.default_rng(5)
  trajectory = rng.standard_normal((STEPS + 1, 4, 4, 4, 4)).astype(np.float32)
  return trajectory, jnp.asarray(rng.standard_normal((3, 7, 16)), jnp.float32)


@pytest.fixture(scope='module')
def edit(tiny, clip, flow_apply):
  def run(method, trajectory=clip[0], **fields):
    plan = method.plan(setup_small(frames=trajectory.shape[1], **fields))
    inputs = inputs_of(flow_apply, tiny.params, trajectory, clip[1], plan)
    return np.asarray(plug_and_play.sample(*inputs)[MAIN])

  return run


def test_a_single_frame_is_plug_and_play(tiny, clip, image_apply, edit):
  trajectory = clip[0][:, :1]
  setup, shares = setup_small(frames=1), plug_and_play.Shares()
  own = own_routes(3, 4)
  own = own._replace(comparison=ComparisonOverride(residual=own.spatial_q))
  routes = [plug_and_play.plug(own, setup, i, shares) for i in range(STEPS)]
  plan = plan_of_rows([plug_and_play.rows_of(setup)] * STEPS, routes)

  def sample(plan):
    return plug_and_play.sample(*inputs_of(image_apply, tiny.params, trajectory, clip[1], plan))

  expected = sample(plan)[MAIN]
  assert agreement(edit(TokenFlow(segment=1), trajectory), expected) < UNET
  # Features are felt: attention in the first two steps, the residual in the third as well.
  assert int(STEPS * 0.5) == 2 and int(STEPS * 0.8) == 3
  for stop in (0, 2):
    routes = [plug_and_play.plug(own, setup, i, shares) if i < stop else own for i in range(STEPS)]
    less = plan_of_rows([plug_and_play.rows_of(setup)] * STEPS, routes)
    assert agreement(sample(less)[MAIN], expected) > 1e-4


def test_equal_prompts_and_one_keyframe_predict_the_source(tiny, clip, flow_apply):
  predict = jax.jit(sampling.predict_rows, static_argnums=0)
  trajectory, texts = clip
  for share in (0.0, 1.0):
    method = TokenFlow(segment=4, attention_share=share, residual_share=share)
    (rows,) = method.plan(setup_small(frames=4, uncond=1, target=1)).steps[0].passes
    epsilon = predict(
      flow_apply, tiny.params, jnp.stack([trajectory[-1]] * 2), texts, rows, np.int32(751)
    )
    assert agreement(epsilon[1], epsilon[0]) < 10 * MODULE
    assert agreement(epsilon[2], epsilon[0]) < 10 * MODULE
  # Of another text it is another noise.
  (rows,) = method.plan(setup_small(frames=4)).steps[0].passes
  epsilon = predict(
    flow_apply, tiny.params, jnp.stack([trajectory[-1]] * 2), texts, rows, np.int32(751)
  )
  assert agreement(epsilon[2], epsilon[0]) > 1e-3


def test_equal_frames_stay_equal(clip, edit):
  still = np.repeat(clip[0][:, :1], 4, axis=1)
  found = edit(TokenFlow(segment=2), still)
  for frame in range(1, 4):
    assert agreement(found[frame], found[0]) < UNET
  # And then they are what the single frame is.
  assert agreement(found[0], edit(TokenFlow(segment=1), still[:, :1])[0]) < UNET


def test_frames_of_a_clip_follow_their_keyframes(tiny, clip, image_apply, edit):
  found = edit(TokenFlow(segment=2))
  assert agreement(found, edit(TokenFlow(segment=4))) > 1e-2
  one = jax.jit(lambda x, t, text: image_apply({'params': tiny.params}, x, t, text)[0])
  inverted_plainly = sample_plainly(one, clip[0][-1], (clip[1][0], clip[1][2]), STEPS)
  assert agreement(found, inverted_plainly) > 1e-2


def test_image_mode_keeps_frames_apart(tiny, clip, image_apply):
  x, text = clip[0][-1], clip[1][1]
  run = jax.jit(lambda x: image_apply({'params': tiny.params}, x, np.int32(501), text)[0])
  together = run(x)
  for frame in range(4):
    assert agreement(run(x[frame : frame + 1])[0], together[frame]) < 10 * MODULE
