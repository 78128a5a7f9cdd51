"""The Stable Diffusion VAE: frames to latents and back, each frame independently.

Parameter paths are the names of the PyTorch checkpoint with `.N` written `_N`; 1x1 convolutions are
Dense.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from uniedit_jax.models import layers


@dataclasses.dataclass(frozen=True)
class VAEConfig:
  """Sizes of the VAE; the defaults are Stable Diffusion 1.4's.

  Attributes:
    channels: width of each resolution level.
    layers: resnets of an encoder level; decoder levels have one more.
    groups: groups of every group normalisation.
    latent_channels: channels of the latents.
    scale: factor of the posterior mean that gives latents.
  """

  channels: tuple[int, ...] = (128, 256, 512, 512)
  layers: int = 2
  groups: int = 32
  latent_channels: int = 4
  scale: float = 0.18215

  def __post_init__(self):
    object.__setattr__(self, 'channels', tuple(self.channels))
    for width in self.channels:
      if width % self.groups:
        raise ValueError(f'channels has {width}; accepted: multiples of groups={self.groups}')

  @property
  def factor(self):
    """Pixels of a frame per latent, in each direction: 8 for Stable Diffusion."""
    return 2 ** (len(self.channels) - 1)


# Under jit, all blocks of a shape are traced once.
@nn.jit
class FrameResnet(nn.Module):
  """A residual block without time input; its group norms take their statistics per frame."""

  features: int
  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """f[F, H, W, C] -> f[F, H, W, features]."""
    norm = functools.partial(layers.GroupNorm, self.groups, epsilon=1e-6, dtype=self.dtype)
    hidden = nn.silu(norm(name='norm1')(x))
    hidden = layers.Conv(self.features, dtype=self.dtype, name='conv1')(hidden)
    hidden = nn.silu(norm(name='norm2')(hidden))
    hidden = layers.Conv(self.features, dtype=self.dtype, name='conv2')(hidden)
    if x.shape[-1] != self.features:
      x = layers.Dense(self.features, dtype=self.dtype, name='conv_shortcut')(x)
    return x + hidden


class FrameAttention(nn.Module):
  """Single-head self-attention over the H W tokens of a frame, with biases, as a residual."""

  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """f[F, H, W, C] -> f[F, H, W, C]."""
    frames, height, width, channels = x.shape
    dense = functools.partial(layers.Dense, channels, dtype=self.dtype)
    tokens = layers.GroupNorm(self.groups, epsilon=1e-6, dtype=self.dtype, name='group_norm')(x)
    tokens = tokens.reshape(frames, height * width, 1, channels)
    q, k, v = (dense(name=name)(tokens) for name in ('to_q', 'to_k', 'to_v'))
    # Logits and softmax are in float32.
    tokens = jax.nn.dot_product_attention(q, k, v)
    return x + dense(name='to_out_0')(tokens).reshape(x.shape)


class Middle(nn.Module):
  """Resnet, attention, resnet."""

  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    resnet = functools.partial(FrameResnet, x.shape[-1], self.groups, self.dtype)
    x = resnet(name='resnets_0')(x)
    x = FrameAttention(self.groups, self.dtype, name='attentions_0')(x)
    return resnet(name='resnets_1')(x)


class Halve(nn.Module):
  """A stride-2 convolution that pads below and on the right only, unlike the UNet's."""

  dtype: Any

  @nn.compact
  def __call__(self, x):
    pad = ((0, 1), (0, 1))
    return layers.Conv(x.shape[-1], strides=2, padding=pad, dtype=self.dtype, name='conv')(x)


class Double(nn.Module):
  """Nearest upsampling to twice the size, then a convolution."""

  dtype: Any

  @nn.compact
  def __call__(self, x):
    x = layers.resize_nearest(x, 2 * x.shape[-3], 2 * x.shape[-2])
    return layers.Conv(x.shape[-1], dtype=self.dtype, name='conv')(x)


class Level(nn.Module):
  """Resnets of one resolution, then a resampling to the next one unless this is the last.

  Attributes:
    resample: (module class, its name), or None.
  """

  features: int
  depth: int
  groups: int
  dtype: Any
  resample: tuple[Any, str] | None

  @nn.compact
  def __call__(self, x):
    for j in range(self.depth):
      x = FrameResnet(self.features, self.groups, self.dtype, name=f'resnets_{j}')(x)
    if self.resample:
      module, name = self.resample
      x = module(self.dtype, name=name)(x)
    return x


class Encoder(nn.Module):
  """Mean and log variance of the posterior: f[F, H, W, 3] -> f32[F, H/8, W/8, 2 C]."""

  config: VAEConfig
  dtype: Any

  @nn.compact
  def __call__(self, x):
    config, dtype = self.config, self.dtype
    last = len(config.channels) - 1
    x = layers.Conv(config.channels[0], dtype=dtype, name='conv_in')(x)
    for i, features in enumerate(config.channels):
      halve = None if i == last else (Halve, 'downsamplers_0')
      x = Level(features, config.layers, config.groups, dtype, halve, name=f'down_blocks_{i}')(x)
    x = Middle(config.groups, dtype, name='mid_block')(x)
    x = nn.silu(layers.GroupNorm(config.groups, epsilon=1e-6, dtype=dtype, name='conv_norm_out')(x))
    return layers.Conv(2 * config.latent_channels, dtype=jnp.float32, name='conv_out')(x)


class Decoder(nn.Module):
  """Unscaled latents to frames: f[F, H, W, C] -> f32[F, 8 H, 8 W, 3]."""

  config: VAEConfig
  dtype: Any

  @nn.compact
  def __call__(self, x):
    config, dtype = self.config, self.dtype
    last = len(config.channels) - 1
    x = layers.Conv(config.channels[-1], dtype=dtype, name='conv_in')(x)
    x = Middle(config.groups, dtype, name='mid_block')(x)
    for i, features in enumerate(reversed(config.channels)):
      double = None if i == last else (Double, 'upsamplers_0')
      x = Level(features, config.layers + 1, config.groups, dtype, double, name=f'up_blocks_{i}')(x)
    x = nn.silu(layers.GroupNorm(config.groups, epsilon=1e-6, dtype=dtype, name='conv_norm_out')(x))
    return layers.Conv(3, dtype=jnp.float32, name='conv_out')(x)


class VAE(nn.Module):
  """Encoder and decoder, used as `vae.apply({'params': p}, frames, method='encode')` or 'decode'.

  `dtype` is that of activations; statistics, softmax, latents and frames stay in float32.
  """

  config: VAEConfig
  dtype: Any = jnp.float32

  def setup(self):
    self.encoder = Encoder(self.config, self.dtype)
    self.decoder = Decoder(self.config, self.dtype)
    self.quant_conv = layers.Dense(2 * self.config.latent_channels)
    self.post_quant_conv = layers.Dense(self.config.latent_channels)

  def encode(self, frames):
    """Frames f[F, H, W, 3] in [-1, 1] to latents f32[F, H/8, W/8, C]: posterior mean times `scale`.

    Raises:
      ValueError: H and W are no multiples of `config.factor`.
    """
    _, height, width, _ = frames.shape
    factor = self.config.factor
    if height % factor or width % factor:
      accepted = f'accepted: multiples of {factor}'
      raise ValueError(f'frames are {height} x {width} (height x width); {accepted}')
    return self.posterior(frames)[0] * self.config.scale

  def posterior(self, frames):
    """Mean and log variance of the unscaled latents, both f32[F, H/8, W/8, C]; for training."""
    return jnp.split(self.quant_conv(self.encoder(frames.astype(self.dtype))), 2, axis=-1)

  def decode(self, latents):
    """Latents f[F, H, W, C] to frames f32[F, 8 H, 8 W, 3], about [-1, 1] and not clipped."""
    latents = self.post_quant_conv(latents.astype(jnp.float32) / self.config.scale)
    return self.decoder(latents.astype(self.dtype))

  def __call__(self, frames):
    """Encodes and decodes; for `init`."""
    return self.decode(self.encode(frames))


def _frame_by_frame(vae, params, x, method):
  apply = lambda frame: vae.apply({'params': params}, frame[None], method=method)[0]
  return jax.lax.map(apply, x)


@functools.partial(jax.jit, static_argnums=0)
def encode_frames(vae, params, frames):
  """`VAE.encode` of f[F, H, W, 3], one frame after the other: the memory is that of one frame."""
  return _frame_by_frame(vae, params, frames, 'encode')


@functools.partial(jax.jit, static_argnums=0)
def decode_frames(vae, params, latents):
  """`VAE.decode` of f[F, H, W, C], one frame after the other: the memory is that of one frame."""
  return _frame_by_frame(vae, params, latents, 'decode')
