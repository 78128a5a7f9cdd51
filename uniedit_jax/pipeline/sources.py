"""The source clip and the masks of a request: files, stills, or frames in memory."""

import dataclasses
import importlib.resources
import os

import numpy as np
from etils import epath

from uniedit_jax.media import camera, masks, video
from uniedit_jax.media.frames import crop_middle, resize_bilinear, to_rgb
from uniedit_jax.pipeline.request import is_array, is_auto, is_given
from uniedit_jax.runtime.faults import Faults

# Clips that come with the package go by name (write ./name for a file called so).
SHIPPED_CLIPS = {'sprites': 'sprites/clip.mp4'}
SIDES = 'source', 'target'


def locate_clip(path):
  """The path of a video, or that of a name in `SHIPPED_CLIPS`."""
  if str(path) in SHIPPED_CLIPS:
    return epath.Path(importlib.resources.files('uniedit_jax')) / SHIPPED_CLIPS[str(path)]
  return path


def check_source(request, clip, warnings):
  """Lists the faults of the source of an `EditRequest`, for `ClipOptions` with all sizes.

  What is odd but allowed is added to the list `warnings`.
  """
  selection = video.Selection(**dataclasses.asdict(clip))
  if request.image:
    faults = Faults(camera.check_image(request.image, request.move, *clip.size))
    # The other fields say nothing about a still.
    faults += video.Selection(1, 1, 1, fps=clip.fps).faults()
    return faults
  if not is_array(request.video):
    faults, notes = video.inspect_clip(locate_clip(request.video), selection)
    warnings += notes
    return faults
  faults = selection.faults()
  try:
    frames = _as_frames(request.video)
  except Exception as error:
    faults.append(
      f'video is no clip ({error}); accepted: a path, u8[F, H, W, 3] or a list of pictures'
    )
    return faults
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
    return [f'video is {frames.dtype}{list(frames.shape)}; accepted: uint8[F, H, W, 3]']
  if not faults and (few := selection.too_few(len(frames), 'video')):
    faults.append(few)
  return faults


def read_source(edit):
  """The source clip of a checked edit: `video.Clip`, or None where it is generated."""
  request, clip = edit.request, edit.clip
  if request.generated:
    return None
  if request.image:
    frames = camera.film_image(request.image, request.move, *clip.size)
    return video.Clip(frames, clip.fps or edit.model_config.fps)
  if not is_array(request.video):
    return video.read_clip(locate_clip(request.video), **dataclasses.asdict(clip))
  frames = _as_frames(request.video)[clip.start :: clip.stride][: clip.frames]
  if clip.fit == 'crop':
    frames = crop_middle(frames, clip.height, clip.width, axis=1)
  fps = (clip.fps or edit.model_config.fps) / clip.stride
  return video.Clip(resize_bilinear(frames, clip.height, clip.width), fps)


def read_masks(request, clip, faults, warnings):
  """The masks that are given, dict {side: bool[F, H, W], or None where there are faults}.

  What is odd but allowed is added to the list `warnings`.
  """
  given, found = {side: getattr(request.mask, side) for side in SIDES}, {}
  for side, mask in given.items():
    if is_given(mask) and not is_auto(mask):
      notes, labels = [], request.mask.labels
      found[side] = faults.attempt(_read_mask, mask, clip, labels, notes, field=f'mask.{side}')
      warnings += [f'mask.{side} {note}' for note in notes]
  return found


def _read_mask(mask, clip, labels, notes):
  if not is_array(mask):
    return masks.read_masks(
      os.fspath(mask), *clip.size, clip.start, clip.stride, clip.fit, labels=labels, notes=notes
    )
  mask = np.asarray(mask)
  if mask.dtype != bool or mask.ndim != 3 or len(mask) < clip.frames:
    raise ValueError(
      f'{mask.dtype}{list(mask.shape)}; accepted: bool[F, H, W] with a mask for each of the '
      f'{clip.frames} frames'
    )
  return masks.fit_masks(mask[: clip.frames], clip.height, clip.width, clip.fit)


def _as_frames(frames):
  """u8[F, H, W, 3] of an array, or of a list of PIL images or arrays."""
  to_array = lambda f: to_rgb(f) if hasattr(f, 'convert') else np.asarray(f)
  return frames if isinstance(frames, np.ndarray) else np.stack([to_array(f) for f in frames])
