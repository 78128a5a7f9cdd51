"""The residual, transformer and resampling blocks of the UNet's levels."""

import functools
from typing import Any

import flax.linen as nn
import jax

from uniedit_jax.method.overrides import exchange
from uniedit_jax.models import attention, layers

# Group norms with statistics over all frames of the clip, and with those of each frame.
CLIP_NORMS = {True: layers.VideoGroupNorm, False: layers.GroupNorm}


def of_block(block, routes, masks, grid):
  """The routes of attention block `block` and the masks of a grid (H, W), of those of all."""
  routes = routes and jax.tree.map(lambda leaf: leaf[block], routes)
  return routes, masks and masks[grid]


def taps_of(block, taps):
  """The names among `taps` that belong to a block, without its number."""
  prefix = f'{block}/'
  return tuple(name.removeprefix(prefix) for name in taps if name.startswith(prefix))


# Traced once for all blocks of a shape: half of the tracing of a step.
@nn.jit
class Resnet(nn.Module):
  """A residual block.

  Attributes:
    features: width C of its result.
    temporal: whether its group norms take statistics over all frames of the clip, or per frame.
  """

  features: int
  groups: int
  dtype: Any
  temporal: bool = True

  @nn.compact
  def __call__(self, x, time, source=None):
    """f[F, H, W, C], f[4 C0] -> f[F, H, W, features]; `source`: row of the residual, or None."""
    norm = functools.partial(CLIP_NORMS[self.temporal], self.groups, dtype=self.dtype)
    hidden = nn.silu(norm(name='norm1')(x))
    hidden = layers.Conv(self.features, dtype=self.dtype, name='conv1')(hidden)
    hidden += layers.Dense(self.features, dtype=self.dtype, name='time_emb_proj')(nn.silu(time))
    hidden = nn.silu(norm(name='norm2')(hidden))
    hidden = exchange(layers.Conv(self.features, dtype=self.dtype, name='conv2')(hidden), source)
    if x.shape[-1] != self.features:
      x = layers.Dense(self.features, dtype=self.dtype, name='conv_shortcut')(x)
    return x + hidden


# Traced once for all blocks of a shape and of equal taps.
@nn.jit
class TransformerBlock(nn.Module):
  """SA-S, CA-S, SA-T and feed-forward, each a residual after a layer norm, on tokens f[F, N, C].

  Attributes:
    config: `UNetConfig`.
    taps: names of intermediates of this block to return (`attention.TAPS`).
    temporal: False bypasses SA-T, which only some backbones have here (`UNetConfig.temporal`).
  """

  config: Any
  dtype: Any
  taps: tuple[str, ...]
  temporal: bool

  @nn.compact
  def __call__(self, x, text, routes, masks):
    config, dtype, taps = self.config, self.dtype, self.taps
    heads = config.heads_of(x.shape[-1])
    norm = lambda name: layers.LayerNorm(dtype=dtype, name=name)(x)
    self_attention = attention.SpatialAttention(heads, dtype, name='attn1')
    spatial, tapped = self_attention(norm('norm1'), routes, masks, taps)
    x += spatial
    text_attention = attention.TextAttention(heads, dtype, name='attn2')
    cross, tapped_text = text_attention(norm('norm2'), text, taps, routes)
    x += cross
    tapped |= tapped_text
    if self.temporal and 'block' in config.temporal:
      temporal_attention = attention.temporal_attention(config, heads, dtype, name='attn_temp')
      across_frames, tapped_temporal = temporal_attention(norm('norm_temp'), routes, masks, taps)
      x += across_frames
      tapped |= tapped_temporal
    x += layers.FeedForward(dtype, name='ff')(norm('norm3'))
    return x, tapped


class Transformer(nn.Module):
  """Attention block `block` between two 1x1 projections; its group norm has per-frame statistics.

  Attributes:
    config: `UNetConfig`.
    taps, temporal: as in `UNet`.
  """

  config: Any
  block: int
  dtype: Any
  taps: tuple[str, ...]
  temporal: bool

  @nn.compact
  def __call__(self, x, text, routes, masks):
    """f[F, H, W, C], routes and masks of all blocks -> (f[F, H, W, C], tapped)."""
    frames, height, width, channels = x.shape
    routes, masks = of_block(self.block, routes, masks, (height, width))
    taps = taps_of(self.block, self.taps)

    tokens = layers.GroupNorm(self.config.groups, epsilon=1e-6, dtype=self.dtype, name='norm')(x)
    tokens = tokens.reshape(frames, height * width, channels)
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_in')(tokens)
    tokens, tapped = TransformerBlock(
      self.config, self.dtype, taps, self.temporal, name='transformer_blocks_0'
    )(tokens, text, routes, masks)
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_out')(tokens)
    tapped = {f'{self.block}/{name}': value for name, value in tapped.items()}
    return x + tokens.reshape(x.shape), tapped


class Downsample(nn.Module):
  """Halves the grid, rounding up."""

  dtype: Any

  @nn.compact
  def __call__(self, x):
    return layers.Conv(x.shape[-1], strides=2, dtype=self.dtype, name='conv')(x)


class Upsample(nn.Module):
  """Grows the grid to that of the next skip connection: twice the size, or one less if odd."""

  dtype: Any

  @nn.compact
  def __call__(self, x, height, width):
    return layers.Conv(x.shape[-1], dtype=self.dtype, name='conv')(
      layers.resize_nearest(x, height, width)
    )
