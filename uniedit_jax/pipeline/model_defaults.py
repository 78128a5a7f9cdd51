"""What a request leaves to the model: its guidance, the size of its clips and windows."""

import dataclasses

from uniedit_jax.method import windows
from uniedit_jax.models.config import ModelConfig

QUICK_CLIP = 8, 128, 128  # frames, height, width of a quick run of a model with larger clips


def of_model(request, model_config):
  """The request with the guidance of the model where none is set."""
  if request.guidance is not None:
    return request
  return dataclasses.replace(request, guidance=(model_config or ModelConfig()).guidance)


def clip_of(request, model_config):
  """The `ClipOptions` with the sizes of the model where they are not set."""
  size = model_config.frames, model_config.height, model_config.width
  if request.quick and max(size[1:]) > max(QUICK_CLIP[1:]):
    size = tuple(map(min, size, QUICK_CLIP))
  chosen = [a if b is None else b for a, b in zip(size, request.clip.size, strict=True)]
  frames, height, width = chosen
  return dataclasses.replace(request.clip, frames=frames, height=height, width=width)


def window_of(request, model_config, frames):
  """(length, overlap) of the windows of a clip, or None where one window is all of it."""
  length, overlap = request.window.frames, request.window.overlap
  length = min(model_config.frames, frames) if length is None else length
  overlap = length // 2 if overlap is None else overlap
  starts = windows.window_starts(frames, length, overlap)
  positions = model_config.unet.frame_positions
  if 0 < positions < min(length, frames):
    raise ValueError(
      f'window.frames is {length}; accepted: at most {positions}, the frames whose positions the '
      'checkpoint has'
    )
  return (length, overlap) if len(starts) > 1 else None
