"""Foreground masks: files to bool[F, H, W], and masks drawn over frames.

True, 1 or white is the foreground, everywhere. `token_masks` decides which slot reads a mask.
"""

import os

import imageio_ffmpeg
import numpy as np
from PIL import Image

from uniedit_jax.media.frames import crop_middle, pictures_in
from uniedit_jax.media.video import EVERY_FRAME
from uniedit_jax.method.token_masks import resize_nearest
from uniedit_jax.runtime.files import local_copy

ACCEPTED = 'a folder with one png per frame, an .npz file or a mask video'


def read_masks(path, frames, height, width, start=0, stride=1, fit='stretch'):
  """Reads the masks of the frames that `video.read_clip` takes with the same numbers.

  The threshold is half of the range: 127.5 for 8-bit pictures, 0.5 for floats and arrays of 0, 1.

  Args:
    path: a folder of pictures in natural order, an .npz file (key 'masks', otherwise the first
      array; [F, H, W] or [F, H, W, 1]), or a video.
    frames: number of masks F.
    height, width: size in pixels of the result; masks of any size are resized by `resize_nearest`.
    start: index of the first mask in the file.
    stride: distance of the masks in the file.
    fit: 'stretch' or 'crop', as for the clip.

  Returns:
    bool[F, height, width], True = foreground.

  Raises:
    FileNotFoundError: `path` does not exist.
    ValueError: the file is unreadable, holds too few masks, or all of them are 0 or all are 1.
  """
  with local_copy(path) as name:
    if not os.path.exists(name):
      raise FileNotFoundError(f'masks is {path!s}, which does not exist here; accepted: {ACCEPTED}')
    try:
      masks = _binarise(_load(name))
    except (OSError, ValueError, RuntimeError) as error:
      fault = f'masks is {path!s}, which cannot be read ({error}); accepted: {ACCEPTED}'
      raise ValueError(fault) from error
  if min(frames, stride, height, width) < 1 or start < 0:
    sizes = f'frames={frames}, height={height}, width={width}, start={start}, stride={stride}'
    raise ValueError(
      f'masks cannot be checked against {sizes}; accepted: positive numbers, start from 0'
    )
  needed = start + (frames - 1) * stride + 1
  if len(masks) < needed:
    wish = f'start={start}, frames={frames} with stride={stride} needs {needed}'
    raise ValueError(f'masks has {len(masks)} masks, but {wish}: one for each frame of the source')
  masks = masks[start::stride][:frames]
  if fit == 'crop':
    masks = crop_middle(masks, height, width, axis=1)
  masks = resize_nearest(masks, height, width)
  if masks.all() or not masks.any():
    value, ground = (1, 'foreground') if masks.all() else (0, 'background')
    raise ValueError(
      f'masks is {value} in every pixel of every frame (all {ground}); accepted: both values, '
      'polarity 1 or white = foreground, 0 or black = background'
    )
  return masks


def overlay(frames, mask, colour=(255, 64, 64)):
  """Tints the foreground bool[F, H, W] of uint8[F, H, W, 3], mixed half and half with a colour."""
  tinted = (frames.astype(np.uint16) + np.asarray(colour, np.uint16)) // 2
  return np.where(mask[..., None], tinted.astype(np.uint8), frames)


def _load(path):
  """All masks of a folder, npz or video: [F, H, W] in the file's dtype, in the first one's size."""
  if os.path.isdir(path):
    pictures = [_read_picture(name) for name in pictures_in(path)]
    if not pictures:
      raise ValueError('it holds no pictures')
    return np.stack([resize_nearest(p, *pictures[0].shape) for p in pictures])
  if path.lower().endswith('.npz'):
    with np.load(path, allow_pickle=False) as arrays:
      if not arrays.files:
        raise ValueError('it holds no arrays')
      masks = arrays['masks' if 'masks' in arrays.files else arrays.files[0]]
    if masks.ndim == 4 and masks.shape[-1] == 1:
      masks = masks[..., 0]
    if masks.ndim != 3 or not masks.size or masks.dtype.kind not in 'buif':
      fault = f'its array is {masks.dtype}{list(masks.shape)}, not numbers of shape [F, H, W]'
      raise ValueError(fault)
    return masks
  pictures = imageio_ffmpeg.read_frames(
    path, pix_fmt='gray', bits_per_pixel=8, output_params=list(EVERY_FRAME)
  )
  width, height = next(pictures)['size']
  return np.stack([np.frombuffer(p, np.uint8).reshape(height, width) for p in pictures])


def _read_picture(path):
  """A picture as [H, W]: 16-bit pictures keep their values, all others become 8-bit grey."""
  with Image.open(path) as image:
    return np.asarray(image if image.mode.startswith('I') else image.convert('L'))


def _binarise(masks):
  """bool[F, H, W]: above half of the range, which is 0 to 1 if no value is larger."""
  if masks.dtype == bool:
    return masks
  if masks.max() <= 1:
    return masks > 0.5
  return masks > (65535 if masks.max() > 255 else 255) / 2
