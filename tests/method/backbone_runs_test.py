"""Runs of VideoCrafter2, ModelScope and AnimateDiff against their originals' samplers."""

import numpy as np
import pytest

from tests.helpers import backbones, reference
from tests.helpers.plans import plan_of
from tests.helpers.tolerances import EDIT, agreement
from tests.method.schedules_test import ORIGINALS, golden
from uniedit_jax.method.injection import Injections
from uniedit_jax.method.inversion import ddim_invert
from uniedit_jax.method.sampling import Conditioning, Network, Sampler, sample_edit


def inputs(name):
  """(`reference.Model`, start latents, null text, text) of a run of 4 steps."""
  numbers = golden(name)
  start = reference.from_torch(numbers['start'][0])
  model = backbones.model(name.removesuffix('_alpha_one'))
  return model, start, numbers['null_text'][0], numbers['text'][0]


@pytest.mark.parametrize('name', ORIGINALS)
def test_sampling_agrees_with_the_original(name):
  (model, start, *texts), seen = inputs(name), []
  plan = plan_of('appearance', [Injections()], 4, wanted=('main',))
  found = sample_edit(
    Network(model.apply, model.params),
    start,
    plan,
    Sampler(ORIGINALS[name], 4),
    Conditioning(np.stack(texts)),
    visit=lambda _, latents: seen.append(latents[0, -1]),
  )
  found = reference.to_torch(np.stack([*seen[1:], *found.values()]))
  assert agreement(found[:, None], golden(name)['sampling']) < EDIT


# Inversion from clean latents has no golden.
@pytest.mark.parametrize('name', [name for name in ORIGINALS if not name.endswith('_one')])
def test_inversion_agrees_with_the_original(name):
  model, start, _, text = inputs(name)
  sampler = Sampler(ORIGINALS[name], 4, guidance=1.0)
  found = ddim_invert(model.denoise, model.params, start, text, sampler)
  assert agreement(reference.to_torch(found)[:, None], golden(name)['inversion']) < EDIT
