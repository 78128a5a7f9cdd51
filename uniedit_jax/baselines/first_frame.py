"""Optical flow from every frame of a clip to the first one, on the grid of the latents.

`metrics.flow` stands in for the learned flow (GMFlow) of Rerender-A-Video.
"""

import jax
import numpy as np

from uniedit_jax.metrics import flow

# Hidden pixels grow by a window of 9 pixels and are blurred with this standard deviation.
NEAR, BLUR = 9, 18.0


def latent_warp(clip, factor):
  """Maps the first frame of u8[F, h, w, 3] to the others, on the grid h = factor H, w = factor W.

  Returns:
    (i32[F, H W], the token of the first frame that is seen at each token; f32[F, H, W, 1], its
    visibility: 1 where no pixel near it is hidden).
  """
  # Late, as this import takes a quarter of a second.
  from scipy import ndimage

  frames, height, width = len(clip), clip.shape[1] // factor, clip.shape[2] // factor
  there, hidden = np.zeros((*clip.shape[:3], 2), np.float32), np.zeros(clip.shape[:3], np.float32)
  # The first frame stays in its place.
  if frames > 1:
    pictures = clip.astype(np.float32) / 255
    first = np.repeat(pictures[:1], frames - 1, axis=0)
    there[1:], back = (np.asarray(x) for x in flow.flow_between(pictures[1:], first))
    hidden[1:] = ~np.asarray(jax.vmap(flow.visible)(there[1:], back))
  near = [
    ndimage.gaussian_filter(ndimage.maximum_filter(x, NEAR), BLUR, radius=NEAR // 2) for x in hidden
  ]
  # From pixels to latents: a latent is hidden as much as its most hidden pixel.
  cells = (frames, height, factor, width, factor)
  blocked = np.clip(np.stack(near) + hidden, 0, 1).reshape(cells).max(axis=(2, 4))
  moved = there.reshape(*cells, 2).mean(axis=(2, 4)) / factor
  place = np.indices((height, width)) + np.moveaxis(moved, -1, 1)
  down, right = (
    np.clip(np.round(place[:, i]), 0, n - 1).astype(np.int32) for i, n in enumerate((height, width))
  )
  return (down * width + right).reshape(frames, -1), (1 - blocked)[..., None].astype(np.float32)
