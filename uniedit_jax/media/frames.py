"""Single frames and stills: reading, natural order, cutting out the middle, resizing."""

import collections
import math
import numbers
import os
import re

import numpy as np
from PIL import Image, ImageOps

from uniedit_jax.media.opening import opened

SUFFIXES = ('.png', '.jpg', '.jpeg')
STILL = 'a png, jpg, webp or another still that PIL reads'


def pictures_in(folder):
  """Paths of the pictures in a local folder, in natural order: frame_9 before frame_10.

  Raises ValueError if there are none, and says what there is.
  """
  held = sorted((n for n in os.listdir(folder) if not n.startswith('.')), key=_natural)
  names = [os.path.join(folder, name) for name in held if name.lower().endswith(SUFFIXES)]
  if not names:
    raise ValueError(f'it holds no png or jpg pictures, but {others_in(folder) or "nothing"}')
  return names


def others_in(folder):
  """What a local folder holds besides pictures, in words."""
  others = collections.Counter(
    f'the folder {entry.name}' if entry.is_dir() else os.path.splitext(entry.name)[1] or entry.name
    for entry in os.scandir(folder)
    if not entry.name.startswith('.') and not entry.name.lower().endswith(SUFFIXES)
  )
  return ', '.join(f'{many} {kind}' for kind, many in sorted(others.items())[:8])


def take_pictures(folder, frames, start=0, stride=1):
  """The paths of every `stride`-th picture of a folder from index `start` on.

  Raises ValueError if pictures are among them that are named unlike most in the folder.
  """
  names = pictures_in(folder)
  pattern = {name: re.sub(r'\d+', '#', os.path.basename(name)) for name in names}
  ((usual, many),) = collections.Counter(pattern.values()).most_common(1)
  taken = names[start::stride][:frames]
  foreign = [os.path.basename(name) for name in taken if pattern[name] != usual]
  if foreign and many > len(names) / 2:
    raise ValueError(f'{", ".join(foreign)} would be taken for frames, which are named {usual}')
  return taken


def to_rgb(picture):
  """A picture of any mode, as PIL image or array, as uint8[H, W, 3], on white where transparent.

  Raises ValueError if its range is unknown (floats, 32-bit numbers above 65535).
  """
  if isinstance(picture, np.ndarray):
    if picture.dtype == np.uint8 and picture.shape[2:] == (3,):
      return picture
    picture = Image.fromarray(picture)
  # 16 bits; convert('RGB') would clip them at 255.
  if picture.mode.startswith('I'):
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
      raise ValueError(f'its values go from {values.min()} to {values.max()}, not from 0 to 65535')
    picture = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
  if picture.mode == 'F':
    raise ValueError('its values are floats, whose range is not known')
  if picture.has_transparency_data:
    picture = picture.convert('RGBA')
    picture = Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture)
  return np.asarray(picture.convert('RGB'))


def open_picture(name):
  """The first picture of a local file as a PIL image, decoded and turned upright."""
  if os.path.exists(name) and not os.path.isfile(name):
    raise ValueError('it is a folder or no regular file')
  try:
    with Image.open(name) as picture:
      return ImageOps.exif_transpose(picture)
  except Image.DecompressionBombError as error:
    most = 2 * Image.MAX_IMAGE_PIXELS // 10**6
    raise ValueError(f'it has more than {most} million pixels; scale it down') from error


def read_pictures(names, convert=to_rgb):
  """Yields pictures of one size, PIL images converted by a function.

  Raises ValueError if one cannot be read or has another size than the first; it is named.
  """
  size = None
  for name in names:
    try:
      picture = open_picture(name)
      size = size or picture.size
      if picture.size != size:
        raise ValueError('its size is {} x {}, that of others {} x {}'.format(*picture.size, *size))
      yield convert(picture)
    except Exception as error:
      raise ValueError(f'{os.path.basename(name)}: {error}') from error


def is_still(name):
  """Whether a local file is a picture that does not move."""
  try:
    with Image.open(name) as picture:
      return getattr(picture, 'n_frames', 1) == 1
  except Exception:
    return False


def is_number(value):
  """Whether a value is a finite number."""
  return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


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
    FaultsError: there is no picture at `path`, or its range is unknown.
  """
  with opened(path, 'image', STILL) as name:
    return to_rgb(open_picture(name))
