"""The LaVie text-to-video UNet: Stable Diffusion's UNet with temporal attention in each block.

The module is used as a pure function of one video:
`unet.apply({'params': p}, latents, timestep, text, routes, masks, taps)`. It knows nothing of
editing; `routes` holds the rows that its attention blocks, 0..15 in execution order, read (see
`method.overrides`). Parameter paths are the names of the PyTorch checkpoint with `.N` written `_N`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from uniedit_jax.models import attention, comparison_attention, layers
from uniedit_jax.models.unet_blocks import CLIP_NORMS, Downsample, Resnet, Transformer, Upsample


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
