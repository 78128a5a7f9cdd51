"""Camera moves over a still: poses by hand, and the views against formulas."""

import numpy as np
import pytest
from PIL import Image

from uniedit_jax.media import camera
from uniedit_jax.media.camera import CameraMove

KEYS = ((0, 0.4, 0.5, 1, 0), (0.3, 0.62, 0.45, 1.4, 8), (1, 0.55, 0.6, 1.1, -15))
MOVES = [
  *(CameraMove(kind) for kind in ('pan', 'tilt', 'zoom', 'rotate', 'arc')),
  CameraMove('pan', -0.3, easing='ease_in'),
  CameraMove('zoom', 0.7, easing='ease_out'),
  CameraMove('rotate', -70),
  CameraMove('arc', -0.2, 300),
  CameraMove('key_frames', key_frames=KEYS, easing='ease_in_out'),
]


def positions(pose, scale, picture, height, width):
  """Pixel centres of a frame in the picture: x and y, f64[height, width] each, in pixels."""
  columns, rows = np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2
  right, down = np.meshgrid(columns, rows)
  angle = np.radians(pose[3])
  x = pose[0] * picture[1] + scale * (np.cos(angle) * right - np.sin(angle) * down)
  y = pose[1] * picture[0] + scale * (np.sin(angle) * right + np.cos(angle) * down)
  return x, y


def waves(x, y, length):
  """A smooth pattern, f64[..., 3] from 27 to 227; its shortest wave is `length` long."""
  x, y = 2 * np.pi / length * x, 2 * np.pi / length * y
  channels = [np.sin(x) * np.cos(y / 2), np.cos(0.6 * x + 0.8 * y), np.sin(0.8 * x - 0.6 * y)]
  return 127.5 + 100 * np.stack(channels, -1)


def sample(function, height, width):
  """A function of x and y as a picture, uint8[height, width, 3]."""
  x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
  return np.round(function(x, y)).astype(np.uint8)


def blob(height, width, x, y, radius):
  """A white Gaussian spot on black."""
  square = lambda u, v: (u - x) ** 2 + (v - y) ** 2
  spot = lambda u, v: 255 * np.exp(-square(u, v) / (2 * radius**2))
  return np.repeat(sample(spot, height, width)[..., None], 3, -1)


def centroid(frame):
  """x and y of the centre of brightness, in pixels from the top left corner."""
  weight = frame[..., 0].astype(float)
  x, y = np.meshgrid(np.arange(frame.shape[1]) + 0.5, np.arange(frame.shape[0]) + 0.5)
  return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def film(image, move, frames=5, height=40, width=64):
  return camera.render(image, camera.poses(move, frames), height, width)


@pytest.mark.parametrize(
  'move, first, middle, last',
  [
    (CameraMove('pan', 0.2), (0.4, 0.5, 1, 0), (0.5, 0.5, 1, 0), (0.6, 0.5, 1, 0)),
    (CameraMove('tilt', -0.4), (0.5, 0.7, 1, 0), (0.5, 0.5, 1, 0), (0.5, 0.3, 1, 0)),
    # The factor is the same in every frame.
    (CameraMove('zoom', 4), (0.5, 0.5, 1, 0), (0.5, 0.5, 2, 0), (0.5, 0.5, 4, 0)),
    (CameraMove('zoom', 0.25), (0.5, 0.5, 1, 0), (0.5, 0.5, 0.5, 0), (0.5, 0.5, 0.25, 0)),
    (CameraMove('rotate', -30), (0.5, 0.5, 1, 0), (0.5, 0.5, 1, -15), (0.5, 0.5, 1, -30)),
    # Half a circle, over the top.
    (CameraMove('arc', 0.2), (0.3, 0.6, 1, 0), (0.5, 0.4, 1, 0), (0.7, 0.6, 1, 0)),
    (CameraMove('arc', 0.2, -180), (0.7, 0.6, 1, 0), (0.5, 0.4, 1, 0), (0.3, 0.6, 1, 0)),
    (CameraMove('arc', -0.2), (0.7, 0.4, 1, 0), (0.5, 0.6, 1, 0), (0.3, 0.4, 1, 0)),
    (CameraMove('arc', 0.2, 360), (0.5, 0.7, 1, 0), (0.5, 0.3, 1, 0), (0.5, 0.7, 1, 0)),
    (CameraMove('pan', easing='ease_in'), (0.4, 0.5, 1, 0), (0.45, 0.5, 1, 0), (0.6, 0.5, 1, 0)),
    (CameraMove('pan', easing='ease_out'), (0.4, 0.5, 1, 0), (0.55, 0.5, 1, 0), (0.6, 0.5, 1, 0)),
  ],
)
def test_poses_by_hand(move, first, middle, last):
  out = camera.poses(move, 9)
  np.testing.assert_allclose(out[[0, 4, 8]], [first, middle, last], atol=1e-12)
  np.testing.assert_allclose(camera.poses(move, 1), [first], atol=1e-12)


def test_easing():
  expected = {
    'linear': (0, 0.25, 0.5, 0.75, 1),
    'ease_in': (0, 0.0625, 0.25, 0.5625, 1),
    'ease_out': (0, 0.4375, 0.75, 0.9375, 1),
    'ease_in_out': (0, 0.15625, 0.5, 0.84375, 1),
  }
  for easing, way in expected.items():
    poses = camera.poses(CameraMove('rotate', 1, easing=easing), 5)
    np.testing.assert_allclose(poses[:, 3], way, atol=1e-12)
    poses = camera.poses(CameraMove('arc', 0.1, 90, easing=easing), 5)
    angles = np.degrees(np.arcsin((poses[:, 0] - 0.5) / 0.1))
    np.testing.assert_allclose(angles / 90 + 0.5, way, atol=1e-9)


def test_key_frames_by_hand():
  keys = ((0, 0.1, 0.2, 1, 0), (0.5, 0.5, 0.4, 4, 90), (1, 0.5, 0.8, 1, 0))
  out = camera.poses(CameraMove('key_frames', key_frames=keys), 5)
  expected = [(0.1, 0.2, 1, 0), (0.3, 0.3, 2, 45), (0.5, 0.4, 4, 90), (0.5, 0.6, 2, 45)]
  expected += [(0.5, 0.8, 1, 0)]
  np.testing.assert_allclose(out, expected, atol=1e-12)
  # The easing starts anew at every key frame, whose times need not be even.
  keys = ((0, 0.1, 0.5, 1, 0), (0.8, 0.5, 0.5, 1, 0), (1, 0.9, 0.5, 1, 0))
  out = camera.poses(CameraMove('key_frames', key_frames=keys, easing='ease_in'), 11)
  np.testing.assert_allclose(out[[0, 4, 8, 9, 10], 0], (0.1, 0.2, 0.5, 0.6, 0.9), atol=1e-12)


@pytest.mark.parametrize('move', MOVES, ids=str)
@pytest.mark.parametrize('picture', [(150, 240), (240, 150), (100, 500)])
def test_the_window_is_the_largest_inside_the_picture(move, picture):
  poses = camera.poses(move, 7)
  scale, closest = camera.scales(poses, picture, 40, 64)
  # All frames show one window, zoomed.
  np.testing.assert_allclose(scale * poses[:, 2], scale[0] * poses[0, 2])
  margins = []
  for (x, y, _, degrees), step in zip(poses, scale, strict=True):
    angle = np.radians(degrees)
    # These are the four corners.
    right, down = step * np.array([-32, 32, -32, 32]), step * np.array([-20, -20, 20, 20])
    corner_x = x * picture[1] + np.cos(angle) * right - np.sin(angle) * down
    corner_y = y * picture[0] + np.sin(angle) * right + np.cos(angle) * down
    margins.append(
      min(corner_x.min(), corner_y.min(), picture[1] - corner_x.max(), picture[0] - corner_y.max())
    )
  # The window touches the edge and does not cross it.
  np.testing.assert_allclose(min(margins), 0, atol=1e-9)
  np.testing.assert_allclose(margins[closest], 0, atol=1e-9)


@pytest.mark.parametrize('move', MOVES, ids=str)
# The factor is in pixels of the picture per pixel of a frame, before the move.
@pytest.mark.parametrize('factor', [0.8, 3.3])
def test_views_are_those_of_the_poses(move, factor):
  picture = (int(60 * factor), int(90 * factor))
  image = sample(lambda x, y: waves(x, y, 14 * factor), *picture)
  poses = camera.poses(move, 5)
  scale, _ = camera.scales(poses, picture, 40, 64)
  out = camera.render(image, poses, 40, 64)
  assert out.dtype == np.uint8
  for frame, pose, step in zip(out, poses, scale, strict=True):
    expected = waves(*positions(pose, step, picture, 40, 64), 14 * factor)
    assert np.abs(frame - expected)[2:-2, 2:-2].max() < 8
    assert np.sqrt(np.mean((frame - expected) ** 2)) < 2.5


@pytest.mark.parametrize('height, width', [(200, 320), (500, 700)])
def test_motion_is_exact_below_a_pixel(height, width):
  """A slow move: whole-pixel windows would let the spot jump."""
  image = blob(height, width, 0.55 * width, 0.45 * height, height / 20)
  moves = {'pan': 0.02, 'tilt': 0.02, 'zoom': 1.05, 'rotate': 5, 'arc': 0.02}
  for kind, amount in moves.items():
    poses = camera.poses(CameraMove(kind, amount), 8)
    scale, _ = camera.scales(poses, (height, width), 80, 128)
    out = camera.render(image, poses, 80, 128)
    for frame, (x, y, _, degrees), step in zip(out, poses, scale, strict=True):
      right, down = (0.55 - x) * width / step, (0.45 - y) * height / step
      cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
      expected = 64 + cosine * right + sine * down, 40 - sine * right + cosine * down
      np.testing.assert_allclose(centroid(frame), expected, atol=0.015)


def test_directions():
  """The contents move against the camera: it goes right, they go left."""
  # The spot is to the right of the middle and above it.
  image = blob(200, 320, 200, 80, 8)

  def travels(*move):
    clip = film(image, CameraMove(*move))
    return centroid(clip[-1]) - centroid(clip[0])

  assert travels('pan', 0.1)[0] < -3
  assert travels('tilt', 0.1)[1] < -2
  assert travels('zoom', 1.5) @ (1, -1) > 3
  assert travels('rotate', 20).max() < -1


@pytest.mark.parametrize(
  'move', [CameraMove('pan', 0.1), CameraMove('zoom', 1.2), CameraMove('rotate', 30)], ids=str
)
@pytest.mark.parametrize('period', [2, 3, 5])
def test_texture_finer_than_a_pixel_becomes_grey(move, period):
  """Where a pixel of the frame covers stripes of 2 to 5 pixels, anything but grey is aliasing."""
  x = np.arange(640) % period < period / 2
  image = np.where(x[None, :, None], 255, 0).astype(np.uint8) * np.ones((400, 1, 3), np.uint8)
  out = film(np.maximum(image, image[:, :, ::-1]), move).astype(float)
  inner = out[:, 2:-2, 2:-2]
  assert abs(inner.mean() - image.mean()) < 2
  assert np.abs(inner - inner.mean()).max() < 4


def test_every_frame_is_as_fine_as_its_zoom_allows():
  """Stripes of 6 pixels: grey where a pixel of the frame covers 10, visible where it is 1.25."""
  stripes = lambda x, y: np.repeat(np.where((x + y) % 6 < 3, 0, 255)[..., None], 3, -1)
  image = sample(stripes, 400, 640)
  for amount, order in ((8, 1), (1 / 8, -1)):
    clip = film(image, CameraMove('zoom', amount), 2).astype(float)
    far, near = clip.std(axis=(1, 2, 3))[::order]
    assert far < 4
    assert near > 70


def test_contrasts_stay_in_range():
  image = sample(lambda x, y: np.repeat(np.where(x < y, 0, 255)[..., None], 3, -1), 100, 160)
  for frame in film(image, CameraMove('zoom', 3)):
    levels = np.sort(frame.ravel())
    # Levels go from black to white, and overshoot slightly.
    assert np.diff(frame[..., 0].astype(int), axis=1).min() > -40
    assert levels[0] == 0
    assert levels[-1] == 255


# 0.6 to 4 pixels of the picture per pixel of the frame
@pytest.mark.parametrize('height', [24, 40, 66, 160])
def test_texture_is_as_sharp_in_every_frame(height):
  """Noise moves by eighths of a pixel: plain interpolation would blur what falls between pixels."""
  noise = np.random.default_rng(0).integers(0, 256, (height, 3 * height, 1)).astype(np.uint8)
  poses = np.tile([0.5, 0.5, 1, 0], (9, 1))
  poses[:, 0] += np.arange(9) / 8 / 40 / 3
  out = camera.render(np.repeat(noise, 3, -1), poses, 40, 64).astype(float)
  deviation = out.std(axis=(1, 2, 3))
  assert np.ptp(deviation) / deviation.mean() < 0.05


@pytest.mark.parametrize('picture', [(41, 64), (97, 333), (401, 207)])
def test_no_borders_and_flat_colours_are_kept(picture):
  image = np.full((*picture, 3), (13, 100, 255), np.uint8)
  for move in MOVES:
    np.testing.assert_array_equal(film(image, move), np.broadcast_to(image[0, 0], (5, 40, 64, 3)))


def test_film_image_is_deterministic(tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(sample(lambda x, y: waves(x, y, 30), 100, 160)).save(path)
  out = [camera.film_image(path, CameraMove('arc'), frames, 40, 64) for frames in (3, 3, 1)]
  np.testing.assert_array_equal(out[0], out[1])
  np.testing.assert_array_equal(out[0], film(camera.read_image(path), CameraMove('arc'), 3))
  assert out[2].shape == (1, 40, 64, 3)


def test_render_refuses_what_it_cannot_film():
  with pytest.raises(ValueError, match=r'image is float64\[8, 8, 3\]; accepted: uint8\[H, W, 3\]'):
    camera.render(np.zeros((8, 8, 3)), [(0.5, 0.5, 1, 0)], 8, 8)
  for pose in ((1.2, 0.5, 1, 0), (0.5, 0, 1, 0), (0.5, 0.5, -1, 0), (0.5, float('nan'), 1, 0)):
    with pytest.raises(ValueError, match=r'pose 1 .* accepted: a centre inside the picture'):
      camera.render(np.zeros((8, 8, 3), np.uint8), [(0.5, 0.5, 1, 0), pose], 8, 8)
