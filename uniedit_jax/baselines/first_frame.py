"""Where every frame of a clip sees the first one, by optical flow, on the grid of the latents.

`metrics.flow` stands in for the learned flow (GMFlow) of Rerender-A-Video.
"""

import jax
import numpy as np

from uniedit_jax.metrics import flow

# of what is hidden: pixels around it, and the standard deviation of the blur of these
NEAR, BLUR = 9, 18.0


def latent_warp(clip, factor):
  """How the first frame is seen in every other, on the grid of the latents.

  Args:
    clip: u8[F, h, w, 3].
    factor: pixels of a latent's side; h = factor H, w = factor W.

  Returns:
    (i32[F, H W], the token of the first frame that is seen at each token; f32[F, H, W, 1], how far
    it is really seen: 1 where no pixel near it is hidden).
  """
  from scipy import ndimage  # late: it takes a quarter of a second

  frames, height, width = len(clip), clip.shape[1] // factor, clip.shape[2] // factor
  there, hidden = np.zeros((*clip.shape[:3], 2), np.float32), np.zeros(clip.shape[:3], np.float32)
  if frames > 1:  # the first is in its own place
    pictures = clip.astype(np.float32) / 255
    first = np.repeat(pictures[:1], frames - 1, axis=0)
    there[1:], back = (np.asarray(x) for x in flow.flow_between(pictures[1:], first))
    hidden[1:] = ~np.asarray(jax.vmap(flow.visible)(there[1:], back))
  near = [
    ndimage.gaussian_filter(ndimage.maximum_filter(x, NEAR), BLUR, radius=NEAR // 2) for x in hidden
  ]
  blocked = (
    np.clip(np.stack(near) + hidden, 0, 1)
    .reshape(frames, height, factor, width, factor)
    .max(axis=(2, 4))
  )
  moved = there.reshape(frames, height, factor, width, factor, 2).mean(axis=(2, 4)) / factor
  place = np.indices((height, width)) + np.moveaxis(moved, -1, 1)
  down, right = (
    np.clip(np.round(place[:, i]), 0, n - 1).astype(np.int32) for i, n in enumerate((height, width))
  )
  return (down * width + right).reshape(frames, -1), (1 - blocked)[..., None].astype(np.float32)
