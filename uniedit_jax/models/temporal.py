"""Temporal modules between the blocks of the UNet, and temporal convolutions after its resnets.

ModelScope, VideoCrafter2 and AnimateDiff have them; LaVie's SA-T is inside its attention blocks.
"""

from typing import Any

import flax.linen as nn

from uniedit_jax.models import attention, layers
from uniedit_jax.models.unet_blocks import CLIP_NORMS, of_block, taps_of


# Traced once for all modules of a shape and of equal taps.
@nn.jit
class TemporalBlock(nn.Module):
  """SA-T, SA-T again and feed-forward, each a residual after a layer norm, on tokens f[F, N, C].

  Attributes:
    config: `UNetConfig`.
    heads: heads of both SA-T.
    taps: names of intermediates to return, of the temporal ones of `attention.TAPS` and of
      `attention.SECOND_TAPS`.
  """

  config: Any
  heads: int
  dtype: Any
  taps: tuple[str, ...]

  @nn.compact
  def __call__(self, x, routes, masks):
    norm = lambda name: layers.LayerNorm(dtype=self.dtype, name=name)(x)
    tapped = {}
    for i, prefix in ((1, 'temporal_'), (2, 'temporal2_')):
      self_attention = attention.temporal_attention(
        self.config, self.heads, self.dtype, name=f'attn{i}'
      )
      kinds = [name.removeprefix(prefix) for name in self.taps if name.startswith(prefix)]
      taps = tuple(f'temporal_{kind}' for kind in kinds)
      across_frames, found = self_attention(norm(f'norm{i}'), routes, masks, taps)
      x += across_frames
      tapped |= {prefix + kind: found[f'temporal_{kind}'] for kind in kinds}
    x += layers.FeedForward(self.dtype, name='ff')(norm('norm3'))
    return x, tapped


class TemporalTransformer(nn.Module):
  """A temporal module: a `TemporalBlock` between two linear maps, as a residual.

  Attributes:
    config: `UNetConfig`.
    block: the attention block whose routes both SA-T read (`UNet`).
    heads, width: heads and channels of the tokens inside.
    taps: as in `UNet`; empty for a module that does not follow a block.
  """

  config: Any
  block: int
  heads: int
  width: int
  dtype: Any
  taps: tuple[str, ...]

  @nn.compact
  def __call__(self, x, routes, masks):
    """f[F, H, W, C], routes and masks of all blocks -> (f[F, H, W, C], tapped)."""
    frames, height, width, channels = x.shape
    routes, masks = of_block(self.block, routes, masks, (height, width))
    norm = CLIP_NORMS['module' in self.config.clip_norms]
    tokens = norm(self.config.groups, epsilon=1e-6, dtype=self.dtype, name='norm')(x)
    tokens = tokens.reshape(frames, height * width, channels)
    tokens = layers.Dense(self.width, dtype=self.dtype, name='proj_in')(tokens)
    tokens, tapped = TemporalBlock(
      self.config,
      self.heads,
      self.dtype,
      taps_of(self.block, self.taps),
      name='transformer_blocks_0',
    )(tokens, routes, masks)
    tokens = layers.Dense(channels, dtype=self.dtype, name='proj_out')(tokens)
    tapped = {f'{self.block}/{name}': value for name, value in tapped.items()}
    return x + tokens.reshape(x.shape), tapped


class TemporalConvs(nn.Module):
  """Four temporal convolutions, as one residual; no route reaches them.

  Attributes:
    config: `UNetConfig`.
  """

  config: Any
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """f[F, H, W, C] -> f[F, H, W, C]."""
    norm, hidden = CLIP_NORMS['module' in self.config.clip_norms], x
    # torch's dropouts shift the number of a convolution in all groups but the first.
    for i, j in ((1, 2), (2, 3), (3, 3), (4, 3)):
      hidden = norm(self.config.groups, dtype=self.dtype, name=f'conv{i}_0')(hidden)
      convolution = layers.FrameConv(x.shape[-1], self.dtype, name=f'conv{i}_{j}')
      hidden = convolution(nn.silu(hidden))
    return x + hidden
