"""What the sprites world adds to a run of its model: whether a clip belongs to it, and whether an
edit is right.
"""

import re

import numpy as np

from uniedit_jax.media.frames import resize_bilinear
from uniedit_jax.metrics import pixel
from uniedit_jax.sprites import reader
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import EXTENT
from uniedit_jax.sprites.scenes import ATTRIBUTES


def stranger(config, frames):
  """Tells if a clip is outside of what a model was trained on, as far as that can be told.

  Args:
    config: `ModelConfig` of the model.
    frames: uint8[F, H, W, 3].

  Returns:
    A sentence for the record, or None: the model is another one, or the clip shows an object of the
    sprites world.
  """
  if config.name != CONFIG.name or _read(frames).visible:
    return None
  return (
    'the clip shows no object of the sprites world, the only one that this model was trained on: '
    'the edit runs, but nothing good is to be expected'
  )


def judge(config, source, edit, prompt):
  """Judges an edit by what the probe reads from it.

  Args:
    config: `ModelConfig` of the model.
    source: uint8[F, H, W, 3], or None where there is none.
    edit: uint8[F, H, W, 3].
    prompt: the target prompt.

  Returns:
    dict, empty for other models: 'attributes_right', the share of the attributes that the prompt
    names which are read as it says (missing where it names none); 'kept_background_psnr_db' against
    the source, outside of what looks like the object in either clip.
  """
  if config.name != CONFIG.name:
    return {}
  reading, named, measures = _read(edit), named_values(prompt), {}
  if named:
    measures['attributes_right'] = round(
      float(np.mean([reading.values[k] == v for k, v in named.items()])), 4
    )
  if source is not None:
    outside = ~(_read(source).mask | reading.mask)
    measures['kept_background_psnr_db'] = round(
      pixel.psnr(_small(source), _small(edit), mask=outside), 4
    )
  return measures


def named_values(prompt):
  """{attribute: value} of what a prompt says of a scene, in words of the captions."""
  says = lambda value: re.search(rf'\b{value}\b', prompt.lower())
  return {name: value for name, values in ATTRIBUTES.items() for value in values if says(value)}


def _small(frames):
  """The clip as the probe wants it; one too short is repeated, as most of it shows in a still as
  well.
  """
  small = resize_bilinear(frames, EXTENT, EXTENT)
  return np.repeat(small, 4, axis=0) if len(small) < 4 else small


def _read(frames):
  return reader.read(_small(frames))
