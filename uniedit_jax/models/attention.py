"""The three attentions of the UNet: SA-S, CA-S and SA-T."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method.overrides import exchange
from uniedit_jax.models import comparison_attention, layers
from uniedit_jax.models.attention_kernels import attend, attention_map

SPATIAL_TAPS = 'spatial_q', 'spatial_k', 'spatial_v'
TEMPORAL_TAPS = 'temporal_q', 'temporal_k', 'temporal_v'
TAPS = (*SPATIAL_TAPS, 'spatial_map', 'text_map', *TEMPORAL_TAPS, 'temporal_map')
# Of the second SA-T of a temporal module; those of the first are named as above.
SECOND_TAPS = 'temporal2_q', 'temporal2_k', 'temporal2_v', 'temporal2_map'


def rotate(x, rotary_dim):
  """Rotary embedding of frame indices on the first `rotary_dim` head dims, in interleaved pairs.

  x is f[*b, F, heads, D]; frame 0 is not rotated, and the other head dims pass through.
  """
  frames, dtype = x.shape[-3], x.dtype
  frequencies = 10000.0 ** (-np.arange(0, rotary_dim, 2) / rotary_dim)
  angles = np.arange(frames)[:, None] * frequencies
  cos, sin = (jnp.asarray(f(angles), jnp.float32)[:, None, :] for f in (np.cos, np.sin))
  pairs = x[..., :rotary_dim].astype(jnp.float32).reshape(*x.shape[:-1], rotary_dim // 2, 2)
  even, odd = pairs[..., 0], pairs[..., 1]
  rotated = jnp.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
  rotated = rotated.reshape(*x.shape[:-1], rotary_dim).astype(dtype)
  return jnp.concatenate([rotated, x[..., rotary_dim:]], axis=-1)


@functools.lru_cache
def relative_buckets(frames, buckets, max_distance):
  """T5's bidirectional buckets of query - key distances, i32[F, F]; upper half: the future."""
  half = buckets // 2
  exact = half // 2
  distance = np.arange(frames)[:, None] - np.arange(frames)[None, :]
  size = np.abs(distance)
  # A tiny excess keeps rounding from moving exact powers (16 = 8 * sqrt(4), ...) below their edge.
  log = np.log(np.maximum(size, 1) / exact) / math.log(max_distance / exact) * (half - exact)
  large = np.minimum(half - 1, exact + np.floor(log + 1e-9).astype(np.int32))
  return (np.where(distance < 0, half, 0) + np.where(size < exact, size, large)).astype(np.int32)


class RelativeBias(nn.Module):
  """T5's learned bias by head and frame distance, f32[heads, F, F]; added to logits unscaled."""

  heads: int
  buckets: int
  max_distance: int

  @nn.compact
  def __call__(self, frames):
    table = layers.Embed(self.buckets, self.heads, name='relative_attention_bias')
    return jnp.moveaxis(table(relative_buckets(frames, self.buckets, self.max_distance)), -1, 0)


class Attention(nn.Module):
  """Base of the three attentions: projections without bias, an output projection with one.

  Channel index = head * D + d.
  """

  heads: int
  dtype: Any = jnp.float32

  def project(self, name, x, width):
    return layers.Dense(width, use_bias=False, dtype=self.dtype, name=name)(x)

  def split_heads(self, x):
    return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)

  def output(self, x):
    x = x.reshape(*x.shape[:-2], -1)
    return layers.Dense(x.shape[-1], dtype=self.dtype, name='to_out_0')(x)


class SpatialAttention(Attention):
  """SA-S: the tokens of a frame attend to each other. q, k and v may be read from other rows."""

  @nn.compact
  def __call__(self, x, routes=None, masks=None, taps=()):
    """f[F, N, C] -> (f[F, N, C], tapped); `routes` and `masks` are those of this block."""
    x, complete = comparison_attention.split_keyframes(x, routes)
    q, k, v = (self.project(name, x, x.shape[-1]) for name in ('to_q', 'to_k', 'to_v'))
    q_group = k_group = None
    if routes is not None:
      q = exchange(q, routes.spatial_q, masks and masks.spatial_q)
      k = exchange(k, routes.spatial_k, masks and masks.spatial_kv)
      v = exchange(v, routes.spatial_v, masks and masks.spatial_kv)
      k, v = of_reference(k, routes), of_reference(v, routes)
      if masks is not None and masks.guided_q is not None:
        guided_k = of_reference(masks.guided_k, routes)
        q_group, k_group = guided_groups(masks.guided_q, guided_k, routes.guided)
    q, k, v = (self.split_heads(t) for t in (q, k, v))
    tapped = {name: t for name, t in zip(SPATIAL_TAPS, (q, k, v), strict=True) if name in taps}
    if 'spatial_map' in taps:
      tapped['spatial_map'] = attention_map(q, k)
    return complete(self.output(attend(q, k, v, q_group=q_group, k_group=k_group))), tapped


def of_reference(x, routes):
  """Keys, values or their mask of the frames that each frame reads: [F, N, C] -> [F, N', C]."""
  if routes.first_frame is not None:
    # Both cases are computed, so that the choice is data: x[:1] stands in for every frame.
    x = jnp.where(routes.first_frame, x[:1], x)
  return comparison_attention.of_frames(x, routes)


def guided_groups(foreground_q, foreground_k, guided):
  """The groups of mask-guided attention (paper Eq. 5-6) for `attend`.

  Foreground queries see foreground keys, background queries background keys. A query whose side has
  no key in its frame sees all keys: the paper leaves this case open, where its softmax divides by
  zero.

  Args:
    foreground_q, foreground_k: bool[F, N, 1].
    guided: bool[], False lets every query see every key.

  Returns:
    q_group, k_group: i32[F, N].
  """
  foreground_q, foreground_k = foreground_q[..., 0], foreground_k[..., 0]
  has_keys = jnp.where(
    foreground_q, foreground_k.any(-1, keepdims=True), (~foreground_k).any(-1, keepdims=True)
  )
  q_group = jnp.where(guided & has_keys, foreground_q.astype(jnp.int32), -1)
  return q_group, foreground_k.astype(jnp.int32)


class TextAttention(Attention):
  """CA-S: every token attends to the prompt. Keys and values are computed once for all frames.

  The probabilities are materialised only for taps and where comparison methods replace them.
  """

  @nn.compact
  def __call__(self, x, text, taps=(), routes=None):
    """f[F, N, C], f[T, E] -> (f[F, N, C], tapped)."""
    width = x.shape[-1]
    q = self.split_heads(self.project('to_q', x, width))
    q = q.reshape(-1, self.heads, width // self.heads)
    k, v = (self.split_heads(self.project(name, text, width)) for name in ('to_k', 'to_v'))
    replacement = comparison_attention.text_map_replacement(routes)
    tapped = {}
    if replacement or 'text_map' in taps:
      maps = attention_map(q, k)
    if replacement:
      maps = replacement(maps)
    if 'text_map' in taps:
      tapped['text_map'] = maps.reshape(self.heads, *x.shape[:-1], -1)
    out = jnp.einsum('hnt,thd->nhd', maps.astype(v.dtype), v) if replacement else attend(q, k, v)
    return self.output(out).reshape(x.shape), tapped


class TemporalAttention(Attention):
  """SA-T: a location attends to itself in all frames; each kind of position is there if not 0.

  Rotary and relative positions encode distances only; the table of `frame_positions` rows, added to
  the tokens, encodes absolute positions.
  """

  rotary_dim: int = 32
  buckets: int = 32
  max_distance: int = 32
  frame_positions: int = 0

  @nn.compact
  def __call__(self, x, routes=None, masks=None, taps=()):
    """f[F, N, C] -> (f[F, N, C], tapped)."""
    if self.frame_positions:
      if len(x) > self.frame_positions:
        raise ValueError(
          f'the clip has {len(x)} frames; accepted: at most frame_positions={self.frame_positions}'
        )
      table = self.param(
        'frame_positions', nn.initializers.zeros, (self.frame_positions, x.shape[-1])
      )
      x += table[: len(x), None].astype(x.dtype)
    q, k, v = (self.project(name, x, x.shape[-1]) for name in ('to_q', 'to_k', 'to_v'))
    if routes is not None:
      q = exchange(q, routes.temporal_q, masks and masks.temporal)
      k = exchange(k, routes.temporal_k, masks and masks.temporal)
      v = exchange(v, routes.temporal_v, masks and masks.temporal)
    q, k, v = (jnp.swapaxes(self.split_heads(t), 0, 1) for t in (q, k, v))  # f[N, F, heads, D]
    bias = None
    if self.rotary_dim:
      # Rotation depends on the frame alone, so it commutes with the exchange between rows.
      q, k = rotate(q, self.rotary_dim), rotate(k, self.rotary_dim)
    if self.buckets:
      relative = RelativeBias(self.heads, self.buckets, self.max_distance, name='time_rel_pos_bias')
      bias = relative(len(x))
    tapped = {name: t for name, t in zip(TEMPORAL_TAPS, (q, k, v), strict=True) if name in taps}
    if 'temporal_map' in taps:
      tapped['temporal_map'] = attention_map(q, k, bias)
    return jnp.swapaxes(self.output(attend(q, k, v, bias)), 0, 1), tapped


def temporal_attention(config, heads, dtype, name):
  """SA-T with the positions that a `UNetConfig` names."""
  return TemporalAttention(
    heads,
    dtype,
    rotary_dim=config.rotary_dim,
    buckets=config.relative_buckets,
    max_distance=config.relative_max_distance,
    frame_positions=config.frame_positions,
    name=name,
  )
