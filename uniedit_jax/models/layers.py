"""Layers with the defaults of the PyTorch originals, channels last, for any leading dimensions."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from uniedit_jax.models.convolution import convolve


class Stored:
  """Mixin of modules whose parameters come from a checkpoint: their shapes are not checked again.

  Flax traces the initializer of a parameter whenever its module is traced, to compare shapes; that
  is a third of the time to the first step of a small model. `checkpoint.restore` compares them all.
  """

  def param(self, name, init, *args, **kwargs):
    if self.has_variable('params', name):
      return self.get_variable('params', name)
    return super().param(name, init, *args, **kwargs)


class Dense(Stored, nn.Dense):
  """A linear map of the last axis."""


class Embed(Stored, nn.Embed):
  """A table of vectors."""


class GroupNorm(Stored, nn.GroupNorm):
  """Group normalisation over the last three axes (H, W, C): statistics per frame.

  Two-pass variance in float32; linen's default, E[x^2] - E[x]^2, cancels when the mean is large.
  """

  epsilon: float = 1e-5
  reduction_axes: Any = (-3, -2, -1)
  use_fast_variance: bool = False


class VideoGroupNorm(GroupNorm):
  """Group normalisation over the last four axes (F, H, W, C): all frames share their statistics."""

  reduction_axes: Any = (-4, -3, -2, -1)


class LayerNorm(Stored, nn.LayerNorm):
  """Layer normalisation with torch's epsilon and a two-pass variance."""

  epsilon: float = 1e-5
  use_fast_variance: bool = False


class Conv(Stored, nn.Conv):
  """A 3x3 convolution of every frame with symmetric zero padding; stride 2 gives ceil(n / 2)."""

  kernel_size: Any = (3, 3)
  padding: Any = 1
  conv_general_dilated: Any = convolve


class FrameConv(Stored, nn.Module):
  """A convolution of three frames at every location, zero outside of the clip: one product a frame.

  f[F, H, W, C] -> f[F, H, W, features]. torch has it as a 3-D convolution of kernel (3, 1, 1).
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    shape = 3, x.shape[-1], self.features
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape).astype(self.dtype)
    bias = self.param('bias', nn.initializers.zeros, shape[2:]).astype(self.dtype)
    padded = jnp.pad(x.astype(self.dtype), ((1, 1), (0, 0), (0, 0), (0, 0)))
    return sum(padded[i : i + len(x)] @ kernel[i] for i in range(3)) + bias


def resize_nearest(x, height, width):
  """Resizes f[*b, H, W, C] as torch's 'nearest': source index floor(i in / out), not half-pixel."""
  old_height, old_width = x.shape[-3:-1]
  if (height, width) == (2 * old_height, 2 * old_width):
    return jnp.repeat(jnp.repeat(x, 2, axis=-3), 2, axis=-2)
  rows = jnp.arange(height) * old_height // height
  columns = jnp.arange(width) * old_width // width
  return jnp.take(jnp.take(x, rows, axis=-3), columns, axis=-2)


def timestep_embedding(timestep, width):
  """Sinusoids of a timestep, f32[width]: cosines, then sines; frequencies 10000^(-2j / width)."""
  half = width // 2
  frequencies = jnp.exp(-math.log(10000.0) * jnp.arange(half, dtype=jnp.float32) / half)
  angles = jnp.asarray(timestep, jnp.float32) * frequencies
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)])


class TimestepMLP(nn.Module):
  """The two-layer network after the sinusoid: f32[width] -> f[4 width]."""

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, timestep):
    embedding = timestep_embedding(timestep, self.width)
    hidden = Dense(4 * self.width, dtype=self.dtype, name='linear_1')(embedding)
    return Dense(4 * self.width, dtype=self.dtype, name='linear_2')(nn.silu(hidden))


class GEGLU(nn.Module):
  """The gated feed-forward projection: value * gelu(gate), with the exact (erf) GELU."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    value, gate = jnp.split(Dense(2 * self.features, dtype=self.dtype, name='proj')(x), 2, axis=-1)
    return value * jax.nn.gelu(gate, approximate=False)


class FeedForward(nn.Module):
  """GEGLU to four times the width and back."""

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    hidden = GEGLU(4 * x.shape[-1], self.dtype, name='net_0')(x)
    return Dense(x.shape[-1], dtype=self.dtype, name='net_2')(hidden)
