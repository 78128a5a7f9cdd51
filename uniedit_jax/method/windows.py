"""Clips of any length: the UNet sees overlapping windows, whose noise is blended at every step.

All windows share the clip's latents, its trajectory and its masks, so they are edited as one clip,
and nothing is glued together afterwards. As a step is linear in the predicted noise, blending the
noise blends the latents.
"""

import jax
import jax.numpy as jnp
import numpy as np


def window_starts(frames, length, overlap):
  """The first frames i32[W] of the fewest windows that cover a clip, evenly spread.

  Args:
    frames: number of frames F of the clip, at least `length`.
    length: number of frames of a window.
    overlap: least number of frames that neighbours share, less than `length`.

  Raises:
    ValueError: a window longer than the clip, or an overlap that leaves no new frames.
  """
  if not 0 < length <= frames:
    raise ValueError(
      f'window.frames is {length} for a clip of {frames} frames; accepted: 1 to {frames}'
    )
  if not 0 <= overlap < length:
    raise ValueError(
      f'window.overlap is {overlap} for windows of {length} frames; accepted: 0 to {length - 1}'
    )
  count = -(-(frames - length) // (length - overlap)) + 1
  return np.round(np.linspace(0, frames - length, count)).astype(np.int32)


def window_weights(starts, length, frames):
  """How much each window counts in its frames, f32[W, length]: most in its middle.

  The weights of a frame add up to 1.
  """
  hat = np.minimum(np.arange(length) + 1, np.arange(length)[::-1] + 1).astype(np.float64)
  total = np.zeros(frames)
  for start in starts:
    total[start : start + length] += hat
  return np.stack([hat / total[start : start + length] for start in starts]).astype(np.float32)


def windowed(apply, length, overlap):
  """`unet.apply` for clips of any length, of a `unet.apply` for `length` frames; it has no taps.

  Windows are computed one after the other, so memory does not grow with the clip.

  Args:
    apply: (variables, latents, timestep, text, routes, masks) -> (epsilon, tapped).
    length, overlap: as in `window_starts`.
  """

  def blended(variables, latents, timestep, text, routes=None, masks=None):
    starts = window_starts(len(latents), length, overlap)
    weights = window_weights(starts, length, len(latents))

    def add(total, window):
      start, weight = window
      cut = lambda x: jax.lax.dynamic_slice_in_dim(x, start, length)
      epsilon = apply(variables, cut(latents), timestep, text, routes, jax.tree.map(cut, masks))[0]
      summed = cut(total) + epsilon * weight[:, None, None, None]
      return jax.lax.dynamic_update_slice_in_dim(total, summed, start, 0), None

    total, _ = jax.lax.scan(add, jnp.zeros(latents.shape, jnp.float32), (starts, weights))
    return total, {}

  return blended
