"""Flow of textures that were moved by known amounts."""

import numpy as np
import pytest
from scipy import ndimage

from uniedit_jax.baselines.optical_flow import dense_flow, hidden, latent_warp


@pytest.fixture
def texture(rng):
  """A picture larger than the frames that are cut out of it."""
  smooth = ndimage.gaussian_filter(rng.random((128, 128, 3)), (2, 2, 0))
  return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def cut(texture, down, right):
  return texture[32 - down : 96 - down, 32 - right : 96 - right]


@pytest.mark.parametrize('down, right', [(0, 0), (2, 0), (0, -3), (5, 7), (-8, 4)])
def test_a_shift_is_found(texture, down, right):
  flow = dense_flow(cut(texture, 0, 0), cut(texture, down, right))
  inner = flow[10:-10, 10:-10]
  assert np.abs(np.median(inner, axis=(0, 1)) - [down, right]).max() < 0.1
  assert np.mean(np.linalg.norm(inner - [down, right], axis=-1) < 0.5) > 0.95


def test_what_does_not_come_back_is_hidden():
  flow, back = np.zeros((2, 16, 16, 2), np.float32)
  flow[4:8, 4:8] = 0, 3  # goes to where nothing comes back from
  expected = np.zeros((16, 16), bool)
  expected[4:8, 4:8] = True
  np.testing.assert_array_equal(hidden(flow, back), expected)
  back[4:8, 7:11] = 0, -3
  assert not hidden(flow, back)[4:8, 4:8].any()
  assert hidden(np.full((16, 16, 2), 4, np.float32), np.full((16, 16, 2), -4, np.float32))[-4:].all()  # it leaves


def test_tokens_of_the_first_frame(texture):
  clip = np.stack([cut(texture, 0, 0), cut(texture, 0, 8)])  # moved by one token of 8 pixels to the right
  tokens, seen = latent_warp(clip, 8)
  assert tokens.shape == (2, 64) and seen.shape == (2, 8, 8, 1)
  assert tokens[0].tolist() == list(range(64)) and (seen[0] == 1).all()
  grid = tokens[1].reshape(8, 8)
  np.testing.assert_array_equal(grid[2:6, 3:6], np.arange(64).reshape(8, 8)[2:6, 2:5])
  assert seen[1, 3:5, 4:6].min() > 0.9 and seen[1, :, 0].max() < 0.5  # what came in from the left was not there
