"""Pixel measures against values worked out by hand or by a direct formula."""

import numpy as np
import pytest

from uniedit_jax.metrics import pixel


@pytest.fixture
def clip():
  return np.random.default_rng(0).integers(0, 256, (3, 16, 20, 3), np.uint8)


@pytest.fixture
def noisy(clip):
  noise = np.random.default_rng(1).normal(0, 30, clip.shape)
  return np.clip(clip + noise, 0, 255).astype(np.uint8)


def test_psnr_by_hand():
  a = np.zeros((2, 4, 4, 3), np.uint8)
  b = a.copy()
  # An error of 0.2 in half of the pixels is a mean squared error of 0.02.
  b[0] = 51
  assert pixel.psnr(a, b) == pytest.approx(-10 * np.log10(0.02), abs=1e-5)
  assert pixel.psnr(a, b / 255) == pytest.approx(pixel.psnr(a, b), abs=1e-5)


def test_psnr_of_equal_clips_is_infinite(clip):
  assert pixel.psnr(clip, clip) == float('inf')
  assert isinstance(pixel.psnr(clip, clip), float)


def test_psnr_in_a_mask(clip):
  mask = np.zeros(clip.shape[:3], bool)
  mask[:, 4:8] = True
  outside = clip.copy()
  outside[~mask] = 255 - outside[~mask]
  assert pixel.psnr(clip, outside, mask) == float('inf')
  assert pixel.psnr(clip, outside, ~mask) < pixel.psnr(clip, outside)
  with pytest.raises(ValueError, match='at least one True'):
    pixel.psnr(clip, clip, mask & False)
  with pytest.raises(ValueError, match='mask has shape'):
    pixel.psnr(clip, clip, mask[0])


def test_ssim_against_the_formula(clip, noisy):
  x, y = clip / 255, noisy / 255
  i = np.arange(11) - 5
  window = np.exp(-(i[:, None] ** 2 + i[None] ** 2) / (2 * 1.5**2))
  window = (window / window.sum())[None, :, :, None]
  values = []
  for top in range(16 - 10):
    for left in range(20 - 10):
      a, b = x[:, top : top + 11, left : left + 11], y[:, top : top + 11, left : left + 11]
      mean_a, mean_b = (window * a).sum((1, 2)), (window * b).sum((1, 2))
      da, db = a - mean_a[:, None, None], b - mean_b[:, None, None]
      var_a, var_b, cov = ((window * p).sum((1, 2)) for p in (da * da, db * db, da * db))
      luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
      values.append(luminance * (2 * cov + 9e-4) / (var_a + var_b + 9e-4))
  assert pixel.ssim(clip, noisy) == pytest.approx(np.mean(values), abs=1e-6)


def test_ssim_limits(clip):
  assert pixel.ssim(clip, clip) == pytest.approx(1)
  black, white = np.zeros_like(clip), np.full_like(clip, 255)
  assert pixel.ssim(black, white) == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-3)
  assert pixel.ssim(clip, 255 - clip) < 0
  with pytest.raises(ValueError, match='at least 11x11'):
    pixel.ssim(clip[:, :10], clip[:, :10])


def test_ssim_in_a_mask_sees_nothing_outside(clip, noisy):
  mask = np.zeros(clip.shape[:3], bool)
  mask[:, 2:15, 3:16] = True
  outside = noisy.copy()
  outside[~mask] = 0
  inside = np.mean([pixel.ssim(clip[:, 2:15, 3:16], noisy[:, 2:15, 3:16])])
  assert pixel.ssim(clip, outside, mask) == pytest.approx(inside, abs=1e-9)
  assert pixel.ssim(clip, noisy, mask | True) == pytest.approx(pixel.ssim(clip, noisy), abs=1e-12)
  # Without this pixel, no window of 11 is left.
  mask[:, 8, 8] = False
  assert pixel.ssim(clip, noisy, mask) is None
  with pytest.raises(ValueError, match='mask has shape'):
    pixel.ssim(clip, noisy, mask[0])


def test_flicker():
  frames = np.zeros((5, 2, 2, 3), np.uint8)
  # Every frame is 0.2 away from both of its neighbours.
  frames[1::2] = 51
  assert pixel.flicker(frames) == pytest.approx(0.2)
  fade = np.zeros((5, 2, 2, 3)) + np.linspace(0, 1, 5)[:, None, None, None]
  assert pixel.flicker(fade) == pytest.approx(0, abs=1e-7)
  assert pixel.flicker(frames[:2]) is None


def test_frame_difference():
  frames = np.zeros((3, 2, 2, 3), np.uint8)
  # The steps are 0.2, up and down.
  frames[1] = 51
  assert pixel.frame_difference(frames) == pytest.approx(0.2)
  assert pixel.frame_difference(frames[:1]) == 0


@pytest.mark.parametrize('measure', [pixel.psnr, pixel.ssim])
def test_faults(clip, measure):
  with pytest.raises(ValueError, match='equal shapes'):
    measure(clip, clip[:2])
  for wrong in (clip / 127.5 - 1, clip / 127.5, np.full(clip.shape, np.nan)):
    with pytest.raises(ValueError, match='floats in'):
      measure(clip, wrong)
  with pytest.raises(ValueError, match='accepted'):
    measure(clip[0], clip[0])
