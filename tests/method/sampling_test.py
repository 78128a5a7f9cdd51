"""What must hold of sampling for any model, on a tiny one: invariants of rows, plans, programs and
batches.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.plans import edit_of, plan_of, sampler_of
from tests.helpers.tolerances import MODULE, UNET, agreement
from uniedit_jax.method import sampling
from uniedit_jax.method.diffusion import NoiseSchedule, ddim_update, guide
from uniedit_jax.method.injection import (
  Branch,
  ContentPreservation,
  Injection,
  Injections,
  StructureControl,
  compose,
  preset,
)
from uniedit_jax.method.inversion import obelm_invert
from uniedit_jax.method.rows import Rows
from uniedit_jax.method.token_masks import token_masks
from uniedit_jax.runtime.sharding import data_mesh

SCHEDULE = NoiseSchedule()
STEPS, FRAMES, SIZE, BLOCKS = 4, 3, 4, 4
R, M, T = Branch('reconstruction'), Branch('main'), Branch('motion')


@pytest.fixture(scope='module')
def clip():
  """Start latents, and the texts null, source and three targets."""
  rng = np.random.default_rng(3)
  start = rng.standard_normal((FRAMES, SIZE, SIZE, 4)).astype(np.float32)
  return start, rng.standard_normal((5, 7, 16)).astype(np.float32)


@pytest.fixture(scope='module')
def masks(tiny):
  return masks_of(tiny, 4)


def masks_of(tiny, seed):
  source, target = np.random.default_rng(seed).random((2, FRAMES, SIZE, SIZE)) < 0.5
  return token_masks(
    {'source': source, 'target': target}, tiny.config.grids(SIZE, SIZE), guided=True
  )


def fit(injections):
  """Cuts the ranges of blocks to those of the tiny model; (10, 16), the later blocks, becomes (2,
  4).
  """
  blocks = {(0, 16): (0, BLOCKS), (10, 16): (2, BLOCKS)}
  fields = ((f.name, getattr(injections, f.name)) for f in dataclasses.fields(injections))
  return Injections(
    **{name: dataclasses.replace(i, blocks=blocks.get(i.blocks, i.blocks)) for name, i in fields}
  )


def small_preset(name, task, masked):
  return preset(name, task, masked, STEPS, BLOCKS)


NOTHING = fit(Injections())


plan_small = functools.partial(plan_of, steps=STEPS, blocks=BLOCKS, source=1, targets=(2, 3, 4))


def run(model, clip, plan, masks=None, **options):
  found = edit_of(model, *clip, plan, sampler_of(SCHEDULE, STEPS), masks=masks, **options)
  return {branch: np.asarray(latents) for branch, latents in found.items()}


def assert_agree(found, expected, limit):
  assert found.keys() == expected.keys()
  for branch, latents in expected.items():
    assert agreement(found[branch], latents) < limit, branch


@pytest.fixture(scope='module')
def noise_of_rows(tiny, clip):
  """Predicts the noise of 3 branches' cond halves under given routes [L, R]."""
  start, texts = clip
  latents = np.stack([start, 0.5 * start + 1, -start])

  predict = jax.jit(sampling.predict_rows, static_argnums=0)

  def noise(routes, masks, order=(0, 1, 2)):
    order = np.array(order, np.int32)
    rows = Rows(order, order, routes)
    return np.asarray(predict(tiny.apply, tiny.params, latents, texts, rows, np.int32(501), masks))

  return noise


def routes_of(injections):
  """The routes [R, L] of the second step."""
  steps = compose([R, M, T], [injections], STEPS, BLOCKS, masked=True)
  return jax.tree.map(lambda table: np.ascontiguousarray(table[1].T), steps)


def test_identity_routes_are_the_plain_model(tiny, clip, noise_of_rows, masks):
  start, texts = clip
  found = noise_of_rows(routes_of(NOTHING), masks)
  plain = jax.jit(tiny.denoise)
  for row, latents in enumerate((start, 0.5 * start + 1, -start)):
    assert (
      agreement(found[row], plain(tiny.params, latents, np.int32(501), texts[row])) < 10 * MODULE
    )


def test_permuting_rows_with_their_routes_permutes_the_noise(noise_of_rows, masks):
  routes = routes_of(small_preset('paper', 'motion', True))
  order = np.array([2, 0, 1])
  place = np.argsort(order)
  moved = jax.tree.map(
    lambda table: place[table[order]].astype(np.int32), routes._replace(guided=None)
  )
  permuted = noise_of_rows(moved._replace(guided=routes.guided[order]), masks, order)
  assert agreement(permuted, noise_of_rows(routes, masks)[order]) < 10 * MODULE


def test_routes_are_felt(noise_of_rows, masks):
  plain = noise_of_rows(routes_of(NOTHING), masks)
  for name in ('paper', 'release'):
    injected = noise_of_rows(routes_of(small_preset(name, 'motion', True)), masks)
    assert agreement(injected[1], plain[1]) > 0.01
    np.testing.assert_array_equal(injected[0], plain[0])  # nobody changes the reconstruction


def test_reconstruction_does_not_depend_on_injections(tiny, clip, masks):
  wanted = ('reconstruction', 'main', 'motion')
  lay = lambda injections: plan_small(
    'motion', [injections], wanted=wanted, masked=True, exact_savings=False
  )
  plain = run(tiny, clip, lay(NOTHING), masks)
  injected = run(tiny, clip, lay(small_preset('paper', 'motion', True)), masks)
  np.testing.assert_array_equal(injected[R], plain[R])
  assert agreement(injected[M], plain[M]) > 1e-3


@pytest.mark.parametrize('source', [0, 1])
@pytest.mark.parametrize('task', ['motion', 'appearance'])
@pytest.mark.parametrize(
  'name, masked', [('paper', False), ('paper', True), ('release', False), ('release', True)]
)
def test_plan_equals_computing_every_row(tiny, clip, masks, name, task, masked, source):
  lay = functools.partial(
    plan_small, task, [small_preset(name, task, masked)], masked=masked, source=source
  )
  # One program serves presets with and without masks: routes that are equal inside and outside
  # ignore them.
  planned, full = lay(), lay(exact_savings=False)
  assert sum(planned.row_counts) < sum(full.row_counts)
  assert_agree(run(tiny, clip, planned, masks), run(tiny, clip, full, masks), UNET)


def test_masks_without_masked_routes_change_nothing(tiny, clip, masks):
  plan = plan_small(
    'appearance', [small_preset('release', 'appearance', False)], exact_savings=False
  )
  assert_agree(run(tiny, clip, plan, masks), run(tiny, clip, plan), 10 * MODULE)


def test_passes_equal_one_pass(tiny, clip, masks):
  wanted = ('main', 'motion')
  settings = [small_preset('release', 'motion', True)]
  lay = functools.partial(
    plan_small, 'motion', settings, masked=True, wanted=wanted, exact_savings=False
  )
  split = lay(rows_per_pass=3)
  assert [phase['passes'] for phase in split.phases] == [[3, 3]]
  assert_agree(run(tiny, clip, split, masks), run(tiny, clip, lay(), masks), UNET)


def test_settings_sharing_rows_equal_one_by_one(tiny, clip, masks):
  settings = [
    fit(Injections(StructureControl((0, stop)), background=Injection((0, 3), (first, BLOCKS))))
    for stop, first in ((2, 0), (3, 2))
  ]
  together = run(tiny, clip, plan_small('appearance', settings, masked=True), masks)
  for i, injections in enumerate(settings):
    alone = plan_small('appearance', [injections], targets=(2 + i,), masked=True)
    assert agreement(together[Branch('main', i)], run(tiny, clip, alone, masks)[M]) < UNET


def test_settings_may_read_other_frames(tiny, clip, masks):
  content = ContentPreservation((0, 3), (1, BLOCKS), ('k', 'v'))
  settings = [
    fit(Injections(content=dataclasses.replace(content, reference=frame)))
    for frame in ('own', 'first')
  ]
  lay = functools.partial(plan_small, 'appearance', masked=True)
  together = run(tiny, clip, lay(settings, targets=(2, 2)), masks)
  first, second = (together[Branch('main', i)] for i in range(2))
  # equal in all but the frame that is read, so the plan must tell them apart
  assert agreement(second, first) > 1e-2
  assert_agree(
    run(tiny, clip, lay(settings, targets=(2, 2), exact_savings=False), masks), together, UNET
  )
  for found, setting in ((first, settings[0]), (second, settings[1])):
    assert agreement(found, run(tiny, clip, lay([setting]), masks)[M]) < UNET


def test_sampling_is_guided_ddim(tiny, clip, masks):
  start, texts = clip
  found = run(tiny, clip, plan_small('appearance', [NOTHING]), masks)[M]
  denoise = jax.jit(tiny.denoise)
  x, timesteps, levels = start, SCHEDULE.timesteps(STEPS), SCHEDULE.levels(STEPS)
  for i in range(STEPS):
    halves = [denoise(tiny.params, x, timesteps[i], texts[t]) for t in (0, 2)]
    x = ddim_update(*levels[i : i + 2])(x, x, guide(*halves, 7.5))
  assert agreement(found, x) < UNET


def test_changed_values_add_no_program(tiny, clip, masks):
  start, texts = clip

  def sample(injections, masks, guidance=7.5, schedule=SCHEDULE, source=1, texts=texts):
    plan = plan_small(
      'appearance', [fit(injections)], masked=True, exact_savings=False, source=source
    )
    sampler = sampler_of(schedule, STEPS, guidance)
    edit_of(tiny, start, texts, plan, sampler, masks=masks)
    return sampling.step._cache_size()

  structure = lambda steps, blocks: StructureControl(steps, blocks)
  before = sample(Injections(structure((0, 2), (0, 4))), masks)
  assert sample(Injections(structure((1, 3), (2, 3))), masks) == before
  assert (
    sample(Injections(content=ContentPreservation((0, 4), (1, 2), ('k', 'v'))), masks) == before
  )
  assert sample(Injections(background=Injection((0, 1), (0, 4))), masks_of(tiny, 5)) == before
  assert sample(Injections(guided=Injection((0, 4), (0, 4))), masks, guidance=3.0) == before
  assert (
    sample(NOTHING, masks, 1.0, NoiseSchedule('scaled_linear', 0.00085, 0.012), 3, -texts) == before
  )


def test_committed_parameters_make_one_program(tiny, clip):
  start, texts = clip
  moved = reference.Model(tiny.config, jax.device_put(tiny.params, jax.devices()[1]))
  plan = plan_small('appearance', [NOTHING], exact_savings=False)
  before = sampling.step._cache_size()
  edit_of(moved, start, texts, plan, sampler_of(SCHEDULE, STEPS))
  assert sampling.step._cache_size() == before + 1


def test_stored_reconstruction(tiny, clip, masks):
  rng = np.random.default_rng(5)
  trajectory = rng.standard_normal((STEPS + 1, FRAMES, SIZE, SIZE, 4)).astype(np.float32)
  trajectory[-1] = clip[0]
  injections = small_preset('release', 'appearance', True)
  lay = functools.partial(
    plan_small, 'appearance', [injections], wanted=('main', 'reconstruction'), masked=True
  )
  found = run(tiny, clip, lay(stored=STEPS), masks, trajectory=trajectory)
  np.testing.assert_array_equal(found[R], trajectory[0])
  full = run(tiny, clip, lay(stored=STEPS, exact_savings=False), masks, trajectory=trajectory)
  assert_agree(found, full, UNET)
  # Main reads the stored latents: step i those of noise level S - i, so that the first and the last
  # are not read.
  for changed, felt in ((0, False), (1, False), (2, False), (3, True)):
    other = trajectory.copy()
    other[changed] += 1
    difference = agreement(run(tiny, clip, lay(stored=STEPS), masks, trajectory=other)[M], found[M])
    assert (difference > 1e-4) == felt, changed
  assert agreement(run(tiny, clip, lay(), masks)[M], found[M]) > 1e-4


def test_obelm_reconstruction_comes_back_whatever_main_does(tiny, clip, masks):
  start, texts = clip
  schedule = NoiseSchedule('scaled_linear', 0.00085, 0.012)
  walk = sampler_of(schedule, STEPS, 1.0)
  trajectory = np.asarray(obelm_invert(tiny.denoise, tiny.params, start, texts[0], walk))
  plan = plan_small(
    'appearance',
    [small_preset('paper', 'appearance', False)],
    source=0,
    wanted=('main', 'reconstruction'),
    stored=1,
  )
  obelm, ddim = (sampler_of(schedule, STEPS, kind=kind) for kind in ('obelm', 'ddim'))
  found = edit_of(tiny, trajectory[-1], texts, plan, obelm, trajectory=trajectory)
  assert agreement(found[R], start) < UNET
  assert agreement(found[M], start) > 0.1
  drifted = edit_of(tiny, trajectory[-1], texts, plan, ddim, trajectory=trajectory)
  assert agreement(drifted[R], start) > 1e-2


def test_progress_wraps_the_steps(tiny, clip, masks):
  seen = []
  plan = plan_small('appearance', [NOTHING])
  run(tiny, clip, plan, masks, progress=lambda steps: (seen.append(i) or i for i in steps))
  assert seen == list(range(STEPS))


def batch(tiny, clip, count):
  """Edits that differ in latents, texts, masks and routes but not in their row table."""
  start, texts = clip
  rng = np.random.default_rng(6)
  starts = np.stack([start] * count) + rng.standard_normal((count, *start.shape)).astype(np.float32)
  prompts = rng.standard_normal((count, *texts.shape)).astype(np.float32)
  windows = [(0, 4), (0, 2), (1, 4), (2, 3)]
  plans = [
    plan_small(
      'appearance',
      [
        fit(
          Injections(
            StructureControl((0, 2), windows[i % 4]), background=Injection((0, 2), windows[-i % 4])
          )
        )
      ],
      masked=True,
    )
    for i in range(count)
  ]
  return starts, prompts, plans, [masks_of(tiny, 10 + i) for i in range(count)]


@pytest.fixture(scope='module')
def mesh():
  return data_mesh(jax.devices()[:4])


def test_sharded_batch_equals_single_edits(tiny, clip, mesh):
  starts, prompts, plans, masks = batch(tiny, clip, 8)  # two edits on each device
  expected = np.stack(
    [
      run(tiny, (start, texts), plan, mask)[M]
      for start, texts, plan, mask in zip(starts, prompts, plans, masks, strict=True)
    ]
  )
  latents = np.repeat(starts[:, None], 2, axis=1)
  found = sampling.sample(
    sampling.Network(tiny.apply, tiny.params),
    latents,
    plans,
    [sampler_of(SCHEDULE, STEPS)] * 8,
    [sampling.Conditioning(*given) for given in zip(prompts, masks, strict=True)],
    mesh=mesh,
  )
  assert len(found.sharding.device_set) == 4
  for i in range(8):
    assert agreement(found[i, 1], expected[i]) < UNET, i


def test_a_batch_has_its_own_guidance_and_trajectories(tiny, clip, mesh):
  starts, prompts, *_ = batch(tiny, clip, 4)
  trajectories = (
    np.random.default_rng(7).standard_normal((4, STEPS + 1, *clip[0].shape)).astype(np.float32)
  )
  plans = [
    plan_small(
      'motion', [fit(Injections(content=ContentPreservation((0, 4), blocks)))], stored=STEPS
    )
    for blocks in ((0, 4), (0, 2), (1, 4), (2, 3))
  ]
  guidances = [1.0, 3.0, 5.0, 7.5]
  given = zip(prompts, trajectories, strict=True)
  found = sampling.sample_edits(
    sampling.Network(tiny.apply, tiny.params),
    starts,
    plans,
    [sampler_of(SCHEDULE, STEPS, guidance) for guidance in guidances],
    [sampling.Conditioning(texts, trajectory=trajectory) for texts, trajectory in given],
    mesh=mesh,
  )
  for i, (start, texts, plan) in enumerate(zip(starts, prompts, plans, strict=True)):
    sampler = sampler_of(SCHEDULE, STEPS, guidances[i])
    alone = edit_of(tiny, start, texts, plan, sampler, trajectory=trajectories[i])
    assert_agree(found[i], alone, UNET)


def test_batches_that_do_not_fit(tiny, clip, mesh):
  starts, prompts, plans, _ = batch(tiny, clip, 3)
  sample = functools.partial(
    sampling.sample_edits,
    sampling.Network(tiny.apply, tiny.params),
    starts,
    samplers=[sampler_of(SCHEDULE, STEPS)] * 3,
    conditionings=list(map(sampling.Conditioning, prompts)),
    mesh=mesh,
  )
  with pytest.raises(
    ValueError, match='3 edits on 4 devices; accepted: a multiple of the number of devices'
  ):
    sample(plans)
  other = plan_small('appearance', [NOTHING])
  with pytest.raises(ValueError, match=r'plans have the row tables .*; accepted: equal ones'):
    sample([*plans[:2], other])


def test_unknown_task():
  with pytest.raises(ValueError, match="task is 'style'; accepted: 'motion', 'appearance'"):
    plan_of('style', [NOTHING], 4)
