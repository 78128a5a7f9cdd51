"""Single frames and stills: reading, natural order, cutting out the middle, resizing."""

import os
import re

import numpy as np
from PIL import Image, ImageOps

from uniedit_jax.runtime.files import exists, local_copy

SUFFIXES = ('.png', '.jpg', '.jpeg')
STILL = 'a local png, jpg, webp or another still that PIL reads'


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

  uint8[*b, H, W, C] to uint8[*b, height, width, C].
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


def read_image(path):
  """Reads the first picture of a file, local or remote: uint8[H, W, 3].

  It is turned upright, on white where it is transparent.

  Raises:
    FileNotFoundError: `path` does not exist.
    ValueError: it is no picture, or its range is unknown (floats, 32-bit numbers above 65535).
  """
  path = os.fspath(path or '')
  if not exists(path):
    raise FileNotFoundError(f'image is {path!r}, which does not exist here; accepted: {STILL}')
  try:
    with local_copy(path) as name, Image.open(name) as image:
      return _to_rgb(ImageOps.exif_transpose(image))
  # PIL raises many types for damaged files: SyntaxError, struct.error, IndexError, ...
  except Exception as error:
    fault = f'image is {path!r}, which cannot be read ({error}); accepted: {STILL}'
    raise ValueError(fault) from error


def _to_rgb(image):
  """A picture of any mode as uint8[H, W, 3]."""
  # 16 bits; convert('RGB') would clip them at 255.
  if image.mode.startswith('I'):
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
      raise ValueError(f'its values go from {values.min()} to {values.max()}, not from 0 to 65535')
    image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
  if image.mode == 'F':
    raise ValueError('its values are floats, whose range is not known')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
  return np.asarray(image.convert('RGB'))
