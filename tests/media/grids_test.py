"""Clips side by side and contact sheets."""

import numpy as np
import pytest

from uniedit_jax.media import grids


def test_side_by_side(rng):
  a, b = rng.integers(0, 256, (2, 3, 48, 160, 3), dtype=np.uint8)
  out = grids.side_by_side({'source': a, 'a label that is far too long for a panel this small': b})
  assert out.dtype == np.uint8
  np.testing.assert_array_equal(out[:, -48:, :160], a)
  np.testing.assert_array_equal(out[:, -48:, -160:], b)
  assert out.shape[2] == 2 * 160 + 4
  # There is text, and the long label was shortened to fit.
  assert out[0, :-48, :160].max() > 200
  assert out[0, :-48, -4:].max() < 100


def test_small_clips_are_enlarged_without_blur_so_that_labels_can_be_read(rng):
  clip = rng.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
  out = grids.side_by_side({'motion reference': clip, 'edit': clip})
  assert out.shape[2] == 2 * 160 + 4
  np.testing.assert_array_equal(out[:, -120::5, :160:5], clip)


def test_side_by_side_refuses_clips_of_several_shapes(rng):
  clip = rng.integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
  with pytest.raises(ValueError, match='clips have shapes'):
    grids.side_by_side({'source': clip, 'edit': clip[:2]})
  with pytest.raises(ValueError, match='clips have shapes'):
    grids.side_by_side({})


def test_contact_sheet(rng):
  frames = rng.integers(0, 256, (5, 6, 10, 3), dtype=np.uint8)
  sheet = grids.contact_sheet(frames, columns=2)
  assert sheet.shape == (3 * 8, 2 * 12, 3)
  for i, frame in enumerate([*frames, np.zeros_like(frames[0])]):
    top, left = 1 + 8 * (i // 2), 1 + 12 * (i % 2)
    np.testing.assert_array_equal(sheet[top : top + 6, left : left + 10], frame)
