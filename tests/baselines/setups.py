"""What tests of the comparison methods share."""

import numpy as np

from uniedit_jax.baselines.method import Setup


def setup_of(steps=4, frames=3, blocks=16, **fields):
  """A `Setup` with the texts null, source, target; the inversion is unconditional unless told otherwise."""
  known = dict(uncond=0, source=1, inverted=0, target=2, tokens=np.zeros((3, 7), np.int32))
  return Setup(steps, frames, blocks, **known | fields)
