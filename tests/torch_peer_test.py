"""The PyTorch version that benchmarks are compared with computes what ours does."""

import jax
import numpy as np
import pytest

from tests import reference
from tests.tolerances import EDIT, UNET, agreement
from uniedit_jax import editing
from uniedit_jax.diffusion import NoiseSchedule
from uniedit_jax.injection import preset
from uniedit_jax.layout import lay_out

pytestmark = pytest.mark.parity

STEPS = 4


@pytest.fixture(scope='module')
def peer():
  pytest.importorskip('torch')
  from experiments import torch_peer

  return torch_peer


@pytest.fixture(scope='module')
def model():
  return reference.Model(reference.WIDE, reference.random_params(reference.WIDE, salt=3))


def first(x):
  """Channels before the grid."""
  import torch

  return torch.from_numpy(np.moveaxis(np.array(x), -1, -3).copy())


def test_the_unet_agrees(peer, model, rng):
  import torch

  latents, text = (
    rng.standard_normal((3, 9, 8, 4), np.float32),
    rng.standard_normal((5, model.config.text_width), np.float32),
  )
  expected = model.apply({'params': model.params}, latents, 501, text)[0]
  unet = peer.make_unet(model.config, model.params)
  routes = [(None,) * 6] * model.config.blocks
  with torch.no_grad():
    found = unet(first(latents)[None], torch.tensor(501), torch.from_numpy(text)[None], routes)[0]
  assert agreement(np.moveaxis(found.numpy(), 1, -1), expected) < UNET


@pytest.mark.parametrize(('task', 'stored'), [('motion', STEPS), ('motion', 0), ('appearance', 0)])
def test_whole_edits_agree(peer, model, rng, task, stored):
  import torch

  settings = [preset('paper', task, False, STEPS, model.config.blocks)]
  layout = lay_out(task, settings, STEPS, source=1, targets=[2], stored=stored, blocks=model.config.blocks)
  start = rng.standard_normal((4, 8, 8, 4), np.float32)
  texts = rng.standard_normal((3, 5, model.config.text_width), np.float32)
  trajectory = rng.standard_normal((STEPS + 1, *start.shape), np.float32) if stored else None
  schedule, branches = NoiseSchedule(), len(layout.branches)
  expected = editing.sample(
    *(model.apply, model.params, np.repeat(start[None], branches, 0), texts, layout.plan, schedule, 7.5),
    **dict(stored=layout.stored, trajectory=trajectory),
  )
  found = peer.sample(
    *(peer.make_unet(model.config, model.params), first(np.repeat(start[None], branches, 0)), torch.from_numpy(texts)),
    *(layout.plan, schedule, 7.5, layout.stored, None if trajectory is None else first(trajectory).numpy()),
  )
  main = [branch.kind for branch in layout.branches].index('main')
  assert agreement(np.moveaxis(found[main].numpy(), 1, -1), jax.device_get(expected)[main]) < EDIT
