"""Token masks: the foreground of a clip on every attention grid, and which slot reads which side's.

True is the foreground, everywhere; this file alone decides which mask a slot gets.
"""

import numpy as np

from uniedit_jax.method.overrides import TokenMasks


def token_masks(masks, grids, guided=False):
  """The masks of every slot on every block grid.

  Args:
    masks: dict of bool[F, H, W], True = foreground: 'source', and perhaps 'target', the edit's (the
      moved object); without it the source's holds for both. Empty = no masks.
    grids: the (H, W) of every block (`UNetConfig.grids`).
    guided: whether any setting uses mask-guided attention.

  Returns:
    dict {(H, W): `TokenMasks` of bool[F, N, 1]}, or None for no masks.
  """
  if not masks:
    return None
  sides = masks['source'], masks.get('target', masks['source'])
  source, target = (pyramid(mask, sorted(set(grids))) for mask in sides)
  return {
    grid: TokenMasks(
      spatial_q=target[grid],
      spatial_kv=source[grid],
      temporal=target[grid],
      guided_q=target[grid] if guided else None,
      guided_k=source[grid] if guided else None,
    )
    for grid in source
  }


def resize_nearest(mask, height, width):
  """[*b, H, W] resized as torch's (legacy) 'nearest': pixel i is source pixel floor(i in / out)."""
  rows = np.arange(height) * mask.shape[-2] // height
  columns = np.arange(width) * mask.shape[-1] // width
  return mask[..., rows[:, None], columns]


def pyramid(mask, grids):
  """Token masks {(h, w): bool[F, h * w, 1]} on several grids, each directly from bool[F, H, W]."""
  return {(h, w): resize_nearest(mask, h, w).reshape(len(mask), h * w, 1) for h, w in grids}
