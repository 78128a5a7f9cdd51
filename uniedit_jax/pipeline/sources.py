"""The source clip and the masks of a request: files, stills, or frames in memory."""

import dataclasses
import importlib.resources
import os

import numpy as np
from etils import epath

from uniedit_jax.media import camera, masks, video
from uniedit_jax.media.frames import crop_middle, resize_bilinear, to_rgb
from uniedit_jax.pipeline.request import ASPECT_TOLERANCE, is_array, is_auto, is_given
from uniedit_jax.pipeline.values import MEDIA
from uniedit_jax.runtime import checkpoint, digests
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.files import path_fault

# Clips that come with the package go by name (write ./name for a file called so).
SHIPPED_CLIPS = {'sprites': 'sprites/clip.mp4'}
SIDES = 'source', 'target'
# Fields of configs whose values are checkpoints.
CHECKPOINTS = ('checkpoint', 'metrics.clip', 'vae', 'init')


def locate_clip(path):
  """The path of a video, or that of a name in `SHIPPED_CLIPS`."""
  if str(path) in SHIPPED_CLIPS:
    return epath.Path(importlib.resources.files('uniedit_jax')) / SHIPPED_CLIPS[str(path)]
  return path


def fingerprints(tree, cache=None, name=''):
  """Digests of all inputs that a config names, for `workdir.begin`: {dotted field: str}.

  Args:
    tree: the config as a nested dict; others in it are of this form too, in lists or not.
    cache: folder that remembers digests, or that of the config.
    name: dotted field of the tree.

  Raises:
    ValueError: a checkpoint whose parameters are not those of its manifest.
  """
  if isinstance(tree, dict):
    cache = tree.get('cache', cache)
    parts = [(f'{name}.{key}'.lstrip('.'), value) for key, value in tree.items()]
  else:
    parts = [(f'{name}.{i}'.lstrip('.'), value) for i, value in enumerate(tree)]
  found = {}
  for field, value in parts:
    ends = lambda names, field=field: f'.{field}'.endswith(tuple(f'.{one}' for one in names))
    if isinstance(value, dict | list | tuple):
      found |= fingerprints(value, cache, field)
    elif not value or not isinstance(value, str):
      continue
    elif ends(MEDIA) and not path_fault(value):  # others are addresses, which are not looked at
      path = epath.Path(locate_clip(value)).expanduser()
      found |= {field: digests.digest_of(path, cache)} if path.exists() else {}
    elif ends(CHECKPOINTS) and (checkpoint.locate(value) / 'manifest.json').exists():
      found[field] = checkpoint.fingerprint(value, cache)
  return found


def check_source(request, clip):
  """What is wrong, and what is odd but allowed, with the source of an `EditRequest`.

  Args:
    request: `EditRequest`.
    clip: `ClipOptions` with all sizes.

  Returns:
    (`Faults`, list of warnings, (height, width) of the frames or None).
  """
  fit = clip.fit or 'stretch'  # which is chosen when the size is known
  selection = video.Selection(**dataclasses.asdict(clip) | {'fit': fit})
  if request.image:
    faults = Faults(camera.check_image(request.image, request.move, *clip.size))
    # The other fields say nothing about a still.
    return faults + video.Selection(1, 1, 1, fps=clip.fps).faults(), [], None
  if not is_array(request.video):
    return video.look_at(locate_clip(request.video), selection)
  faults = selection.faults()
  frames = faults.attempt(_as_frames, request.video)
  if frames is not None and not faults and (few := selection.too_few(len(frames), 'video')):
    faults.append(few)
  return faults, [], None if frames is None else frames.shape[1:3]


def choose_fit(request, clip, size, warnings):
  """The `ClipOptions` with `fit` chosen where it is not set.

  Frames are cropped where stretching them would show, but not with the preset release, which
  stretches.

  Args:
    request: `EditRequest`.
    clip: `ClipOptions` with all sizes.
    size: (height, width) of the frames of the source; None: they have that of the clip.
    warnings: list, to which is added that they are cropped.
  """
  if clip.fit is not None:
    return clip
  height, width = size or (clip.height, clip.width)
  ratio = (width * clip.height) / (height * clip.width)
  if request.preset == 'release' or max(ratio, 1 / ratio) <= 1 + ASPECT_TOLERANCE:
    return dataclasses.replace(clip, fit='stretch')
  warnings.append(
    f'video is {width} x {height} and is cropped to the aspect ratio of {clip.width} x '
    f'{clip.height}: {1 - min(ratio, 1 / ratio):.0%} of every frame is left out; '
    'clip.fit=stretch keeps all of it, distorted'
  )
  return dataclasses.replace(clip, fit='crop')


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

  They are cropped or stretched as the clip is, whose `fit` is chosen by then, or else stretched.
  What is odd but allowed is added to the list `warnings`.
  """
  given, found = {side: getattr(request.mask, side) for side in SIDES}, {}
  clip = dataclasses.replace(clip, fit=clip.fit or 'stretch')
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
  """u8[F, H, W, 3] of an array, or of a list of PIL images or arrays; else raises ValueError."""
  to_array = lambda f: to_rgb(f) if hasattr(f, 'convert') else np.asarray(f)
  accepted = 'accepted: a path, uint8[F, H, W, 3] or a list of pictures'
  try:
    clip = frames if isinstance(frames, np.ndarray) else np.stack([to_array(f) for f in frames])
  except Exception as error:
    raise ValueError(f'video is no clip ({error}); {accepted}') from error
  if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or not clip.size:
    raise ValueError(f'video is {clip.dtype}{list(clip.shape)}; {accepted}')
  return clip
