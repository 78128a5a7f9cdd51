"""Single frames: files in natural order, cutting out the middle, resizing."""

import os
import re

import numpy as np

SUFFIXES = ('.png', '.jpg', '.jpeg')


def pictures_in(folder):
  """Paths of the pictures in a local folder, in natural order: frame_9 before frame_10."""
  names = [n for n in os.listdir(folder) if n.lower().endswith(SUFFIXES) and not n.startswith('.')]
  return [os.path.join(folder, name) for name in sorted(names, key=_natural)]


def whole_number_faults(least=1, **fields):
  """Lists the fields, given by name, whose values are not whole numbers >= `least`."""
  return [
    f'{field} is {value!r}; accepted: a whole number >= {least}'
    for field, value in fields.items()
    if not isinstance(value, int | np.integer) or value < least
  ]


def _natural(name):
  # re.split leaves the numbers at the odd places.
  return [int(part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', name))]


def crop_middle(frames, height, width, axis=0):
  """The middle of frames in the aspect ratio of height x width; `axis` is the axis H, before W."""
  old_height, old_width = frames.shape[axis : axis + 2]
  new_height = min(old_height, max(1, round(old_width * height / width)))
  new_width = min(old_width, max(1, round(old_height * width / height)))
  top, left = (old_height - new_height) // 2, (old_width - new_width) // 2
  middle = slice(top, top + new_height), slice(left, left + new_width)
  return frames[(slice(None),) * axis + middle]


def resize_bilinear(frames, height, width):
  """Bilinear resize without antialiasing, half-pixel centres; within 1 level of cv2.INTER_LINEAR.

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
  mixed = rows[..., left, :] * (1 - across) + rows[..., right, :] * across
  return np.floor(mixed + 0.5).astype(np.uint8)


def _neighbours(size, new):
  """Both source indices of each new pixel, i64[new] each, and the second's weight, f32[new]."""
  centre = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
  first = centre.astype(int)
  return first, np.minimum(first + 1, size - 1), (centre - first).astype(np.float32)
