"""Routing and whole edits against the original: every key of `sites` and `edit`.

All cases of a file are settings of one plan and so share the rows of the reconstruction.
"""

import jax
import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.tolerances import EDIT, UNET, agreement
from uniedit_jax.method import sampling
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.injection import (
  Branch,
  ContentPreservation,
  Injection,
  Injections,
  MotionInjection,
  StructureControl,
  compose,
)
from uniedit_jax.method.plan import EditPlan
from uniedit_jax.method.rows import plan_rows
from uniedit_jax.method.token_masks import token_masks

BOTH = ('main', 'motion')
DECODER = (10, 16)


def structure(steps, blocks=(0, 16), branches=BOTH):
  return {'structure': StructureControl(steps, blocks, branches)}


def content(steps, blocks=DECODER, tensors=('k', 'v')):
  return {'content': ContentPreservation(steps, blocks, tensors)}


def query(steps):
  return {'motion_query': Injection(steps, DECODER)}


def motion(steps, blocks=(0, 16), masked=False):
  return {'motion': MotionInjection(steps, blocks, masked)}


ONE = (0, 1)
# key -> (injections, whether masks are given)
SITES = {
  'none': ({}, False),
  'structure': (structure(ONE), False),
  'structure_0_7': (structure(ONE, (0, 8)), False),
  'content_kv': (content(ONE), False),
  'content_kv_all': (content(ONE, (0, 16)), False),
  'content_kv_mask': (content(ONE), True),
  'content_v': (content(ONE, tensors=('v',)), False),
  'q_motion_mask': (query(ONE), True),
  'temporal': (motion(ONE), False),
  'temporal_0_9': (motion(ONE, (0, 10)), False),
  'temporal_mask': (motion(ONE, masked=True), True),
  'everything': (
    structure(ONE, (0, 4)) | content(ONE) | query(ONE) | motion(ONE, masked=True),
    True,
  ),
}
EARLY, LATER, ALWAYS = (0, 2), (1, 4), (0, 4)
EDITS = {
  'plain': ({}, False),
  'appearance': (structure(EARLY, branches=('main',)), False),
  'appearance_mask': (
    structure(EARLY, branches=('main',)) | {'background': Injection(EARLY)},
    True,
  ),
  'appearance_content': (
    structure(ONE, branches=('main',)) | content(LATER, tensors=('v',)),
    False,
  ),
  'motion': (structure(EARLY) | content(LATER) | motion(ALWAYS), False),
  'motion_mask': (structure(EARLY) | content(LATER) | query(LATER) | motion(ALWAYS), True),
  'motion_temporal_mask': (
    structure(EARLY) | content(LATER) | query(LATER) | motion(ALWAYS, masked=True),
    True,
  ),
}


def branches_of(cases, with_motion):
  """The reconstruction, and main of every case, and motion where `with_motion` says so."""
  branches = [Branch('reconstruction')]
  for i, key in enumerate(cases):
    branches += [Branch('main', i)] + ([Branch('motion', i)] if with_motion(key) else [])
  return branches


def routes_of(branches, cases, steps):
  """Composes cases with and without masks side by side."""
  composed = []
  for masked in (False, True):
    settings = [
      Injections(**fields) if m == masked else Injections() for fields, m in cases.values()
    ]
    composed.append(compose(branches, settings, steps, masked=masked))
  with_masks = [list(cases.values())[b.setting][1] for b in branches]
  return jax.tree.map(lambda plain, masked: np.where(with_masks, masked, plain), *composed)


def texts_of(branches, steps):
  """Null, source and target are texts 0, 1, 2."""
  return np.array([[[0, 1 if b.kind == 'reconstruction' else 2] for b in branches]] * steps)


@pytest.fixture(scope='module')
def numbers():
  return reference.golden('edit')


@pytest.fixture(scope='module')
def masks(numbers, wide):
  return token_masks(
    {side: numbers[f'mask_{side}'] > 0 for side in ('source', 'target')}, wide.config.grids(8, 8)
  )


@pytest.fixture(scope='module')
def site_noise(wide, numbers, masks):
  """{key: noise of [u.reconstruction, u.main, u.motion, c...]}, all from one program call."""
  branches = branches_of(SITES, lambda key: True)
  start = [('reconstruction', 'main', 'motion').index(b.kind) for b in branches]
  steps = plan_rows(
    routes_of(branches, SITES, 1), texts_of(branches, 1), [True] * len(branches), start=start
  )
  (step,) = steps
  latents = reference.from_torch(reference.golden('sites')['latents'])[start]
  given = latents, numbers['text'], step.passes[0], np.int32(501), masks
  predict = jax.jit(sampling.predict_rows, static_argnums=0)
  noise = reference.to_torch(predict(wide.apply, wide.params, *given))
  found = {}
  for i, key in enumerate(SITES):
    own = [k for k, b in enumerate(branches) if b.kind == 'reconstruction' or b.setting == i]
    found[key] = noise[np.concatenate([step.uncond[own], step.cond[own]])]
  return found


@pytest.mark.parametrize('key', SITES)
def test_sites(site_noise, key):
  expected = reference.golden('sites')[key]
  found = site_noise[key]
  if len(expected) == 4:  # without a motion branch
    found = found[[0, 1, 3, 4]]
  assert agreement(found, expected) < UNET


def sample(model, latents, texts, branches, steps, masks):
  """The latents after every step, [S, K, C, F, H, W]."""
  seen, visit = [], lambda _, latents: seen.append(reference.to_torch(latents[0]))
  last = sampling.sample(
    sampling.Network(model.apply, model.params),
    latents[None],
    [EditPlan(branches, None, steps, ())],
    [sampling.Sampler(NoiseSchedule(), len(steps))],
    [sampling.Conditioning(texts, masks)],
    visit=visit,
  )
  return np.stack([*seen[1:], reference.to_torch(last[0])])


def test_run_of_branches_that_start_apart(wide, numbers, masks):
  sites = reference.golden('sites')
  branches = [Branch('reconstruction'), Branch('main'), Branch('motion')]
  fields = structure(ONE) | content((1, 3)) | query((1, 3)) | motion((0, 3), masked=True)
  routes = compose(branches, [Injections(**fields)], 3, masked=True)
  steps = plan_rows(routes, texts_of(branches, 3), [True] * 3, start=range(3))
  latents = reference.from_torch(sites['latents']).copy()
  found = sample(wide, latents, numbers['text'], branches, steps, masks)
  assert agreement(found, sites['run']) < UNET


@pytest.fixture(scope='module')
def edits(wide, numbers, masks):
  """{key: latents of its branches after every step}."""
  branches = branches_of(EDITS, lambda key: key.startswith('motion'))
  steps = plan_rows(routes_of(branches, EDITS, 4), texts_of(branches, 4), [True] * len(branches))
  start = reference.from_torch(numbers['inversion_cfg1'][-1, 0])
  latents = np.stack([start] * len(branches))
  after = sample(wide, latents, numbers['text'], branches, steps, masks)
  return {
    key: after[
      :, [k for k, b in enumerate(branches) if b.kind == 'reconstruction' or b.setting == i]
    ]
    for i, key in enumerate(EDITS)
  }


@pytest.mark.parametrize('key', EDITS)
def test_edits(edits, numbers, key):
  found = edits[key][:, 1:] if key == 'plain' else edits[key]
  assert agreement(found, numbers[key]) < EDIT


def test_every_key_is_tested(numbers):
  assert set(SITES) | {'latents', 'run'} == set(reference.golden('sites'))
  inputs = {'latents', 'text', 'mask_source', 'mask_target', 'inversion_cfg1', 'inversion_cfg7.5'}
  assert set(EDITS) | inputs == set(numbers)
