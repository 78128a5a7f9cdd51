"""Text-to-video UNets: Stable Diffusion's UNet with temporal attention where `UNetConfig` says.

The module is used as a pure function of one video:
`unet.apply({'params': p}, latents, timestep, text, routes, masks, taps)`. It knows nothing of
editing; `routes` holds the rows that its attention blocks, 0..15 in execution order, read (see
`method.overrides`). A temporal module between the blocks reads the temporal routes of the block it
follows, else of the block executed last before it; the one at the input reads those of block 0. So
a range of blocks means the same on every backbone.

Parameter paths are the names of LaVie's or diffusers' PyTorch checkpoint with `.N` written `_N`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from uniedit_jax.models import attention, comparison_attention, layers
from uniedit_jax.models.temporal import TemporalConvs, TemporalTransformer
from uniedit_jax.models.unet_blocks import CLIP_NORMS, Downsample, Resnet, Transformer, Upsample

TEMPORAL = 'input', 'module', 'middle', 'plain', 'conv'
CLIP_NORM_KINDS = 'resnet', 'module'
INPUT_HEADS = 8  # of the temporal module at the input, whatever the channels


@dataclasses.dataclass(frozen=True)
class UNetConfig:
  """Sizes of the UNet; the defaults are LaVie's.

  Attributes:
    channels: width of each resolution level; all but the last level have attention.
    heads: attention heads of every block; the head dim is channels / heads, at least `rotary_dim`.
    head_dim: head dim of every block, in place of `heads`; 0 = as `heads` says.
    groups: groups of every group normalisation.
    layers_per_block: resnets of a down level; up levels have one more.
    latent_channels: channels of the latents.
    text_width: width E of the text embedding.
    rotary_dim: leading head dims that carry the rotary position of the frame.
    relative_buckets, relative_max_distance: buckets of the relative position bias over frames.
      Both kinds of positions are absent where they are 0.
    frame_positions: rows of a table that is added to the tokens of SA-T by frame index, and so the
      most frames of a clip (AnimateDiff has a fixed table); 0 = no table, as in LaVie, whose frames
      see distances only.
    temporal: where SA-T lives: ('block',), inside every block; or in modules, two SA-T each, at
      some of 'input' (before the first skip connection), 'module' (after every block of a level),
      'middle' (after the middle block) and 'plain' (after the resnets of levels without blocks).
      'conv' adds temporal convolutions after every resnet.
    clip_norms: the group norms whose statistics span all frames, the others' are per frame: of
      'resnet' (in resnets, and the last one) and 'module' (in temporal modules and convolutions).
    fps: frames a second that a second embedding, added to that of the timestep, is fed; 0 = none.
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
  head_dim: int = 0
  temporal: tuple[str, ...] = ('block',)
  clip_norms: tuple[str, ...] = ('resnet',)
  fps: int = 0

  def __post_init__(self):
    for name in ('channels', 'temporal', 'clip_norms'):
      object.__setattr__(self, name, tuple(getattr(self, name)))
    heads = f'head_dim={self.head_dim}' if self.head_dim else f'heads={self.heads}'
    for width in self.channels:
      split = width % (self.head_dim or self.heads) == 0
      if width % self.groups or not split or width // self.heads_of(width) < self.rotary_dim:
        raise ValueError(
          f'channels has {width}; accepted: multiples of groups={self.groups} and of '
          f'{heads} with at least rotary_dim={self.rotary_dim} channels a head'
        )
    inside = self.temporal == ('block',)
    if not inside and not {'module'} <= {*self.temporal} <= {*TEMPORAL}:
      raise ValueError(
        f"temporal is {self.temporal}; accepted: ('block',), or 'module' with any of {TEMPORAL}"
      )
    if 'input' in self.temporal and not self.head_dim:
      raise ValueError("temporal has 'input', whose width is a multiple of head_dim, which is 0")
    if not {*self.clip_norms} <= {*CLIP_NORM_KINDS}:
      raise ValueError(f'clip_norms is {self.clip_norms}; accepted: any of {CLIP_NORM_KINDS}')
    if 0 < self.relative_buckets < 4:
      raise ValueError(f'relative_buckets is {self.relative_buckets}; accepted: 0, or at least 4')

  def heads_of(self, width):
    """Attention heads of a block of `width` channels."""
    return width // self.head_dim if self.head_dim else self.heads

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

  def taps(self, block):
    """The names of the intermediates of a block, and of the temporal module that follows it."""
    if self.temporal == ('block',):
      return attention.TAPS
    middle = block == (len(self.channels) - 1) * self.layers_per_block
    if middle and 'middle' not in self.temporal:
      return tuple(name for name in attention.TAPS if not name.startswith('temporal'))
    return attention.TAPS + attention.SECOND_TAPS


def recomputed(module, remat):
  """A module class, which recomputes its activations in the backward pass if `remat` says so."""
  return nn.remat(module) if remat else module


class Level(nn.Module):
  """Base of down, middle and up levels.

  Attributes:
    features: width of the level.
    kind: 'module' for a level with attention, 'plain' for one without, 'middle'.
    first_block: index of its first attention block, or of the next one if the level is plain.
    remat, taps, temporal: as in `UNet`.
  """

  config: UNetConfig
  features: int
  kind: str
  first_block: int
  dtype: Any
  remat: bool
  taps: tuple[str, ...]
  temporal: bool

  def resnet(self, j, x, time, source=None):
    """Resnet `j` and its temporal convolutions; `source` of its residual."""
    config, norms = self.config, self.temporal and 'resnet' in self.config.clip_norms
    make = recomputed(Resnet, self.remat)
    x = make(self.features, config.groups, self.dtype, norms, name=f'resnets_{j}')(x, time, source)
    if self.temporal and 'conv' in config.temporal:
      make = recomputed(TemporalConvs, self.remat)
      x = make(config, self.dtype, name=f'temp_convs_{j}')(x)
    return x

  def block(self, j, x, time, text, routes, masks):
    """Resnet `j`, the transformer and the temporal module, if any: (f[F, H, W, C], tapped)."""
    if self.kind == 'plain':
      x = self.resnet(j, x, time)
      return self.temporal_module(j, x, self.first_block - 1, routes, masks, taps=())
    block = self.first_block + j
    x = self.resnet(j, x, time, comparison_attention.residual_source(routes, block))
    make = recomputed(Transformer, self.remat)
    x, tapped = make(
      self.config, block, self.dtype, self.taps, self.temporal, name=f'attentions_{j}'
    )(x, text, routes, masks)
    x, more = self.temporal_module(j, x, block, routes, masks, self.taps)
    return x, tapped | more

  def temporal_module(self, j, x, block, routes, masks, taps):
    """The temporal module of layer `j`, which reads the routes of `block`, if the level has one."""
    if not self.temporal or self.kind not in self.config.temporal:
      return x, {}
    make = recomputed(TemporalTransformer, self.remat)
    heads, name = self.config.heads_of(self.features), f'temp_attentions_{j}'
    return make(self.config, block, heads, self.features, self.dtype, taps, name=name)(
      x, routes, masks
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
      taps: names of intermediates to return, '<block>/<one of config.taps(block)>'.
      temporal: False is the image model inside the video model: SA-T, temporal modules and temporal
        convolutions are bypassed and no norm spans frames, so frames see each other only through
        `routes`.

    Returns:
      (epsilon f32[F, H, W, C], tapped {name: array}).

    Raises:
      ValueError: a tap that does not exist.
    """
    config, dtype = self.config, self.dtype
    for name in taps:
      block, _, kind = name.partition('/')
      known = block.isdigit() and int(block) < config.blocks
      kinds = config.taps(int(block) if known else 0)
      if not (known and kind in kinds):
        raise ValueError(
          f"taps has {name!r}; accepted: '<0..{config.blocks - 1}>/<{'|'.join(kinds)}>'"
        )

    time = layers.TimestepMLP(config.channels[0], dtype=dtype, name='time_embedding')(timestep)
    if config.fps:
      time += layers.TimestepMLP(config.channels[0], dtype=dtype, name='fps_embedding')(config.fps)
    text = text.astype(dtype)
    fields = dict(config=config, dtype=dtype, remat=self.remat, taps=taps, temporal=temporal)

    x = layers.Conv(config.channels[0], dtype=dtype, name='conv_in')(latents.astype(dtype))
    if temporal and 'input' in config.temporal:
      make = recomputed(TemporalTransformer, self.remat)
      width = INPUT_HEADS * config.head_dim
      at_input = make(config, 0, INPUT_HEADS, width, dtype, taps=(), name='transformer_in')
      x, _ = at_input(x, routes, masks)
    skips, tapped, block, last = [x], {}, 0, len(config.channels) - 1
    for i, width in enumerate(config.channels):
      kind, name = 'plain' if i == last else 'module', f'down_blocks_{i}'
      down = DownLevel(
        features=width, kind=kind, first_block=block, last=i == last, name=name, **fields
      )
      x, new_skips, new = down(x, time, text, routes, masks)
      skips, tapped = skips + new_skips, tapped | new
      block += 0 if i == last else config.layers_per_block
    middle = MidLevel(features=width, kind='middle', first_block=block, name='mid_block', **fields)
    x, new = middle(x, time, text, routes, masks)
    tapped, block = tapped | new, block + 1
    for i, width in enumerate(reversed(config.channels)):
      kind, name = 'plain' if i == 0 else 'module', f'up_blocks_{i}'
      up = UpLevel(features=width, kind=kind, first_block=block, name=name, **fields)
      x, skips, new = up(x, skips, time, text, routes, masks)
      tapped |= new
      block += 0 if i == 0 else config.layers_per_block + 1

    norm = CLIP_NORMS[temporal and 'resnet' in config.clip_norms]
    x = nn.silu(norm(config.groups, dtype=jnp.float32, name='conv_norm_out')(x))
    epsilon = layers.Conv(config.latent_channels, dtype=jnp.float32, name='conv_out')(x)
    return epsilon, tapped
