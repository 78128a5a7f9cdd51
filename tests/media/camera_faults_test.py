"""Stills of many kinds as files, and what is refused before anything is filmed."""

import numpy as np
import pytest
from PIL import Image

from uniedit_jax.media import camera
from uniedit_jax.media.camera import CameraMove
from uniedit_jax.runtime.faults import FaultsError

KEYS = ((0, 0.4, 0.5, 1, 0), (0.3, 0.62, 0.45, 1.4, 8), (1, 0.55, 0.6, 1.1, -15))
GREY = np.array([[0, 60, 120], [180, 240, 255]], np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], -1)


def save(folder, image, name, **options):
  image.save(folder / name, **options)
  return folder / name


def read(folder, image, name='a.png', **options):
  return camera.read_image(save(folder, image, name, **options))


def test_modes_of_pictures(tmp_path):
  colour, grey = Image.fromarray(COLOUR), np.repeat(GREY[..., None], 3, -1)
  images = {'a.png': colour, 'b.png': colour.quantize(8), 'a.tif': colour.convert('CMYK')}
  for name, image in images.items():
    np.testing.assert_array_equal(read(tmp_path, image, name), COLOUR)
  np.testing.assert_array_equal(read(tmp_path, colour, 'a.webp', lossless=True), COLOUR)
  kinds = {'c.png': np.uint8, 'd.png': np.uint16, 'b.tif': np.uint16, 'c.tif': np.int32}
  for name, kind in kinds.items():
    values = GREY.astype(kind) * kind(1 if kind == np.uint8 else 257)
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(values), name), grey)
  black_and_white = np.where(grey > 100, 255, 0)
  np.testing.assert_array_equal(read(tmp_path, Image.fromarray(GREY > 100)), black_and_white)


def test_transparency_is_on_white(tmp_path):
  alpha = np.array([[0, 255, 51], [255, 0, 102]], np.uint8)
  share = (alpha / 255)[..., None]
  expected = lambda colour: np.round(colour * share + 255 * (1 - share))
  rgba = Image.fromarray(np.dstack([COLOUR, alpha]))
  np.testing.assert_allclose(read(tmp_path, rgba), expected(COLOUR), atol=1)
  out = read(tmp_path, rgba, 'a.webp', lossless=True, exact=True)
  np.testing.assert_allclose(out, expected(COLOUR), atol=1)
  grey = Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(alpha)])
  np.testing.assert_allclose(read(tmp_path, grey), expected(GREY[..., None].repeat(3, -1)), atol=1)
  palette = Image.fromarray(GREY // 60 % 4, 'P')
  palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
  out = read(tmp_path, palette, 'a.gif', transparency=1)
  assert out[0].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]
  # One colour is transparent.
  out = read(tmp_path, Image.fromarray(COLOUR), transparency=tuple(COLOUR[0, 1].tolist()))
  assert out[0].tolist() == [COLOUR[0, 0].tolist(), [255] * 3, COLOUR[0, 2].tolist()]


@pytest.mark.parametrize(
  'orientation, turned', [(1, COLOUR), (3, COLOUR[::-1, ::-1]), (6, np.rot90(COLOUR, -1))]
)
def test_pictures_are_turned_upright(tmp_path, orientation, turned):
  exif = Image.Exif()
  exif[0x0112] = orientation
  np.testing.assert_array_equal(read(tmp_path, Image.fromarray(COLOUR), exif=exif), turned)
  large = Image.fromarray(COLOUR.repeat(16, 0).repeat(16, 1))
  out = read(tmp_path, large, 'a.jpg', exif=exif, quality=100, subsampling=0)
  np.testing.assert_allclose(out[8::16, 8::16].astype(int), turned, atol=6)


def test_unreadable_pictures(tmp_path):
  image = Image.fromarray(np.arange(7500, dtype=np.uint8).reshape(50, 50, 3))
  whole = save(tmp_path, image, 'a.png').read_bytes()
  (tmp_path / 'text.jpg').write_text('not a picture')
  (tmp_path / 'cut.png').write_bytes(whole[: len(whole) // 2])
  (tmp_path / 'folder').mkdir()
  Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / 'float.tif')
  Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / 'long.tif')
  reasons = {'text': 'identify', 'cut': 'truncated', 'folder': 'a folder'}
  for stem, reason in (reasons | {'float': 'floats', 'long': '70000'}).items():
    (path,) = tmp_path.glob(f'{stem}*')
    (fault,) = camera.check_image(path, CameraMove(), 4, 8, 8)
    assert fault.startswith(f'image is {str(path)!r}, which cannot be read (')
    assert reason in fault
    assert fault.endswith('accepted: a png, jpg, webp or another still that PIL reads')
    with pytest.raises(ValueError, match='cannot be read'):
      camera.film_image(path, CameraMove(), 4, 8, 8)
  for name in ('no.png', '', None):
    (fault,) = camera.check_image(name, CameraMove(), 4, 8, 8)
    assert fault.startswith(f'image is {name or ""!r}, which does not exist here; accepted: ')
    with pytest.raises(FaultsError, match='does not exist'):
      camera.film_image(name, CameraMove(), 4, 8, 8)


# PIL warns of damaged files that it can read nevertheless.
@pytest.mark.filterwarnings('ignore')
def test_damaged_pictures_are_a_fault_and_not_a_crash(tmp_path):
  rng, faults = np.random.default_rng(0), 0
  image = Image.fromarray(np.arange(1800, dtype=np.uint8).reshape(20, 30, 3))
  for name in ('a.png', 'a.jpg', 'a.webp', 'a.gif', 'a.tif'):
    whole = np.frombuffer(save(tmp_path, image, name).read_bytes(), np.uint8)
    for _ in range(20):
      broken = whole.copy()
      broken[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
      (tmp_path / name).write_bytes(broken.tobytes())
      faults += len(camera.check_image(tmp_path / name, CameraMove('zoom', 1), 1, 4, 6))
  assert faults > 20


def test_image_too_small(tmp_path):
  path = save(tmp_path, Image.new('RGB', (160, 100)), 'a.png')
  # Zoom 1 shows 160 x 100 pixels of it: enough for twice that size, and not for more.
  assert camera.check_image(path, CameraMove('zoom', 1), 3, 200, 320) == []
  assert camera.check_image(path, CameraMove('zoom', 1), 3, 202, 320) != []
  assert camera.check_image(path, CameraMove('zoom', 2), 3, 100, 160) == []
  (fault,) = camera.check_image(path, CameraMove('zoom', 2.5), 3, 100, 160)
  assert fault == (
    f'image is {str(path)!r} of 160 x 100 pixels, too small: frame 2 shows 64 x 40 of them '
    '(frame 0 is nearest to the edge); accepted: at least 80 x 50 for a frame of 160 x 100, '
    'from a larger image or by a gentler move'
  )
  keys = (KEYS[0], (0.5, 0.9, 0.5, 1, 0), (1, 0.5, 0.5, 1, 0))
  (fault,) = camera.check_image(path, CameraMove('key_frames', key_frames=keys), 3, 100, 160)
  assert 'frame 0 shows 32 x 20 of them (frame 1 is nearest to the edge)' in fault
  with pytest.raises(ValueError, match='too small'):
    camera.film_image(path, CameraMove('zoom', 2.5), 3, 100, 160)


def test_all_faults_are_listed_together():
  faults = camera.check_image('no.png', CameraMove('dolly', easing='bounce'), 0, 8.0, -8)
  starts = ['frames is 0', 'height is 8.0', 'width is -8', "move.kind is 'dolly'"]
  starts += ["move.easing is 'bounce'", 'image is ']
  for fault, start in zip(faults, starts, strict=True):
    assert fault.startswith(start)
    assert 'accepted: ' in fault
  assert "accepted: 'pan', 'tilt', 'zoom', 'rotate', 'arc', 'key_frames'" in faults[3]
  assert "accepted: 'linear', 'ease_in', 'ease_out', 'ease_in_out'" in faults[4]
  with pytest.raises(FaultsError, match=r'(?s)frames is 0.*dolly.*does not exist'):
    camera.film_image('no.png', CameraMove('dolly'), 0, 8, 8)
  with pytest.raises(ValueError, match=r'dolly.*bounce'):
    camera.poses(CameraMove('dolly', easing='bounce'), 4)


@pytest.mark.parametrize(
  'kind, arguments, fault',
  [
    ('pan', {'amount': 1}, 'amount is 1 with kind {}; accepted: None, or -0.9 to 0.9'),
    ('tilt', {'amount': -2.0}, 'amount is -2.0 with kind {}; accepted: None, or -0.9 to 0.9'),
    ('zoom', {'amount': 0}, 'amount is 0 with kind {}; accepted: None, or 0.1 to 10.0'),
    ('rotate', {'amount': 'a'}, "amount is 'a' with kind {}; accepted: None, or -360.0 to 360.0"),
    ('pan', {'amount': np.nan}, 'amount is nan with kind {}; accepted: None, or -0.9 to 0.9'),
    ('zoom', {'amount': True}, 'amount is True with kind {}; accepted: None, or 0.1 to 10.0'),
    ('arc', {'sweep': 400}, 'sweep is 400 with kind {}; accepted: None, or -360.0 to 360.0'),
    ('pan', {'sweep': 90}, 'sweep is 90 with kind {}, which has none; accepted: None'),
    (
      'pan',
      {'key_frames': KEYS},
      "key_frames is given with kind {}; accepted: () or kind 'key_frames'",
    ),
    (
      'key_frames',
      {'amount': 2, 'key_frames': KEYS},
      'amount is 2 with kind {}, which has none; accepted: None',
    ),
    (None, {}, "kind is {}; accepted: 'pan', 'tilt', 'zoom', 'rotate', 'arc', 'key_frames'"),
  ],
)
def test_faults_of_moves(kind, arguments, fault):
  assert CameraMove(kind, **arguments).faults() == [f'move.{fault.format(repr(kind))}']


def test_faults_of_key_frames():
  # Lists are accepted too, as json has no tuples.
  first, last, far = (0, 0.5, 0.5, 1, 0), [1, 0.5, 0.5, 1, 0], (0.5, 1.1, 0.5, 1, 0)
  faults = lambda *keys: CameraMove('key_frames', key_frames=keys).faults()
  assert faults(first, last) == []
  assert faults() == ['move.key_frames is (); accepted: two or more of (time, x, y, zoom, degrees)']
  assert faults(first)[0].startswith('move.key_frames is ((0, 0.5')
  (fault,) = CameraMove('key_frames', key_frames='0 1').faults()
  assert fault.startswith("move.key_frames is '0 1'; accepted: two")
  wrongs = [3, (1, 0.5, 0.5, 1), (1, 0.5, 'x', 1, 0), (1, 0.5, 0.5, 0, 0)]
  for wrong in [*wrongs, (1, 0.5, 0.5, float('inf'), 0)]:
    accepted = 'accepted: numbers (time, x, y, zoom > 0, degrees)'
    assert faults(first, wrong, last) == [f'move.key_frames[1] is {wrong!r}; {accepted}']
  for x, y in ((1, 0.5), (0, 0.5), (0.5, -0.1), (0.5, 1.2)):
    wrong = (1, x, y, 1, 0)
    reason = 'whose centre leaves the image; accepted: 0 < x < 1, 0 < y < 1'
    assert faults(first, far, wrong) == [
      f'move.key_frames[1] is {far}, {reason}',
      f'move.key_frames[2] is {wrong}, {reason}',
    ]
  for times in ([0.1, 1], [0, 2], [0, 0.6, 0.6, 1], [0, 0.7, 0.6, 1]):
    fault = f'move.key_frames has the times {times}; accepted: 0 first, 1 last, increasing'
    assert faults(*((time, *first[1:]) for time in times)) == [fault]
