"""The LaVie text-to-video UNet: Stable Diffusion's UNet on every frame, with temporal attention in
each block.

The module is used as a pure function of one video:
`unet.apply({'params': p}, latents, timestep, text, routes, masks, taps)`. It knows nothing of
editing; `routes` tells its attention blocks, 0..15 in execution order, which rows to read (see
`overrides.py`). Parameter paths are the names of the PyTorch checkpoint with `.N` written `_N`.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from uniedit_jax.method.overrides import exchange
from uniedit_jax.models import attention, layers


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
    frame_positions: rows of a table that is added to the tokens of SA-T by frame index, and the
      most frames of a clip (AnimateDiff adds a fixed one); 0 = none, as in LaVie, whose frames see
      distances only.
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
          f'channels has {width}; accepted: multiples of groups={self.groups} and of heads={self.heads} with '
          f'at least rotary_dim={self.rotary_dim} channels a head'
        )

  @property
  def blocks(self):
    """Number of attention blocks L: 16 for LaVie."""
    levels = len(self.channels) - 1
    return levels * self.layers_per_block + 1 + levels * (self.layers_per_block + 1)

  def grids(self, height, width):
    """The token grid (H, W) of every attention block, in execution order, for latents of H =
    height, W = width.
    """
    sizes = [(height, width)]
    for _ in self.channels[1:]:
      sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    down = [size for size in sizes[:-1] for _ in range(self.layers_per_block)]
    up = [size for size in reversed(sizes[:-1]) for _ in range(self.layers_per_block + 1)]
    return [*down, sizes[-1], *up]


# The group norm outside of transformers: of a clip, or of frames that are images of their own.
CLIP_NORMS = {True: layers.VideoGroupNorm, False: layers.GroupNorm}


@nn.jit  # traced once for all blocks of a shape: half of the tracing of a step
class Resnet(nn.Module):
  """A residual block.

  Attributes:
    features: width C of its result.
    temporal: whether its group norms take their statistics over all frames of the clip, or of each.
  """

  features: int
  groups: int
  dtype: Any
  temporal: bool = True

  @nn.compact
  def __call__(self, x, time, source=None):
    """f[F, H, W, C], f[4 C0] -> f[F, H, W, features]; `source` of what is added to x, or None for
    the own row.
    """
    norm = functools.partial(CLIP_NORMS[self.temporal], self.groups, dtype=self.dtype)
    hidden = nn.silu(norm(name='norm1')(x))
    hidden = layers.Conv(self.features, dtype=self.dtype, name='conv1')(hidden)
    hidden += layers.Dense(self.features, dtype=self.dtype, name='time_emb_proj')(nn.silu(time))
    hidden = nn.silu(norm(name='norm2')(hidden))
    hidden = exchange(layers.Conv(self.features, dtype=self.dtype, name='conv2')(hidden), source)
    if x.shape[-1] != self.features:
      x = layers.Dense(self.features, dtype=self.dtype, name='conv_shortcut')(x)
    return x + hidden


@functools.partial(nn.jit, static_argnums=(5, 6))  # taps, temporal
class TransformerBlock(nn.Module):
  """SA-S, CA-S, SA-T and feed-forward, each a residual after a layer norm, on tokens f[F, N, C]."""

  config: UNetConfig
  dtype: Any

  @nn.compact
  def __call__(self, x, text, override, masks, taps, temporal):
    config, heads, dtype = self.config, self.config.heads, self.dtype
    norm = lambda name: layers.LayerNorm(dtype=dtype, name=name)(x)
    spatial, tapped_spatial = attention.SpatialAttention(heads, dtype, name='attn1')(
      norm('norm1'), override, masks, taps
    )
    x += spatial
    cross, tapped_text = attention.TextAttention(heads, dtype, name='attn2')(
      norm('norm2'), text, taps, override
    )
    x += cross
    tapped = {**tapped_spatial, **tapped_text}
    if temporal:
      across_frames, tapped_temporal = attention.TemporalAttention(
        *(heads, dtype, config.rotary_dim),
        *(config.relative_buckets, config.relative_max_distance, config.frame_positions),
        name='attn_temp',
      )(norm('norm_temp'), override, masks, taps)
      x += across_frames
      tapped |= tapped_temporal
    x += layers.FeedForward(dtype, name='ff')(norm('norm3'))
    return x, tapped


class Transformer(nn.Module):
  """Attention block `block` between two 1x1 projections; its group norm takes statistics per frame."""

  config: UNetConfig
  block: int
  dtype: Any

  @nn.compact
  def __call__(self, x, text, routes, masks, taps, temporal):
    """f[F, H, W, C] -> (f[F, H, W, C], tapped)."""
    frames, height, width, channels = x.shape
    override = routes and jax.tree.map(lambda leaf: leaf[self.block], routes)
    masks = masks and masks[height, width]
    wanted = tuple(
      name.partition('/')[2] for name in taps if name.partition('/')[0] == str(self.block)
    )

    tokens = layers.GroupNorm(self.config.groups, epsilon=1e-6, dtype=self.dtype, name='norm')(x)
    tokens = tokens.reshape(frames, height * width, channels)
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_in')(tokens)
    tokens, tapped = TransformerBlock(self.config, self.dtype, name='transformer_blocks_0')(
      tokens, text, override, masks, wanted, temporal
    )
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_out')(tokens)
    return x + tokens.reshape(x.shape), {
      f'{self.block}/{name}': value for name, value in tapped.items()
    }


class Downsample(nn.Module):
  """Halves the grid, rounding up."""

  dtype: Any

  @nn.compact
  def __call__(self, x):
    return layers.Conv(x.shape[-1], strides=2, dtype=self.dtype, name='conv')(x)


class Upsample(nn.Module):
  """Grows the grid to that of the next skip connection: twice the size, or one less where it was
  odd.
  """

  dtype: Any

  @nn.compact
  def __call__(self, x, height, width):
    return layers.Conv(x.shape[-1], dtype=self.dtype, name='conv')(
      layers.resize_nearest(x, height, width)
    )


class Level(nn.Module):
  """What down, middle and up levels share.

  Attributes:
    features: width of the level.
    first_block: index of its first attention block, or None for a level without attention.
    remat: recompute activations in the backward pass; null-text inversion differentiates the whole
      UNet.
  """

  config: UNetConfig
  features: int
  first_block: int | None
  dtype: Any
  remat: bool

  def resnet(self, j, x, time, inputs, before_block=True):
    _, routes, _, _, temporal = inputs
    residual = routes and routes.residual if before_block and self.first_block is not None else None
    source = residual and jax.tree.map(lambda leaf: leaf[self.first_block + j], residual)
    make = nn.remat(Resnet) if self.remat else Resnet
    return make(self.features, self.config.groups, self.dtype, temporal, name=f'resnets_{j}')(
      x, time, source
    )

  def transformer(self, j, x, *inputs):
    if self.first_block is None:
      return x, {}
    # taps, temporal
    make = nn.remat(Transformer, static_argnums=(5, 6)) if self.remat else Transformer
    return make(self.config, self.first_block + j, self.dtype, name=f'attentions_{j}')(x, *inputs)


class DownLevel(Level):
  """(resnet, transformer) x layers_per_block, then half the resolution; every result is a skip
  connection.
  """

  last: bool = False

  @nn.compact
  def __call__(self, x, time, *inputs):
    skips, tapped = [], {}
    for j in range(self.config.layers_per_block):
      x, new = self.transformer(j, self.resnet(j, x, time, inputs), *inputs)
      skips.append(x)
      tapped |= new
    if not self.last:
      x = Downsample(self.dtype, name='downsamplers_0')(x)
      skips.append(x)
    return x, skips, tapped


class MidLevel(Level):
  """Resnet, transformer, resnet."""

  @nn.compact
  def __call__(self, x, time, *inputs):
    x, tapped = self.transformer(0, self.resnet(0, x, time, inputs), *inputs)
    return self.resnet(1, x, time, inputs, before_block=False), tapped


class UpLevel(Level):
  """(concatenate [hidden, skip], resnet, transformer) x (layers_per_block + 1), then the next
  resolution.
  """

  @nn.compact
  def __call__(self, x, skips, time, *inputs):
    """Takes the last layers_per_block + 1 of `skips` and returns the rest."""
    skips, tapped = list(skips), {}
    for j in range(self.config.layers_per_block + 1):
      x = jnp.concatenate([x, skips.pop()], axis=-1)
      x, new = self.transformer(j, self.resnet(j, x, time, inputs), *inputs)
      tapped |= new
    if skips:
      x = Upsample(self.dtype, name='upsamplers_0')(x, *skips[-1].shape[-3:-1])
    return x, skips, tapped


class UNet(nn.Module):
  """Predicts the noise of one video.

  Attributes:
    config: sizes.
    dtype: dtype of activations; statistics, softmax and the output stay in float32.
    remat: recompute activations of resnets and transformers in the backward pass.
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
        frames, which meet only where `routes` lets them.

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

    levels = len(config.channels)
    time = layers.TimestepMLP(config.channels[0], dtype=dtype, name='time_embedding')(timestep)
    inputs = (time, text.astype(dtype), routes, masks, taps, temporal)
    make = lambda kind, level, block, name, **kw: kind(
      config, config.channels[level], block, dtype, self.remat, name=name, **kw
    )

    x = layers.Conv(config.channels[0], dtype=dtype, name='conv_in')(latents.astype(dtype))
    skips, tapped, block = [x], {}, 0
    for level in range(levels):
      last = level == levels - 1
      down = make(DownLevel, level, None if last else block, f'down_blocks_{level}', last=last)
      x, new_skips, new = down(x, *inputs)
      skips, tapped = skips + new_skips, tapped | new
      block += 0 if last else config.layers_per_block
    x, new = make(MidLevel, levels - 1, block, 'mid_block')(x, *inputs)
    tapped, block = tapped | new, block + 1
    for i, level in enumerate(reversed(range(levels))):
      x, skips, new = make(UpLevel, level, None if i == 0 else block, f'up_blocks_{i}')(
        x, skips, *inputs
      )
      tapped |= new
      block += 0 if i == 0 else config.layers_per_block + 1

    x = nn.silu(CLIP_NORMS[temporal](config.groups, dtype=jnp.float32, name='conv_norm_out')(x))
    epsilon = layers.Conv(config.latent_channels, dtype=jnp.float32, name='conv_out')(x)
    return epsilon, tapped
