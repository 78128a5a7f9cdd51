"""The three attentions of a LaVie block: SA-S, CA-S and SA-T."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method.overrides import exchange
from uniedit_jax.models import layers
from uniedit_jax.models.attention_kernels import attend, attention_map


def rotate(x, rotary_dim):
  """Rotary position embedding of frame indices on the first `rotary_dim` head dims, interleaved
  pairs.

  Args:
    x: f[*b, F, heads, D] with D >= rotary_dim; frame 0 is not rotated.
    rotary_dim: even number of leading head dims that rotate; the others pass through.
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
  """T5's bidirectional buckets of query - key distances, i32[F, F]; keys in the future use the
  upper half.
  """
  half = buckets // 2
  exact = half // 2
  distance = np.arange(frames)[:, None] - np.arange(frames)[None, :]
  size = np.abs(distance)
  # A tiny excess keeps exact powers (16 = 8 * sqrt(4), ...) from falling below their edge in
  # floating point.
  log = np.log(np.maximum(size, 1) / exact) / math.log(max_distance / exact) * (half - exact)
  large = np.minimum(half - 1, exact + np.floor(log + 1e-9).astype(np.int32))
  return (np.where(distance < 0, half, 0) + np.where(size < exact, size, large)).astype(np.int32)


class RelativeBias(nn.Module):
  """A learned bias per head and distance between frames (T5), added to the logits unscaled:
  f32[heads, F, F].
  """

  heads: int
  buckets: int
  max_distance: int

  @nn.compact
  def __call__(self, frames):
    table = layers.Embed(self.buckets, self.heads, name='relative_attention_bias')
    return jnp.moveaxis(table(relative_buckets(frames, self.buckets, self.max_distance)), -1, 0)


class Attention(nn.Module):
  """What the three attentions share: projections without bias, an output projection with one.

  Attributes:
    heads: number of heads; channel index = head * D + d.
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
  def __call__(self, x, override=None, masks=None, taps=()):
    """f[F, N, C] -> (f[F, N, C], tapped)."""
    flow = override and override.flow
    if flow:
      features = exchange(x, flow.source)
      x = x[: len(flow.drawn)]  # what attends are the keyframes
    q, k, v = (self.project(name, x, x.shape[-1]) for name in ('to_q', 'to_k', 'to_v'))
    q_group = k_group = None
    if override is not None:
      q = exchange(q, override.spatial_q, masks and masks.spatial_q)
      k = exchange(k, override.spatial_k, masks and masks.spatial_kv)
      v = exchange(v, override.spatial_v, masks and masks.spatial_kv)
      k, v = of_frames(k, override), of_frames(v, override)
      if masks is not None and masks.guided_q is not None:
        q_group, k_group = guided_groups(
          masks.guided_q, of_frames(masks.guided_k, override), override.guided
        )
    q, k, v = (self.split_heads(t) for t in (q, k, v))
    tapped = {
      name: t for name, t in (('spatial_q', q), ('spatial_k', k), ('spatial_v', v)) if name in taps
    }
    if 'spatial_map' in taps:
      tapped['spatial_map'] = attention_map(q, k)
    out = self.output(attend(q, k, v, q_group=q_group, k_group=k_group))
    return (jnp.concatenate([out, propagate(features, out, flow)]) if flow else out), tapped


def of_frames(x, override):
  """What an override's frames see of keys, values or their mask: [F, N, C] -> [F, X N, C]."""
  if override.first_frame is not None:
    # Of all frames alike, so that a choice is data: x[:1] stands in for every frame.
    x = jnp.where(override.first_frame, x[:1], x)
  if override.frames is not None:
    x = jnp.take(x, override.frames, axis=0, mode='clip')
    x = x.reshape(x.shape[0], -1, x.shape[-1])
  return x


def propagate(features, outputs, flow):
  """What keyframes give to all frames (TokenFlow, Geyer et al. 2023), token by token.

  Args:
    features: f[K + F, N, C], compared by their cosine; those of the keyframes come first.
    outputs: f[K, N, C] of the keyframes.
    flow: `Flow`.

  Returns:
    f[F, N, C].
  """
  features = features.astype(jnp.float32)
  features /= jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
  keys, queries = jnp.split(features, [len(outputs)])

  def one_frame(inputs):
    query, pair, weight = inputs
    # N x N similarities are held for one frame at a time.
    nearest = lambda keyframe: outputs[keyframe][jnp.argmax(query @ keys[keyframe].T, axis=-1)]
    first, second = (nearest(pair[i]).astype(jnp.float32) for i in (0, 1))
    return (weight * first + (1 - weight) * second).astype(outputs.dtype)

  return jax.lax.map(one_frame, (queries, flow.keyframes, flow.weights))


def guided_groups(foreground_q, foreground_k, guided):
  """The groups of mask-guided attention (paper Eq. 5-6) for `attend`.

  Foreground queries see foreground keys, background queries background keys. A query whose side has
  no key in its frame sees all keys: the paper leaves this case open, and its softmax would divide
  by zero.

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
  """CA-S: every token attends to the prompt. Keys and values are made once for all frames.

  Its probabilities may be made of another row's, and are materialised then.
  """

  @nn.compact
  def __call__(self, x, text, taps=(), override=None):
    """f[F, N, C], f[T, E] -> (f[F, N, C], tapped)."""
    width = x.shape[-1]
    q = self.split_heads(self.project('to_q', x, width)).reshape(
      -1, self.heads, width // self.heads
    )
    k, v = (self.split_heads(self.project(name, text, width)) for name in ('to_k', 'to_v'))
    replaced = override is not None and override.text_maps is not None
    tapped = {}
    if replaced or 'text_map' in taps:
      maps = attention_map(q, k)
    if replaced:
      source, taken, kept = override.text_maps
      maps = exchange(maps, source) @ taken + maps * kept
    if 'text_map' in taps:
      tapped['text_map'] = maps.reshape(self.heads, *x.shape[:-1], -1)
    out = jnp.einsum('hnt,thd->nhd', maps.astype(v.dtype), v) if replaced else attend(q, k, v)
    return self.output(out).reshape(x.shape), tapped


class TemporalAttention(Attention):
  """SA-T: a location attends to itself in all frames, with rotary and relative positions.

  These tell distances in time only. A table of `frame_positions` rows, added to the tokens, tells
  where a frame is.
  """

  rotary_dim: int = 32
  buckets: int = 32
  max_distance: int = 32
  frame_positions: int = 0

  @nn.compact
  def __call__(self, x, override=None, masks=None, taps=()):
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
    if override is not None:
      q = exchange(q, override.temporal_q, masks and masks.temporal)
      k = exchange(k, override.temporal_k, masks and masks.temporal)
      v = exchange(v, override.temporal_v, masks and masks.temporal)
    q, k, v = (jnp.swapaxes(self.split_heads(t), 0, 1) for t in (q, k, v))  # f[N, F, heads, D]
    # The position depends on the frame alone, so rotating after the exchange equals rotating before
    # it.
    q, k = rotate(q, self.rotary_dim), rotate(k, self.rotary_dim)
    bias = RelativeBias(self.heads, self.buckets, self.max_distance, name='time_rel_pos_bias')(
      x.shape[0]
    )
    tapped = {
      name: t
      for name, t in (('temporal_q', q), ('temporal_k', k), ('temporal_v', v))
      if name in taps
    }
    if 'temporal_map' in taps:
      tapped['temporal_map'] = attention_map(q, k, bias)
    return jnp.swapaxes(self.output(attend(q, k, v, bias)), 0, 1), tapped


TAPS = (
  *('spatial_q', 'spatial_k', 'spatial_v', 'spatial_map', 'text_map'),
  *('temporal_q', 'temporal_k', 'temporal_v', 'temporal_map'),
)
