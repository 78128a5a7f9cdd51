"""The VAE: shapes, errors, and agreement with diffusers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import rules
from tests.helpers.tolerances import BF16, VAE_TEXT, agreement
from uniedit_jax.models import vae as vae_lib
from uniedit_jax.runtime import random_init

TINY = vae_lib.VAEConfig(channels=(8, 16), layers=1, groups=4)


def abstract(config):
  frames = jax.ShapeDtypeStruct((1, config.factor, config.factor, 3), jnp.float32)
  return jax.eval_shape(vae_lib.VAE(config).init, jax.random.key(0), frames)['params']


@pytest.fixture(scope='module')
def tiny():
  vae = vae_lib.VAE(TINY)
  return vae, random_init.random_params(abstract(TINY))


@pytest.fixture(scope='module')
def frames():
  return jax.random.uniform(jax.random.key(1), (3, 8, 12, 3), minval=-1, maxval=1)


def test_shapes_and_dtypes_in_bfloat16(tiny, frames):
  vae, params = tiny
  half = vae.clone(dtype=jnp.bfloat16)
  latents = vae_lib.encode_frames(half, params, frames)
  assert (latents.shape, latents.dtype) == ((3, 4, 6, 4), jnp.float32)
  decoded = vae_lib.decode_frames(half, params, latents)
  assert (decoded.shape, decoded.dtype) == ((3, 8, 12, 3), jnp.float32)
  reference = vae_lib.decode_frames(vae, params, latents)
  assert np.abs(decoded - reference).mean() <= BF16 * reference.std()


def test_frame_by_frame_is_the_same(tiny, frames):
  vae, params = tiny
  whole = jax.jit(vae.apply, static_argnames='method')
  latents = vae_lib.encode_frames(vae, params, frames)
  assert agreement(latents, whole({'params': params}, frames, method='encode')) <= VAE_TEXT
  decoded = vae_lib.decode_frames(vae, params, latents)
  assert agreement(decoded, whole({'params': params}, latents, method='decode')) <= VAE_TEXT


def test_latents_are_scaled_by_the_config_and_decoding_takes_it_back(tiny, frames):
  vae, params = tiny
  doubled = vae_lib.VAE(dataclasses.replace(TINY, scale=2 * TINY.scale))
  latents, twice = (vae_lib.encode_frames(one, params, frames) for one in (vae, doubled))
  mean = vae.apply({'params': params}, frames, method='posterior')[0]
  np.testing.assert_allclose(latents, TINY.scale * mean, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(twice, 2 * latents, rtol=1e-6)
  decoded, same = (
    vae_lib.decode_frames(one, params, x) for one, x in ((vae, latents), (doubled, twice))
  )
  np.testing.assert_allclose(same, decoded, atol=1e-5)


def test_frames_do_not_see_each_other(tiny, frames):
  vae, params = tiny
  encode = jax.jit(lambda x: vae.apply({'params': params}, x, method='encode'))
  before, after = encode(frames), encode(frames.at[1].multiply(-1))
  np.testing.assert_array_equal(before[::2], after[::2])
  assert not np.allclose(before[1], after[1])


def test_errors_name_the_size(tiny):
  vae, params = tiny
  with pytest.raises(ValueError, match=r'7 x 8 .*multiples of 2'):
    vae_lib.encode_frames(vae, params, jnp.zeros((1, 7, 8, 3)))
  with pytest.raises(ValueError, match='multiples of groups=32'):
    vae_lib.VAEConfig(channels=(48,))


@pytest.mark.parity
@pytest.mark.parametrize('names', ['new', 'old'])
@pytest.mark.parametrize('channels, layers', [((32, 64), 1), ((32, 64, 128, 128), 2)])
def test_agrees_with_diffusers(channels, layers, names):
  torch = pytest.importorskip('torch')
  diffusers = pytest.importorskip('diffusers')

  torch.manual_seed(0)
  levels = len(channels)
  reference = diffusers.AutoencoderKL(
    block_out_channels=channels,
    down_block_types=['DownEncoderBlock2D'] * levels,
    up_block_types=['UpDecoderBlock2D'] * levels,
    layers_per_block=layers,
    norm_num_groups=8,
    latent_channels=4,
  ).eval()
  # Random changes make norms and biases matter.
  with torch.no_grad():
    for parameter in reference.parameters():
      parameter.add_(0.05 * torch.randn_like(parameter))
  state = {name: x.detach().numpy() for name, x in reference.state_dict().items()}
  if names == 'old':
    state = {_old_name(name): x for name, x in state.items()}

  config = vae_lib.VAEConfig(channels=channels, layers=layers, groups=8)
  params = rules.convert(state, abstract(config))
  rng = np.random.default_rng(0)
  frames = rng.uniform(-1, 1, (2, 3 * config.factor, 2 * config.factor, 3)).astype(np.float32)
  # The reference runs in float64: its own float32 error in a decoder is above the limit.
  reference.double()
  vae, channels_first = vae_lib.VAE(config), torch.from_numpy(frames.transpose(0, 3, 1, 2))
  with torch.no_grad(), jax.default_matmul_precision('highest'):
    mean = reference.encode(channels_first.double()).latent_dist.mean
    expected = reference.decode(mean).sample.permute(0, 2, 3, 1)
    reference_latents = 0.18215 * mean.permute(0, 2, 3, 1).numpy()
    latents = vae_lib.encode_frames(vae, params, frames)
    decoded = vae_lib.decode_frames(vae, params, reference_latents.astype(np.float32))
  assert agreement(latents, reference_latents) <= VAE_TEXT
  assert agreement(decoded, expected) <= VAE_TEXT


def _old_name(name):
  old_names = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
  for new, old in old_names.items():
    name = name.replace(f'attentions.0.{new}.', f'attentions.0.{old}.')
  return name
