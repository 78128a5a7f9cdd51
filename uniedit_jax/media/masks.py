"""Foreground masks: files to bool[F, H, W], and masks drawn over frames.

True, 1 or white is the foreground, everywhere. `token_masks` decides which slot reads a mask.
"""

import os
import zipfile

import numpy as np
from PIL import Image

from uniedit_jax.media.decoding import decode, probe_video
from uniedit_jax.media.frames import (
  SUFFIXES,
  crop_middle,
  pictures_in,
  read_pictures,
  take_pictures,
)
from uniedit_jax.media.opening import opened
from uniedit_jax.media.video import Selection
from uniedit_jax.method.token_masks import resize_nearest
from uniedit_jax.runtime.faults import FaultsError

ACCEPTED = 'a folder with one png per frame, an .npz or .npy file of [F, H, W] or a mask video'
MOST_BYTES = 2**32  # of an array
# Channels of a grey pixel differ by less, also after lossy compression.
GREY = 40
# More values than that are shades.
MOST_LABELS = 256


def read_masks(
  path, frames, height, width, start=0, stride=1, fit='stretch', labels=(), notes=None
):
  """Reads the masks of the frames that `video.read_clip` takes with the same numbers.

  What is foreground depends on what the file holds:
    shades: above half of the range, which is 127.5 for 8-bit pictures and 0.5 for floats;
    labels, that is palette pictures and whole numbers of the lower half of the range: above 0;
    transparency that varies: above half of it;
    a few colours on black: what is not black.

  Args:
    path: a folder of pictures in natural order, an .npz file (key 'masks', otherwise the first
      array) or .npy file of [F, H, W], [F, H, W, 1] or [F, 1, H, W], or a video.
    frames: number of masks F.
    height, width: size in pixels of the result; masks of any size are resized by `resize_nearest`.
    start: index of the first mask in the file.
    stride: distance of the masks in the file.
    fit: 'stretch' or 'crop', as for the clip.
    labels: the values that are foreground, instead of the rules above.
    notes: a list to which is added which labels were found.

  Returns:
    bool[F, height, width], True = foreground.

  Raises:
    FaultsError: the file is missing, unreadable or ambiguous, holds too few masks, or all pixels
      are foreground or all background.
  """
  selection = Selection(frames, height, width, start, stride, fit)
  selection.faults().stop('masks cannot be read')
  with opened(path, 'masks', ACCEPTED) as name:
    values, is_lossless = _load(name, selection, labels)
    masks = _foreground(values, is_lossless, labels, [] if notes is None else notes)
    if masks.all() or not masks.any():
      value, ground = (1, 'foreground') if masks.all() else (0, 'background')
      raise FaultsError(
        [
          f'masks is {value} in every pixel of every frame (all {ground}; the file holds values '
          f'from {values.min()} to {values.max()}); accepted: both values, polarity 1 or white = '
          'foreground, 0 or black = background'
        ]
      )
  if fit == 'crop' and crop_middle(masks, height, width, axis=1).shape == masks.shape:
    # A mask of the whole source frame would be cropped as the clip is.
    size = f'{masks.shape[2]} x {masks.shape[1]}'
    notes = [] if notes is None else notes
    notes.append(f'is {size}, of the aspect ratio of the clip: it is taken to be cropped already')
  return fit_masks(masks, height, width, fit)


def fit_masks(masks, height, width, fit):
  """Masks [F, H, W] in the size of the clip, cropped or stretched as the clip is."""
  if fit == 'crop':
    masks = crop_middle(masks, height, width, axis=1)
  return resize_nearest(masks, height, width)


def overlay(frames, mask, colour=(255, 64, 64)):
  """Tints the foreground bool[F, H, W] of uint8[F, H, W, 3], mixed half and half with a colour."""
  tinted = (frames.astype(np.uint16) + np.asarray(colour, np.uint16)) // 2
  return np.where(mask[..., None], tinted.astype(np.uint8), frames)


def _load(name, selection, labels):
  """(the chosen masks of a file, [F, H, W]; whether their values are exact)."""
  count, start, stride = selection.frames, selection.start, selection.stride
  if name.lower().endswith(('.npz', '.npy')) and not os.path.isdir(name):
    masks = _array(name, selection.needed)
    _refuse_few(selection, len(masks))
    return masks[start::stride][:count], True
  if os.path.isdir(name) or name.lower().endswith(SUFFIXES):
    is_folder = os.path.isdir(name)
    _refuse_few(selection, len(pictures_in(name)) if is_folder else 1)
    names = take_pictures(name, count, start, stride) if is_folder else [name]
    pictures = list(read_pictures(names, lambda picture: picture))
    is_lossless = all(name.lower().endswith('.png') for name in names)
  else:
    info = probe_video(name, selection.needed)
    _refuse_few(selection, info.frames)
    if info.hurt:
      raise ValueError(f'it has at least {info.hurt} damaged frames; ffmpeg: {info.error}')
    pictures = [Image.fromarray(p) for p in decode(name, info, count, start, stride)]
    is_lossless = False
  if not labels and all(picture.has_transparency_data for picture in pictures):
    alpha = np.stack([np.asarray(p.convert('RGBA').getchannel('A')) for p in pictures])
    if alpha.min() < alpha.max():
      return alpha, False
  return np.stack([_numbers(picture, labels) for picture in pictures]), is_lossless


def _refuse_few(selection, count):
  if few := selection.too_few(count, 'masks'):
    raise FaultsError([few.replace('frames, but', 'masks, but') + ': one mask for each frame'])


def _array(name, needed):
  """The masks [F, H, W] of an .npz or .npy file."""
  if name.lower().endswith('.npz'):
    if not zipfile.is_zipfile(name):
      raise ValueError('it is no archive of arrays')
    with zipfile.ZipFile(name) as archive:
      sizes = {info.filename.removesuffix('.npy'): info.file_size for info in archive.infolist()}
    if not sizes:
      raise ValueError('it holds no arrays')
    key = 'masks' if 'masks' in sizes else next(iter(sizes))
    if sizes[key] > MOST_BYTES:
      raise ValueError(f'its array has {sizes[key]} bytes; at most {MOST_BYTES} are read')
    with np.load(name, allow_pickle=False) as arrays:
      masks = arrays[key]
  else:
    masks = np.load(name, mmap_mode='r', allow_pickle=False)
  shape = getattr(masks, 'shape', ())
  channel = next((axis for axis in (-1, 1) if len(shape) == 4 and shape[axis] == 1), None)
  if channel is not None:
    masks = np.squeeze(masks, channel)
    shape = masks.shape
  found = f'its array is {getattr(masks, "dtype", "text")}{list(shape)}'
  if len(shape) != 3 or not masks.size or masks.dtype.kind not in 'buif':
    raise ValueError(f'{found}, not numbers of shape [F, H, W]')
  if shape[0] != needed and needed in shape[1:]:
    raise ValueError(f'{found}, whose frames seem to be on another axis than the first')
  return masks


def _numbers(picture, labels):
  """A picture as [H, W]: labels of a palette, shades of grey, or 255 where it is not black."""
  if picture.mode.startswith(('I', 'F')):
    return np.asarray(picture)
  indices, black = np.asarray(picture), None
  if picture.mode == 'P':
    palette = np.reshape(picture.getpalette('RGB'), (-1, 3))
    black = palette[0].any() and not palette[np.unique(indices)].any(-1).all()
    if labels or (np.ptp(palette, -1).any() and not black):
      return indices
  rgb = np.asarray(picture.convert('RGB'))
  if np.ptp(rgb, -1).max() < GREY:
    return np.asarray(picture.convert('L'))
  colours = picture.convert('RGB').getcolors(MOST_LABELS)
  names = [colour for _, colour in sorted(colours or (), reverse=True)]
  if (0, 0, 0) not in names or labels:
    found = f'the colours {str(names[:8])[1:-1]}' if names else f'over {MOST_LABELS} colours'
    wanted = 'grey or palette pictures with mask.labels' if labels else 'flat colours on black'
    raise ValueError(f'it has {found}, not {wanted}')
  return np.where(rgb.any(-1), np.uint8(255), np.uint8(0))


def _foreground(masks, is_lossless, labels, notes):
  """bool[F, H, W] of the values of masks, by the rules of `read_masks`."""
  if masks.dtype.kind == 'f':
    unknown = np.size(masks) - np.isfinite(masks).sum()
    if unknown:
      raise ValueError(f'{unknown} of its values are NaN or infinite')
    if (masks == np.round(masks)).all() and abs(masks).max() < 2**31:
      masks = masks.astype(np.int64)
  low, high = masks.min(), masks.max()
  found = f'its values go from {low} to {high}'
  if masks.dtype.kind == 'f':
    # Resizing overshoots.
    if low < -0.1 or 1.1 < high < 128 or high > 255.5 or labels:
      raise ValueError(f'{found}, fractions among them, not from 0 to 1 or 255')
    return masks > (0.5 if high <= 1.1 else 127.5)
  levels = np.unique(masks)
  listed = ', '.join(map(str, levels[:20].tolist())) + (', ...' if len(levels) > 20 else '')
  if labels:
    if not is_lossless:
      raise ValueError('mask.labels needs png pictures or arrays, whose values are exact')
    if not set(labels) <= set(levels.tolist()):
      raise FaultsError(
        [f'mask.labels is {tuple(labels)}; accepted: values of the masks, {listed}']
      )
    return np.isin(masks, labels)
  if low < 0 or high > 65535:
    raise ValueError(f'{found}, not from 0 to 255 or 65535')
  if masks.dtype == bool or high <= 1:
    return masks > 0
  half = (65535 if high > 255 else 255) / 2
  is_few = is_lossless and len(levels) <= MOST_LABELS
  if is_few and high < half:
    notes.append(f'has the labels {listed}; all but 0 are foreground (mask.labels chooses)')
    return masks > 0
  # Shades at the edge of an object cover no area.
  dark = [level for level in levels if 0 < level < half and _covers_area(masks == level)]
  if is_few and 2 < len(levels) <= 16 and dark:
    raise ValueError(f'its values are {listed}: labels are chosen by mask.labels')
  return masks > half


def _covers_area(mask):
  """Whether a pixel and its four neighbours are in bool[F, H, W]."""
  inner = mask[:, 1:-1, 1:-1] & mask[:, :-2, 1:-1] & mask[:, 2:, 1:-1]
  return (inner & mask[:, 1:-1, :-2] & mask[:, 1:-1, 2:]).any()
