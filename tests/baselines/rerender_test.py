"""Rerender-A-Video: frames read the first and the previous one; clean latents follow the first."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.setups import TEXTS, inputs_of, setup_of
from tests.helpers.tolerances import MODULE, UNET, agreement
from tests.helpers.trace import row_names, trace
from uniedit_jax.baselines import plug_and_play
from uniedit_jax.baselines.method import MAIN, own_routes, plan_of_rows
from uniedit_jax.baselines.overrides import CleanEdit, ComparisonOverride
from uniedit_jax.baselines.rerender import Rerender
from uniedit_jax.baselines.tune_a_video import sparse_causal_frames
from uniedit_jax.method.diffusion import NoiseSchedule, ddim_update

SCHEDULE, STEPS = NoiseSchedule(), 4
setup_small = functools.partial(setup_of, steps=STEPS, frames=3, blocks=4, inverted=1)


def test_what_is_read():
  setup = setup_of(steps=20, frames=4, inverted=1)
  plan = Rerender().plan(setup)
  source, halves = 'reconstruction:source', ['main:null', 'main:target']
  assert [row_names(plan, TEXTS, step) for step in (0, 15, 16)] == [
    [source, *halves],
    [source, *halves],
    halves,
  ]
  windows = {
    'spatial_q': ((0, 10), (8, 16)),
    'spatial_k': ((0, 10), (8, 16)),
    'residual': ((0, 16), (8, 9)),
  }
  assert trace(plan, TEXTS) == {
    (slot, half, source): window for slot, window in windows.items() for half in halves
  }
  assert sum(plan.row_counts) == 56
  assert Rerender().cost(setup) == {'inversion_rows': 20, 'optical_flows': 6}


@pytest.mark.parametrize('loose, first', [(False, 7), (True, 10)])
def test_which_frames_are_read(loose, first):
  setup = setup_of(steps=20, frames=4)
  own = [[0, 0], [1, 1], [2, 2], [3, 3]]
  for i, step in enumerate(Rerender(loose=loose).plan(setup).steps):
    frames = step.passes[0].routes.comparison.frames
    if i < 16:
      assert all(frames[0, block].tolist() == own for block in range(16))  # the source
    for block in range(16):
      expected = own if block < first else sparse_causal_frames(4).tolist()
      assert all(row.tolist() == expected for row in frames[-2:, block])
  early = Rerender(cross=(0.0, 0.5)).plan(setup).steps
  reads = [bool((step.passes[0].routes.comparison.frames[-1, 15] == own).all()) for step in early]
  assert reads == [False] * 11 + [True] * 9  # both ends of a range count


def test_when_clean_latents_are_changed():
  setup, seen = setup_of(steps=20), np.ones((3, 4, 4, 1), np.float32)
  changes = lambda **fields: Rerender(**fields).clean_edits(
    setup, SCHEDULE, np.zeros((3, 16), np.int32), seen
  )
  assert [i for i, change in enumerate(changes()) if change.share.any()] == [0, 1, 2]
  assert not any(change.tone for change in changes())
  assert [i for i, change in enumerate(changes(tone=(0.8, 1.0))) if change.tone] == [16, 17, 18, 19]
  levels = np.float32(SCHEDULE.levels(20)[:20])
  np.testing.assert_array_equal([change.level for change in changes()], levels)
  (fault,) = Rerender(warp=(0.0, 2.0)).faults(setup)
  assert fault.startswith('baseline.warp is (0.0, 2.0); accepted: (first, last)')


@pytest.mark.parametrize('tone', [False, True])
@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_a_step_goes_on_from_the_changed_clean_latents(rng, tone, share):
  x, epsilon = rng.standard_normal((2, 2, 3, 4, 5, 4)).astype(np.float32)  # two branches
  before, after = np.float32([[0.3, 0.6], [0.4, 0.5]])
  warp = rng.integers(20, size=(3, 20)).astype(np.int32)
  share = np.float32(share * rng.random((3, 4, 5, 1)))
  clean = (x - np.sqrt(before[1]) * epsilon) / np.sqrt(before[0])
  changed = np.zeros_like(clean)
  for branch in range(2):
    first = clean[branch, 0].reshape(20, 4)
    for frame in range(3):
      tokens = clean[branch, frame].reshape(20, 4)
      if tone:
        tokens = (tokens - tokens.mean(0)) / tokens.std(0) * first.std(0) + first.mean(0)
      weight = share[frame].reshape(20, 1)
      mixed = weight * first[warp[frame]] + (1 - weight) * tokens
      changed[branch, frame] = mixed.reshape(4, 5, 4)
  change = CleanEdit(before, np.bool_(tone), warp, share)
  found = ddim_update(before, after)(x, change(x, epsilon), epsilon)
  # The tolerance covers the 1e-5 that is added to the deviation.
  assert agreement(found, np.sqrt(after[0]) * changed + np.sqrt(after[1]) * epsilon) < 1e-4


@pytest.fixture(scope='module')
def clip():
  rng = np.random.default_rng(5)
  trajectory = rng.standard_normal((STEPS + 1, 3, 4, 4, 4)).astype(np.float32)
  return trajectory, jnp.asarray(rng.standard_normal((3, 7, 16)), jnp.float32)


@pytest.fixture(scope='module')
def edit(tiny, clip):
  image_apply = functools.partial(tiny.apply, temporal=False)
  nothing_moves = np.tile(np.arange(16, dtype=np.int32), (3, 1)), np.ones((3, 4, 4, 1), np.float32)

  def run(plan, method=None, trajectory=clip[0]):
    clean = method and method.clean_edits(setup_small(), SCHEDULE, *nothing_moves)
    inputs = inputs_of(image_apply, tiny.params, trajectory, clip[1], plan, clean=clean)
    return np.asarray(plug_and_play.sample(*inputs)[MAIN])

  return run


def plug_and_play_layout():
  """Plug-and-Play on every frame alone."""
  setup, own = setup_small(), own_routes(3, 4)
  own = own._replace(comparison=ComparisonOverride(residual=own.spatial_q))
  routes = [plug_and_play.plug(own, setup, i, plug_and_play.Shares()) for i in range(STEPS)]
  return plan_of_rows([plug_and_play.rows_of(setup)] * STEPS, routes)


def test_a_still_clip_is_plug_and_play_on_its_frame(clip, edit):
  still = np.repeat(clip[0][:, :1], 3, axis=1)
  method = Rerender(tone=(0.0, 1.0))
  found = edit(method.plan(setup_small()), method, still)
  assert agreement(found, edit(plug_and_play_layout(), trajectory=still)) < UNET


def test_every_part_is_felt(clip, edit):
  off = {'cross': (1.0, 0.0), 'warp': (1.0, 0.0), 'tone': (1.0, 0.0)}

  def run(**fields):
    method = Rerender(**off | fields)
    return edit(method.plan(setup_small()), method)

  plain = run()
  # Three rows in all steps, or two at the end.
  assert agreement(plain, edit(plug_and_play_layout())) < 10 * UNET
  for part in ('cross', 'warp', 'tone'):
    part_on = {part: (0.0, 0.1 if part == 'warp' else 1.0)}
    found = run(**part_on)
    assert agreement(found, plain) > 1e-2, part
    # The first frame follows itself.
    np.testing.assert_allclose(found[0], plain[0], rtol=1e-5, atol=1e-4)
  assert agreement(run(attention_share=0.0, residual_share=0.0), plain) > 1e-3


def test_nothing_to_change_changes_nothing(rng):
  x, epsilon = rng.standard_normal((2, 1, 3, 4, 4, 4)).astype(np.float32)
  nothing = CleanEdit(
    np.float32([0.5, 0.3]),
    np.bool_(False),
    np.zeros((3, 16), np.int32),
    np.zeros((3, 4, 4, 1), np.float32),
  )
  assert agreement(nothing(x, epsilon), x) < MODULE
