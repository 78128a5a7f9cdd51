"""A loaded `checkpoint.Model` on pixels and prompts: encoding, decoding, the UNet as functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from uniedit_jax.media import video
from uniedit_jax.method import windows
from uniedit_jax.method.overrides import EDIT_AXIS
from uniedit_jax.method.sampling import mesh_of
from uniedit_jax.models import vae
from uniedit_jax.models.config import network
from uniedit_jax.runtime import sharding


def resolve_dtype(name):
  """The compute dtype of a name; 'auto': bfloat16, float16 on older GPUs, float32 on CPUs.

  Raises:
    ValueError: another name, or float16 on a CPU, which has no such matrix products; or JAX finds
      no device.
  """
  device = sharding.first_device()
  if name == 'auto':
    old_gpu = device.platform == 'gpu' and float(getattr(device, 'compute_capability', 8)) < 8
    name = 'float32' if device.platform == 'cpu' else 'float16' if old_gpu else 'bfloat16'
  accepted = ('float32', 'bfloat16', *(['float16'] if device.platform != 'cpu' else []))
  if name not in accepted:
    raise ValueError(f'dtype is {name!r}; accepted here: auto, {", ".join(accepted)}')
  return name


@functools.cache
def module(config, part, dtype):
  """The network of a part: one object, so that compiled programs are found again."""
  return network(config, part, jnp.dtype(dtype))


@functools.cache
def unet_apply(config, dtype, window=None, remat=False, temporal=True):
  """The UNet's `apply`, for `sampling.Network`.

  Args:
    config: `ModelConfig`.
    dtype: compute dtype.
    window: (length, overlap) of the windows of a longer clip (`windows.windowed`), or None.
    remat: save memory under differentiation.
    temporal: False makes it the image model inside the video model (`models.unet`).
  """
  unet = module(config, 'unet', dtype)
  apply = unet.clone(remat=True).apply if remat else unet.apply
  apply = apply if temporal else functools.partial(apply, temporal=False)
  return windows.windowed(apply, *window) if window else apply


@functools.cache
def denoiser(config, dtype, window=None, remat=False):
  """The UNet without routes, as `inversion` wants it; arguments as of `unet_apply`."""
  apply = unet_apply(config, dtype, window, remat)

  def denoise(params, latents, timestep, text):
    return apply({'params': params}, latents, timestep, text)[0]

  return denoise


@functools.cache
def batch_denoiser(config, dtype, mesh, window=None):
  """`denoiser` of latents and texts with the axis B, sharded over the mesh axis 'data'."""
  denoise = denoiser(config, dtype, window)
  clips = jax.vmap(denoise, in_axes=(None, 0, None, 0), axis_name=EDIT_AXIS)
  specs = PartitionSpec(), PartitionSpec('data'), PartitionSpec(), PartitionSpec('data')
  return jax.shard_map(clips, mesh=mesh, in_specs=specs, out_specs=specs[1], check_vma=False)


def encode_prompts(model, prompts, dtype):
  """Encodes P prompts, a list of str: f32[P, T, E]; raises ValueError if one is too long."""
  tokens = model.tokenizer.encode(prompts)
  return _encode_tokens(module(model.config, 'text', dtype), model.params['text'], tokens)


@functools.partial(jax.jit, static_argnums=0)
def _encode_tokens(encoder, params, tokens):
  return encoder.apply({'params': params}, tokens).astype(jnp.float32)


def encode_clips(model, clips, dtype, mesh=None):
  """Encodes B clips side by side: uint8[B, F, H, W, 3] to f32[B, F, H / 8, W / 8, C], numpy.

  Args:
    model: `checkpoint.Model` whose VAE is on all devices of the mesh.
    clips: of B clips.
    dtype: compute dtype.
    mesh: a mesh with the axis 'data', which divides B; None: the model's device.
  """
  return _on_frames(vae.encode_frames, model, video.to_model(clips), dtype, mesh)


def decode_clips(model, latents, dtype, mesh=None):
  """Latents f32[B, F, H, W, C] to frames uint8[B, F, 8 H, 8 W, 3]; see `encode_clips`."""
  # From the host, so that latents of a device and those of the cache are decoded by one program.
  decoded = _on_frames(vae.decode_frames, model, np.asarray(latents), dtype, mesh)
  return np.stack([video.from_model(clip) for clip in decoded])


def encode_clip(model, frames, dtype):
  """`encode_clips` of one clip: uint8[F, H, W, 3] to f32[F, H / 8, W / 8, C]."""
  return encode_clips(model, frames[None], dtype)[0]


def decode_clip(model, latents, dtype):
  """`decode_clips` of one clip: f32[F, H, W, C] to uint8[F, 8 H, 8 W, 3]."""
  return decode_clips(model, np.asarray(latents)[None], dtype)[0]


def _on_frames(function, model, clips, dtype, mesh):
  """Runs a function of frames on B clips, sharded over the mesh."""
  params = model.params['vae']
  program = _over_frames(function, module(model.config, 'vae', dtype), mesh or mesh_of(params))
  return np.asarray(program(params, clips))


@functools.cache
def _over_frames(function, network, mesh):
  def local(params, clips):
    made = function(network, params, clips.reshape(-1, *clips.shape[2:]))
    return made.reshape(*clips.shape[:2], *made.shape[1:])

  specs = PartitionSpec(), PartitionSpec('data')
  return jax.jit(
    jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=specs[1], check_vma=False)
  )


def start_noise(seed, shape):
  """The start latents of a generated clip, f32[F, H, W, C]; they depend on the seed alone."""
  return jax.random.normal(jax.random.key(seed), shape, jnp.float32)


def latent_shape(config, frames, height, width, **_):
  """(F, H, W, C) of the latents of a clip of `frames` x `height` x `width` pixels."""
  return (
    frames,
    height // config.vae.factor,
    width // config.vae.factor,
    config.unet.latent_channels,
  )
