"""Single frames: the order of numbered files, cutting out the middle, resizing."""

import os
import re

import numpy as np

SUFFIXES = ('.png', '.jpg', '.jpeg')


def pictures_in(folder):
  """Paths of the pictures in a local folder, in natural order: frame_9 before frame_10."""
  names = [n for n in os.listdir(folder) if n.lower().endswith(SUFFIXES) and not n.startswith('.')]
  return [os.path.join(folder, name) for name in sorted(names, key=_natural)]


def _natural(name):
  # re.split leaves the numbers at the odd places.
  return [int(part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', name))]


def crop_middle(frames, height, width, axis=0):
  """The middle of frames with the aspect ratio of height x width; H and W are the axes from `axis`
  on.
  """
  old_height, old_width = frames.shape[axis : axis + 2]
  new_height = min(old_height, max(1, round(old_width * height / width)))
  new_width = min(old_width, max(1, round(old_height * width / height)))
  top, left = (old_height - new_height) // 2, (old_width - new_width) // 2
  return frames[
    (slice(None),) * axis + (slice(top, top + new_height), slice(left, left + new_width))
  ]


def resize_bilinear(frames, height, width):
  """Bilinear resize without antialiasing, half-pixel centres (cv2's INTER_LINEAR up to 1 level of
  rounding).

  Args:
    frames: uint8[*b, H, W, C].
    height, width: the new size.

  Returns:
    uint8[*b, height, width, C].
  """
  if frames.shape[-3:-1] == (height, width):
    return frames
  (top, bottom, down), (left, right, across) = (
    _neighbours(size, new) for size, new in zip(frames.shape[-3:-1], (height, width), strict=True)
  )
  down, across = down[:, None, None], across[:, None]
  rows = frames[..., top, :, :] * (1 - down) + frames[..., bottom, :, :] * down
  return np.floor(rows[..., left, :] * (1 - across) + rows[..., right, :] * across + 0.5).astype(
    np.uint8
  )


def _neighbours(size, new):
  """The two source indices of each new pixel, i64[new] each, and the weight of the second,
  f32[new].
  """
  centre = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
  first = centre.astype(int)
  return first, np.minimum(first + 1, size - 1), (centre - first).astype(np.float32)
