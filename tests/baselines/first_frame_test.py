"""Where a texture that was moved by a known amount is found."""

import numpy as np
import pytest
from scipy import ndimage

from uniedit_jax.baselines.first_frame import latent_warp


@pytest.fixture
def texture(rng):
  """A picture larger than the frames that are cut out of it."""
  smooth = ndimage.gaussian_filter(rng.random((128, 128, 3)), (2, 2, 0))
  return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def cut(texture, down, right):
  return texture[32 - down : 96 - down, 32 - right : 96 - right]


def test_tokens_of_the_first_frame(texture):
  # The second frame is moved to the right by one token of 8 pixels.
  clip = np.stack([cut(texture, 0, 0), cut(texture, 0, 8)])
  tokens, seen = latent_warp(clip, 8)
  assert tokens.shape == (2, 64) and seen.shape == (2, 8, 8, 1)
  assert tokens[0].tolist() == list(range(64)) and (seen[0] == 1).all()
  grid = tokens[1].reshape(8, 8)
  np.testing.assert_array_equal(grid[2:6, 3:6], np.arange(64).reshape(8, 8)[2:6, 2:5])
  # The part that came in from the left is not in the first frame.
  assert seen[1, 3:5, 4:6].min() > 0.9 and seen[1, :, 0].max() < 0.5
