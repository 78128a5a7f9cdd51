"""Flow and its measures, on pictures with a known motion."""

import jax
import numpy as np
import pytest

from uniedit_jax.metrics import flow, motion

SIZE = (96, 128)
MARGIN = 24


@pytest.fixture(scope='module')
def picture():
  """A random texture with contrast at all scales and a margin, f64[H', W', 3] in [0, 1]."""
  rng = np.random.default_rng(0)
  size = [length + 2 * MARGIN for length in SIZE]
  rows, columns = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None]
  frequency = np.hypot(rows, columns)
  shape = np.exp(-8 * frequency**2) / np.maximum(frequency, 1e-2)
  spectra = [np.fft.fft2(rng.standard_normal(size)) * shape for _ in range(3)]
  texture = np.stack([np.fft.ifft2(spectrum).real for spectrum in spectra], axis=-1)
  return (texture - texture.min()) / np.ptp(texture)


def clip_of(picture, shifts):
  """The picture moved by `shifts` (down, right), u8[F, H, W, 3]; exact, by the spectrum's phase."""
  rows, columns = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])[None]
  frames = []
  for down, right in shifts:
    phase = np.exp(-2j * np.pi * (rows * down + columns * right))[..., None]
    moved = np.fft.ifft2(np.fft.fft2(picture, axes=(0, 1)) * phase, axes=(0, 1)).real
    frames.append(moved[MARGIN:-MARGIN, MARGIN:-MARGIN])
  return np.uint8(np.clip(np.round(255 * np.stack(frames)), 0, 255))


def moving(picture, *velocity, frames=3):
  return clip_of(picture, [(i * velocity[0], i * velocity[1]) for i in range(frames)])


@pytest.mark.parametrize('velocity', [(0.0, 0.0), (0.5, -0.25), (2.0, 3.0), (-7.0, 4.0)])
def test_translations(picture, velocity):
  found = motion.motion_of(moving(picture, *velocity))
  error = np.linalg.norm(found.forward - np.array(velocity), axis=-1)
  assert error[found.trusted].mean() < 0.05 + 0.02 * np.hypot(*velocity)
  overlap = np.prod([1 - abs(v) / length for v, length in zip(velocity, SIZE, strict=True)])
  assert 0.85 * overlap < found.trusted.mean() <= overlap + 1e-6
  diagonal = np.hypot(*SIZE)
  expected = 100 * np.hypot(*velocity) / diagonal
  assert motion.magnitude(found) == pytest.approx(expected, rel=0.1, abs=0.01)


def test_warping_is_exact_for_whole_pixels(picture):
  first, second = (frame / np.float32(255) for frame in moving(picture, 3, -2, frames=2))
  exact = np.broadcast_to(np.float32([3, -2]), (*SIZE, 2))
  warped = np.asarray(flow.warp(second, exact))
  np.testing.assert_allclose(warped[:-3, 2:], first[:-3, 2:], atol=1.5 / 255)
  # Outside of the frame, the edge is read.
  np.testing.assert_array_equal(warped[-1, 5], second[-1, 3])


def test_what_is_covered_is_not_trusted(picture):
  """A square moves over a still ground: the ground that it covers next cannot be trusted."""
  back = moving(picture, 0, 0, frames=2)
  square = back[0, 40:72, 10:42].copy()
  for frame, column in zip(back, (40, 52), strict=True):
    frame[30:62, column : column + 32] = square[::-1, ::-1]
  found = motion.motion_of(back)
  covered = found.trusted[0, 34:58, 74:82]
  # Windows reach across the edge of the square, so that some of the ground seems to move with it.
  assert covered.mean() < 0.5 and found.trusted[0, :, :20].mean() > 0.95
  inside = found.forward[0, 40:52, 50:60]
  assert np.linalg.norm(inside - [0, 12], axis=-1).mean() < 1


def test_warp_error_knows_motion_from_flicker(picture):
  smooth = moving(picture, 2, 1)
  flickering = smooth.copy()
  flickering[1] = np.uint8(np.clip(flickering[1].astype(int) + 25, 0, 255))
  calm, restless = (motion.warp_error(motion.motion_of(clip)) for clip in (smooth, flickering))
  assert calm < 0.01 < restless
  plain = np.abs(np.diff(smooth / 255, axis=0)).mean()
  assert calm < 0.25 * plain


def test_warp_error_along_another_flow(picture):
  right, left = (motion.motion_of(moving(picture, 0, way)) for way in (4, -4))
  assert motion.warp_error(right, along=right) == motion.warp_error(right)
  assert motion.warp_error(right, along=left) > 3 * motion.warp_error(right)
  still = motion.motion_of(moving(picture, 0, 0))
  assert motion.warp_error(still) == pytest.approx(0, abs=1e-6)


def test_warp_error_without_a_trusted_pixel(picture):
  found = motion.motion_of(moving(picture, 0, 0))
  assert motion.warp_error(found._replace(trusted=found.trusted & False)) is None


def test_directions(picture):
  right, left, down, still = (
    motion.motion_of(moving(picture, *v)) for v in ((0, 3), (0, -3), (3, 0), (0, 0))
  )
  assert motion.direction(right, right) == pytest.approx(1)
  assert motion.direction(right, left) == pytest.approx(-1, abs=0.05)
  assert abs(motion.direction(right, down)) < 0.1
  assert motion.direction(right, still) is None


def test_sizes_and_faults(picture):
  clip = moving(picture, 0, 2)
  assert flow.shrink(clip).shape == (3, *SIZE, 3)
  big = clip.repeat(4, axis=1).repeat(4, axis=2)
  assert flow.shrink(big).shape == (3, 160, 213, 3)
  of_big, of_clip = (motion.magnitude(motion.motion_of(x)) for x in (big, clip))
  assert of_big == pytest.approx(of_clip, rel=0.1)
  tiny = motion.motion_of(np.zeros((2, 8, 8, 3), np.uint8))
  assert motion.magnitude(tiny) == 0 and np.isfinite(jax.numpy.asarray(tiny.forward)).all()
  for wrong in (clip[:1], clip[..., :1], clip / 255):
    with pytest.raises(ValueError, match=r'accepted: uint8\[F, H, W, 3\]'):
      motion.motion_of(wrong)
  with pytest.raises(ValueError, match='equal shapes'):
    motion.direction(motion.motion_of(clip), motion.motion_of(clip[:2]))
