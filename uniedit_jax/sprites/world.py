"""Whether a clip belongs to the only world that the sprites model knows."""

import numpy as np

from uniedit_jax.frames import resize_bilinear
from uniedit_jax.sprites import probe
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import EXTENT


def stranger(config, frames):
  """Tells if a clip is outside of what a model was trained on, as far as that can be told.

  Args:
    config: `ModelConfig` of the model.
    frames: uint8[F, H, W, 3].

  Returns:
    A sentence for the record, or None: the model is another one, or the clip shows an object of the sprites world.
  """
  if config.name != CONFIG.name:
    return None
  small = resize_bilinear(frames, EXTENT, EXTENT)
  if len(small) < 4:  # too short for the probe, and whether there is an object shows in a still as well
    small = np.repeat(small, 4, axis=0)
  if probe.read(small).visible:
    return None
  return (
    'the clip shows no object of the sprites world, the only one that this model was trained on: '
    'the edit runs, but nothing good is to be expected'
  )
