"""The PyTorch version that ours is timed against computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.plans import plan_of
from tests.helpers.tolerances import EDIT, NULL_TEXT, NULL_TEXT_LOSS, UNET, VAE_TEXT, agreement
from uniedit_jax.method import inversion
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.injection import preset
from uniedit_jax.method.sampling import Conditioning, Network, Sampler, sample
from uniedit_jax.models import vae as vae_lib
from uniedit_jax.runtime import random_init

pytestmark = pytest.mark.parity

STEPS = 4


@pytest.fixture(scope='module')
def peer():
  pytest.importorskip('torch')
  from experiments.benchmark import torch_peer

  return torch_peer


@pytest.fixture(scope='module')
def sampling(peer):
  from experiments.benchmark import torch_peer_sampling

  return torch_peer_sampling


@pytest.fixture(scope='module')
def model():
  return reference.Model(reference.WIDE, reference.random_params(reference.WIDE, salt=3))


def first(x):
  """A tensor with channels before the grid."""
  import torch

  return torch.from_numpy(np.moveaxis(np.array(x), -1, -3).copy())


def last(x):
  """An array with channels after the grid."""
  return np.moveaxis(x.numpy(), -3, -1)


def test_the_unet_agrees(peer, model, rng):
  import torch

  latents = rng.standard_normal((3, 9, 8, 4), np.float32)
  text = rng.standard_normal((5, model.config.text_width), np.float32)
  expected = model.apply({'params': model.params}, latents, 501, text)[0]
  unet = peer.make_unet(model.config, model.params)
  with torch.no_grad():
    found = unet(first(latents)[None], torch.tensor(501), torch.from_numpy(text)[None])[0]
  assert agreement(last(found), expected) < UNET


@pytest.mark.parametrize(('task', 'stored'), [('motion', STEPS), ('motion', 0), ('appearance', 0)])
def test_whole_edits_agree(peer, sampling, model, rng, task, stored):
  import torch

  settings = [preset('paper', task, False, STEPS, model.config.blocks)]
  blocks, schedule = model.config.blocks, NoiseSchedule()
  plan = plan_of(task, settings, STEPS, source=1, targets=[2], stored=stored, blocks=blocks)
  start = rng.standard_normal((4, 8, 8, 4), np.float32)
  texts = rng.standard_normal((3, 5, model.config.text_width), np.float32)
  trajectory = rng.standard_normal((STEPS + 1, *start.shape), np.float32) if stored else None
  starts = np.repeat(start[None], len(plan.branches), 0)
  (expected,) = sample(
    Network(model.apply, model.params),
    starts[None],
    [plan],
    [Sampler(schedule, STEPS)],
    [Conditioning(texts, trajectory=trajectory)],
  )
  found = sampling.sample(
    peer.make_unet(model.config, model.params),
    first(starts),
    torch.from_numpy(texts),
    plan,
    schedule,
    guidance=7.5,
    trajectory=first(trajectory) if stored else None,
  )
  main = [branch.kind for branch in plan.branches].index('main')
  assert agreement(last(found[main]), jax.device_get(expected)[main]) < EDIT


def test_inversion_agrees(peer, sampling, model, rng):
  import torch

  latents = rng.standard_normal((3, 8, 8, 4), np.float32)
  text = rng.standard_normal((5, model.config.text_width), np.float32)
  schedule, denoise, params = NoiseSchedule(), model.denoise, model.params
  expected = inversion.ddim_invert(denoise, params, latents, text, Sampler(schedule, STEPS, 1.0))
  unet = peer.make_unet(model.config, params)
  found = sampling.ddim_invert(unet, first(latents), torch.from_numpy(text), schedule, STEPS)
  assert agreement(last(found), expected) < EDIT


@pytest.mark.parametrize('remat', [False, True])
def test_null_text_agrees(peer, sampling, tiny, rng, remat):
  import torch

  trajectory = rng.standard_normal((4, 2, 8, 8, 4), np.float32)
  text, null = rng.standard_normal((2, 5, tiny.config.text_width), np.float32)
  schedule = NoiseSchedule()
  # A loss is never below -1, so no step stops early.
  expected = inversion.optimise_null_text(
    tiny.denoise,
    tiny.params,
    jnp.asarray(trajectory),
    text,
    null,
    Sampler(schedule, 3),
    inner_steps=3,
    epsilon=-1.0,
  )
  unet = peer.make_unet(tiny.config, tiny.params, remat=remat)
  text, null = torch.from_numpy(text), torch.from_numpy(null)
  texts, losses, latents = sampling.optimise_null_text(
    unet, first(trajectory), text, null, schedule, inner_steps=3
  )
  np.testing.assert_allclose(losses, expected.losses, rtol=NULL_TEXT_LOSS)
  assert agreement(last(latents), expected.latents) < NULL_TEXT
  assert texts.shape == expected.texts.shape


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(
  'config', [vae_lib.VAEConfig((8, 8, 16, 16), 2, 4, 4, 0.5), vae_lib.VAEConfig((8, 16), 1, 4)]
)
def test_the_vae_agrees(config, batch, rng):
  torch = pytest.importorskip('torch')
  pytest.importorskip('diffusers')
  from experiments.benchmark import torch_peer_vae

  ours = vae_lib.VAE(config)
  side = jax.ShapeDtypeStruct((1, config.factor, config.factor, 3), jnp.float32)
  params = random_init.random_params(jax.eval_shape(ours.init, jax.random.key(0), side)['params'])
  frames = rng.uniform(-1, 1, (3, 2 * config.factor, 3 * config.factor, 3)).astype(np.float32)
  theirs = torch_peer_vae.make_vae(config, params)
  expected = vae_lib.encode_frames(ours, params, frames)
  found = torch_peer_vae.encode(theirs, torch.from_numpy(frames), batch)
  assert agreement(last(found), expected) < VAE_TEXT
  found = torch_peer_vae.decode(theirs, first(expected), batch)
  assert agreement(found, vae_lib.decode_frames(ours, params, expected)) < VAE_TEXT
