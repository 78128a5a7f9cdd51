"""The LaVie text-to-video UNet: Stable Diffusion's UNet with temporal attention in each block.

The module is used as a pure function of one video:
`unet.apply({'params': p}, latents, timestep, text, routes, masks, taps)`. It knows nothing of
editing; `routes` holds the rows that its attention blocks, 0..15 in execution order, read (see
`method.overrides`). Parameter paths are the names of the PyTorch checkpoint with `.N` written `_N`.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from uniedit_jax.method.overrides import exchange
from uniedit_jax.models import attention, comparison_attention, layers


@dataclasses.dataclass(frozen=True)
class UNetConfig:
  """Sizes of the UNet; the defaults are LaVie's.

  Attributes:
    channels: width of each resolution level; all but the last level have attention.
    heads: attention heads of every block; the head dim is channels / heads, at least `rotary_dim`.
    groups: groups of every group normalisation.
    layers_per_block: resnets of a down level; up levels have one more.
    latent_channels: channels of the latents.
    text_width: width E of the text embedding.
    rotary_dim: leading head dims that carry the rotary position of the frame.
    relative_buckets, relative_max_distance: buckets of the relative position bias over frames.
    frame_positions: rows of a table that is added to the tokens of SA-T by frame index, and so the
      most frames of a clip (AnimateDiff has a fixed table); 0 = no table, as in LaVie, whose frames
      see distances only.
  """

  channels: tuple[int, ...] = (320, 640, 1280, 1280)
  heads: int = 8
  groups: int = 32
  layers_per_block: int = 2
  latent_channels: int = 4
  text_width: int = 768
  rotary_dim: int = 32
  relative_buckets: int = 32
  relative_max_distance: int = 32
  frame_positions: int = 0

  def __post_init__(self):
    object.__setattr__(self, 'channels', tuple(self.channels))
    for width in self.channels:
      if width % self.groups or width % self.heads or width // self.heads < self.rotary_dim:
        raise ValueError(
          f'channels has {width}; accepted: multiples of groups={self.groups} and of '
          f'heads={self.heads} with at least rotary_dim={self.rotary_dim} channels a head'
        )

  @property
  def blocks(self):
    """Number of attention blocks L: 16 for LaVie."""
    levels = len(self.channels) - 1
    return levels * self.layers_per_block + 1 + levels * (self.layers_per_block + 1)

  def grids(self, height, width):
    """The token grids (H, W) of all attention blocks, in execution order, for latents of a size."""
    sizes = [(height, width)]
    for _ in self.channels[1:]:
      sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    down = [size for size in sizes[:-1] for _ in range(self.layers_per_block)]
    up = [size for size in reversed(sizes[:-1]) for _ in range(self.layers_per_block + 1)]
    return [*down, sizes[-1], *up]


# Group norms outside of transformers: statistics over the clip; per frame in the image model.
CLIP_NORMS = {True: layers.VideoGroupNorm, False: layers.GroupNorm}


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
    taps: names of intermediates of this block to return (`attention.TAPS`).
    temporal: False bypasses SA-T.
  """

  config: UNetConfig
  dtype: Any
  taps: tuple[str, ...]
  temporal: bool

  @nn.compact
  def __call__(self, x, text, routes, masks):
    config, heads, dtype, taps = self.config, self.config.heads, self.dtype, self.taps
    norm = lambda name: layers.LayerNorm(dtype=dtype, name=name)(x)
    self_attention = attention.SpatialAttention(heads, dtype, name='attn1')
    spatial, tapped = self_attention(norm('norm1'), routes, masks, taps)
    x += spatial
    text_attention = attention.TextAttention(heads, dtype, name='attn2')
    cross, tapped_text = text_attention(norm('norm2'), text, taps, routes)
    x += cross
    tapped |= tapped_text
    if self.temporal:
      temporal_attention = attention.TemporalAttention(
        heads,
        dtype,
        rotary_dim=config.rotary_dim,
        buckets=config.relative_buckets,
        max_distance=config.relative_max_distance,
        frame_positions=config.frame_positions,
        name='attn_temp',
      )
      across_frames, tapped_temporal = temporal_attention(norm('norm_temp'), routes, masks, taps)
      x += across_frames
      tapped |= tapped_temporal
    x += layers.FeedForward(dtype, name='ff')(norm('norm3'))
    return x, tapped


class Transformer(nn.Module):
  """Attention block `block` between two 1x1 projections; its group norm has per-frame statistics.

  Attributes:
    taps, temporal: as in `UNet`.
  """

  config: UNetConfig
  block: int
  dtype: Any
  taps: tuple[str, ...]
  temporal: bool

  @nn.compact
  def __call__(self, x, text, routes, masks):
    """f[F, H, W, C], routes and masks of all blocks -> (f[F, H, W, C], tapped)."""
    frames, height, width, channels = x.shape
    routes = routes and jax.tree.map(lambda leaf: leaf[self.block], routes)
    masks = masks and masks[height, width]
    prefix = f'{self.block}/'
    taps = tuple(name.removeprefix(prefix) for name in self.taps if name.startswith(prefix))

    tokens = layers.GroupNorm(self.config.groups, epsilon=1e-6, dtype=self.dtype, name='norm')(x)
    tokens = tokens.reshape(frames, height * width, channels)
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_in')(tokens)
    tokens, tapped = TransformerBlock(
      self.config, self.dtype, taps, self.temporal, name='transformer_blocks_0'
    )(tokens, text, routes, masks)
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_out')(tokens)
    return x + tokens.reshape(x.shape), {prefix + name: value for name, value in tapped.items()}


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


class Level(nn.Module):
  """Base of down, middle and up levels.

  Attributes:
    features: width of the level.
    first_block: index of its first attention block, or None for a level without attention.
    remat, taps, temporal: as in `UNet`.
  """

  config: UNetConfig
  features: int
  first_block: int | None
  dtype: Any
  remat: bool
  taps: tuple[str, ...]
  temporal: bool

  def resnet(self, j, x, time, source=None):
    """Resnet `j`; `source` of its residual."""
    make = nn.remat(Resnet) if self.remat else Resnet
    return make(self.features, self.config.groups, self.dtype, self.temporal, name=f'resnets_{j}')(
      x, time, source
    )

  def block(self, j, x, time, text, routes, masks):
    """Resnet `j`, then the transformer if the level has attention: (f[F, H, W, C], tapped)."""
    if self.first_block is None:
      return self.resnet(j, x, time), {}
    block = self.first_block + j
    x = self.resnet(j, x, time, comparison_attention.residual_source(routes, block))
    make = nn.remat(Transformer) if self.remat else Transformer
    return make(self.config, block, self.dtype, self.taps, self.temporal, name=f'attentions_{j}')(
      x, text, routes, masks
    )


class DownLevel(Level):
  """layers_per_block x (resnet, transformer), then half the resolution; all results are skips."""

  last: bool = False

  @nn.compact
  def __call__(self, x, time, text, routes, masks):
    skips, tapped = [], {}
    for j in range(self.config.layers_per_block):
      x, new = self.block(j, x, time, text, routes, masks)
      skips.append(x)
      tapped |= new
    if not self.last:
      x = Downsample(self.dtype, name='downsamplers_0')(x)
      skips.append(x)
    return x, skips, tapped


class MidLevel(Level):
  """Resnet, transformer, resnet."""

  @nn.compact
  def __call__(self, x, time, text, routes, masks):
    x, tapped = self.block(0, x, time, text, routes, masks)
    return self.resnet(1, x, time), tapped


class UpLevel(Level):
  """(layers_per_block + 1) x ([hidden, skip], resnet, transformer), then the next resolution."""

  @nn.compact
  def __call__(self, x, skips, time, text, routes, masks):
    """Takes the last layers_per_block + 1 of `skips` and returns the rest."""
    skips, tapped = list(skips), {}
    for j in range(self.config.layers_per_block + 1):
      x = jnp.concatenate([x, skips.pop()], axis=-1)
      x, new = self.block(j, x, time, text, routes, masks)
      tapped |= new
    if skips:
      x = Upsample(self.dtype, name='upsamplers_0')(x, *skips[-1].shape[-3:-1])
    return x, skips, tapped


class UNet(nn.Module):
  """Predicts the noise of one video.

  Attributes:
    config: sizes.
    dtype: dtype of activations; statistics, softmax and the output stay in float32.
    remat: recompute activations of resnets and transformers in the backward pass; null-text
      inversion differentiates the whole UNet.
  """

  config: UNetConfig
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, latents, timestep, text, routes=None, masks=None, taps=(), temporal=True):
    """Predicts the noise.

    Args:
      latents: f[F, H, W, C], any H and W.
      timestep: i32[].
      text: f[T, E], the encoded prompt.
      routes: `AttentionOverride` with leaves [L] (one entry an attention block, execution order),
        or None for the plain model. Needs the axis 'row' (see `overrides.exchange`).
      masks: dict {(H, W) of a block grid: `TokenMasks`}, or None.
      taps: names of intermediates to return, '<block>/<one of attention.TAPS>'.
      temporal: False is the image model inside the video model: SA-T is bypassed and no norm spans
        frames, so frames see each other only through `routes`.

    Returns:
      (epsilon f32[F, H, W, C], tapped {name: array}).

    Raises:
      ValueError: a tap that does not exist.
    """
    config, dtype = self.config, self.dtype
    for name in taps:
      block, _, kind = name.partition('/')
      if not (block.isdigit() and int(block) < config.blocks and kind in attention.TAPS):
        raise ValueError(
          f"taps has {name!r}; accepted: '<0..{config.blocks - 1}>/<{'|'.join(attention.TAPS)}>'"
        )

    time = layers.TimestepMLP(config.channels[0], dtype=dtype, name='time_embedding')(timestep)
    text = text.astype(dtype)
    fields = dict(config=config, dtype=dtype, remat=self.remat, taps=taps, temporal=temporal)

    x = layers.Conv(config.channels[0], dtype=dtype, name='conv_in')(latents.astype(dtype))
    skips, tapped, block, last = [x], {}, 0, len(config.channels) - 1
    for i, width in enumerate(config.channels):
      first, name = None if i == last else block, f'down_blocks_{i}'
      down = DownLevel(features=width, first_block=first, last=i == last, name=name, **fields)
      x, new_skips, new = down(x, time, text, routes, masks)
      skips, tapped = skips + new_skips, tapped | new
      block += 0 if i == last else config.layers_per_block
    middle = MidLevel(features=width, first_block=block, name='mid_block', **fields)
    x, new = middle(x, time, text, routes, masks)
    tapped, block = tapped | new, block + 1
    for i, width in enumerate(reversed(config.channels)):
      first, name = None if i == 0 else block, f'up_blocks_{i}'
      up = UpLevel(features=width, first_block=first, name=name, **fields)
      x, skips, new = up(x, skips, time, text, routes, masks)
      tapped |= new
      block += 0 if i == 0 else config.layers_per_block + 1

    x = nn.silu(CLIP_NORMS[temporal](config.groups, dtype=jnp.float32, name='conv_norm_out')(x))
    epsilon = layers.Conv(config.latent_channels, dtype=jnp.float32, name='conv_out')(x)
    return epsilon, tapped
