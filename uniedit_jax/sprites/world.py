"""Checks that only the sprites world can make: is a clip of this world, and is an edit right."""

import re

import numpy as np

from uniedit_jax.media.frames import resize_bilinear
from uniedit_jax.metrics import pixel
from uniedit_jax.sprites import reader
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import EXTENT
from uniedit_jax.sprites.scenes import ATTRIBUTES


def stranger(config, frames):
  """Warning text if the clip shows no object of the world; None otherwise or for another model.

  Args:
    config: `ModelConfig` of the model.
    frames: uint8[F, H, W, 3].

  Returns:
    str or None.
  """
  if config.name != CONFIG.name or _read(frames).visible:
    return None
  return (
    'the clip shows no object of the sprites world, the only one that this model was trained on: '
    'the edit runs, but nothing good is to be expected'
  )


def warn_of_stranger(config, source, log):
  """Warns in a `RunLog` if a source, `video.Clip` or None, is a `stranger`."""
  if source and (warning := stranger(config, source.frames)):
    log.warn(warning)


def judge_of(config):
  """`judge` where a `ModelConfig` is that of the world's own model, else None."""
  return judge if config.name == CONFIG.name else None


def judge(source, edit, prompt):
  """Judges an edit by what the reader reads from its pixels.

  Args:
    source: uint8[F, H, W, 3], or None where there is none.
    edit: uint8[F, H, W, 3].
    prompt: the target prompt.

  Returns:
    dict: 'attributes_right', the share of the attributes that the prompt
    names which are read as it says (missing where it names none); 'kept_background_psnr_db' against
    the source, outside of what looks like the object in either clip.
  """
  reading, named, measures = _read(edit), named_values(prompt), {}
  if named:
    right = np.mean([reading.values[k] == v for k, v in named.items()])
    measures['attributes_right'] = round(float(right), 4)
  if source is not None:
    outside = ~(_read(source).mask | reading.mask)
    kept = pixel.psnr(_small(source), _small(edit), mask=outside)
    measures['kept_background_psnr_db'] = round(kept, 4)
  return measures


def named_values(prompt):
  """{attribute: value} of what a prompt says of a scene, in words of the captions."""
  says = lambda value: re.search(rf'\b{value}\b', prompt.lower())
  return {name: value for name, values in ATTRIBUTES.items() for value in values if says(value)}


def _small(frames):
  """The clip as the reader takes it; a short one is repeated, as a still shows most of it too."""
  small = resize_bilinear(frames, EXTENT, EXTENT)
  return np.repeat(small, 4, axis=0) if len(small) < 4 else small


def _read(frames):
  return reader.read(_small(frames))
