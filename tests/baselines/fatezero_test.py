"""FateZero: the edit uses the maps of the inversion in the steps and blocks of its settings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.setups import TEXTS, inputs_of, sample_plainly, setup_of
from tests.helpers.tolerances import MODULE, UNET, agreement
from tests.helpers.trace import row_names, trace
from uniedit_jax.baselines import fatezero
from uniedit_jax.baselines.fatezero import FateZero
from uniedit_jax.baselines.method import MAIN
from uniedit_jax.baselines.overrides import ComparisonOverride
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.overrides import ROW_AXIS, AttentionOverride

SCHEDULE, STEPS = NoiseSchedule(), 3
setup_small = functools.partial(setup_of, steps=STEPS, frames=3, blocks=4, inverted=1)


def frames_of(setup):
  """The override of the inversion: the frames that all others read."""
  return AttentionOverride(comparison=ComparisonOverride(frames=FateZero().frames(setup)))


def test_reads_of_the_source():
  setup = setup_of(steps=50, frames=8, inverted=1)
  plan = FateZero().plan(setup)
  # The conditional half alone; the source has one row and no guidance.
  for step, expected in (
    (0, ['reconstruction:source', 'main:null', 'main:target']),
    (40, ['main:null', 'main:target']),
  ):
    assert row_names(plan, TEXTS, step) == expected
  reader, source, blocks = 'main:target', 'reconstruction:source', (2, 13)
  assert trace(plan, TEXTS) == {
    ('spatial_q', reader, source): ((0, 40), blocks),
    ('spatial_k', reader, source): ((0, 40), blocks),
    ('text_maps', reader, source): ((0, 40), blocks),
  }
  assert sum(plan.row_counts) == 3 * 40 + 2 * 10
  assert FateZero().cost(setup) == {'inversion_rows': 50}
  # The source takes stored latents in every step.
  assert plan.stored.tolist() == [[True, False]] * 50


def test_shares_count_as_the_authors_do():
  # int(50 * .3) = 15; text attention counts one step more: int(51 * .5) = 25; int(11 * .9) = 9.
  assert FateZero(self_share=0.3, cross_share=0.5).stops(50) == (15, 25)
  assert FateZero(self_share=0.9, cross_share=0.9).stops(10) == (9, 9)
  plan = FateZero(self_share=0.3, cross_share=0.5).plan(setup_of(steps=50, inverted=1))
  steps_of = {slot: steps for (slot, *_), (steps, _) in trace(plan, TEXTS).items()}
  assert steps_of == {'spatial_q': (0, 15), 'spatial_k': (0, 15), 'text_maps': (0, 25)}


def test_frames_read_the_middle_one_where_maps_are_controlled():
  frames = FateZero().frames(setup_of(frames=8))
  for block in range(16):
    assert frames[block, :, 0].tolist() == ([3] * 8 if 2 <= block < 13 else list(range(8)))
  assert FateZero(temporal=True).frames(setup_of()) is None


def test_emphasis_scales_what_words_get():
  setup = setup_of(inverted=1)
  taken, kept = FateZero().text_tables(setup)
  more = FateZero(words=('red', 'grass'), emphasis=10.0).text_tables(setup)
  factors = np.array([1, 1, 10, 1, 1, 10, 1])  # <begin> a red dog on grass <end>
  np.testing.assert_array_equal(more[0], taken * factors)
  np.testing.assert_array_equal(more[1], kept * factors)
  assert FateZero(words=('cat',)).faults(setup) == [
    "'cat' is not in the prompt 'a red dog on grass'; accepted: words of the prompt"
  ]
  fault, _ = FateZero(self_share=1.5, replace=True).faults(setup)
  assert fault.startswith('baseline.self_share is 1.5; accepted')


@pytest.fixture(scope='module')
def clip(tiny):
  """A trajectory that is like an inversion's, and the texts."""
  rng = np.random.default_rng(5)
  return (
    jnp.asarray(rng.standard_normal((STEPS + 1, 3, 4, 4, 4)), jnp.float32),
    rng.standard_normal((3, 7, 16)).astype(np.float32),
  )


@pytest.fixture(scope='module')
def image_apply(tiny):
  return functools.partial(tiny.apply, temporal=False)


@pytest.fixture(scope='module')
def edit(tiny, clip, image_apply):
  def run(method, **fields):
    plan = method.plan(setup_small(**fields))
    sampled = fatezero.sample(*inputs_of(image_apply, tiny.params, *clip, plan))
    return np.asarray(sampled[MAIN])

  return run


def test_maps_are_those_of_inversion(tiny, clip, image_apply):
  """With equal prompts and full shares, all controlled maps equal those of the inversion call."""
  trajectory, texts = clip
  setup = setup_small(target=1)
  plan = FateZero(1.0, 1.0).plan(setup)
  taps = tuple(
    f'{block}/{kind}' for block in range(4) for kind in ('spatial_q', 'spatial_k', 'text_map')
  )
  params = {'params': tiny.params}
  i, timestep = 1, SCHEDULE.timesteps(STEPS)[1]
  (rows,) = plan.steps[i].passes
  latents = jnp.stack([trajectory[STEPS - 1 - i], trajectory[STEPS - i]])
  one = lambda branch, text, routes: image_apply(
    params, latents[branch], timestep, jnp.asarray(texts)[text], routes, None, taps
  )[1]
  found = jax.jit(jax.vmap(one, axis_name=ROW_AXIS))(*rows)
  frames = frames_of(setup)
  # The call of the inversion that leads from level S - 1 - i to the next.
  seen = image_apply(params, trajectory[STEPS - 1 - i], timestep, texts[1], frames, None, taps)[1]
  for name, expected in seen.items():
    controlled = setup.window(*fatezero.BLOCKS)[int(name[0])]
    assert (agreement(found[name][2], expected) < 30 * MODULE) == controlled, name
    assert agreement(found[name][1], expected) > 1e-2  # the other half is its own


def test_without_shares_it_is_plain_inversion(tiny, clip, image_apply, edit):
  trajectory, texts = clip
  routes = frames_of(setup_small())
  one = jax.jit(lambda x, t, text: image_apply({'params': tiny.params}, x, t, text, routes)[0])
  x = sample_plainly(one, trajectory[-1], (texts[0], texts[2]), STEPS)
  plain = edit(FateZero(0.0, 0.0))
  assert agreement(plain, x) < UNET
  for method in (FateZero(1.0, 0.0), FateZero(0.0, 1.0), FateZero(0.0, 1.0, words=('red',))):
    assert agreement(edit(method), plain) > 1e-3
  assert agreement(edit(FateZero(0.0, 1.0)), edit(FateZero(0.0, 1.0, words=('red',)))) > 1e-3


def test_the_text_to_video_model_may_be_used_whole(tiny, clip):
  trajectory, texts = clip
  one = jax.jit(lambda x, t, text: tiny.apply({'params': tiny.params}, x, t, text)[0])
  x = sample_plainly(one, trajectory[-1], (texts[0], texts[2]), STEPS)
  plan = FateZero(0.0, 0.0, temporal=True).plan(setup_small())
  found = fatezero.sample(*inputs_of(tiny.apply, tiny.params, trajectory, texts, plan))
  assert agreement(found[MAIN], x) < UNET


def test_the_source_is_one_level_cleaner_than_the_edit(tiny, clip, image_apply):
  trajectory, texts = clip

  def run(method, trajectory):
    plan = method.plan(setup_small())
    return fatezero.sample(*inputs_of(image_apply, tiny.params, trajectory, texts, plan))[MAIN]

  # Step i reads level S - 1 - i; a share of .4 is step 0 alone, and the edit starts from level S.
  for method, felt in ((FateZero(1.0, 1.0), {0, 1, 2, 3}), (FateZero(0.4, 0.4), {2, 3})):
    found = run(method, trajectory)
    changed = [run(method, trajectory.at[level].add(1.0)) for level in range(STEPS + 1)]
    assert {
      level for level, other in enumerate(changed) if not np.array_equal(other, found)
    } == felt


def test_text_maps_that_keep_all_change_nothing(tiny, clip, edit):
  # Materialised maps that are not replaced, against the kernel: text shares end before step 0.
  setup = setup_small()
  own = FateZero(1.0, 0.0).plan(setup).steps[0].passes[0].routes
  assert own.comparison.text_maps is not None
  bare = own._replace(comparison=own.comparison._replace(text_maps=None))
  trajectory, texts = clip
  latents = jnp.stack([trajectory[1], trajectory[2]])
  one = lambda routes: jax.jit(
    jax.vmap(
      lambda branch, text, routes: tiny.apply(
        {'params': tiny.params}, latents[branch], 501, texts[text], routes
      )[0],
      axis_name=ROW_AXIS,
    )
  )(jnp.array([0, 1, 1]), jnp.array([1, 0, 2]), routes)
  texts = jnp.asarray(texts)
  assert agreement(one(own), one(bare)) < 10 * MODULE
