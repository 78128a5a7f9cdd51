"""Mask files, their faults, and the pyramid of token masks."""

import jax
import numpy as np
import pytest
from PIL import Image

from uniedit_jax.media import masks, video
from uniedit_jax.method.token_masks import pyramid, resize_nearest
from uniedit_jax.runtime.faults import FaultsError


def moving_square(frames=4, height=16, width=24):
  """A white square that moves right by 2 pixels a frame."""
  out = np.zeros((frames, height, width), bool)
  for i in range(frames):
    out[i, 4:12, 2 + 2 * i : 10 + 2 * i] = True
  return out


def write_folder(folder, arrays, name='frame_{}_mask.png'):
  folder.mkdir(exist_ok=True)
  for i, array in enumerate(arrays):
    Image.fromarray(array).save(folder / name.format(i))
  return folder


def test_folder_in_natural_order(tmp_path):
  expected = moving_square(12, 16, 48)
  write_folder(tmp_path / 'm', expected.astype(np.uint8) * 255)
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm', 12, 16, 48), expected)
  out = masks.read_masks(tmp_path / 'm', 3, 16, 48, start=1, stride=4)
  np.testing.assert_array_equal(out, expected[[1, 5, 9]])


@pytest.mark.parametrize(
  'low, high, dtype', [(127, 128, np.uint8), (0, 1, np.uint8), (32767, 32768, np.uint16)]
)
def test_threshold_is_half_of_the_range(tmp_path, low, high, dtype):
  expected = moving_square()
  write_folder(tmp_path / 'm', np.where(expected, high, low).astype(dtype))
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm', 4, 16, 24), expected)


def test_colour_pictures(tmp_path):
  expected = moving_square()
  write_folder(tmp_path / 'm', np.repeat(expected[..., None], 3, -1).astype(np.uint8) * 255)
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm', 4, 16, 24), expected)


@pytest.mark.parametrize('scale', [True, np.float32(1), np.uint8(255), np.int64(1)])
def test_npz(tmp_path, scale):
  expected = moving_square()
  np.savez(tmp_path / 'first.npz', anything=expected * scale)
  np.savez(tmp_path / 'key.npz', other=np.zeros(3), masks=(expected * scale)[..., None])
  for name in ('first.npz', 'key.npz'):
    np.testing.assert_array_equal(masks.read_masks(tmp_path / name, 4, 16, 24), expected)


def test_mask_video(tmp_path):
  expected = moving_square(6, 32, 48)
  frames = np.repeat(expected[..., None], 3, -1).astype(np.uint8) * 255
  video.write_mp4(tmp_path / 'm.mp4', frames, 8)
  out = masks.read_masks(tmp_path / 'm.mp4', 2, 32, 48, start=1, stride=3)
  assert np.mean(out != expected[[1, 4]]) < 0.01


DAVIS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [64, 0, 0]], np.uint8)


def palette_pictures(folder, values, palette):
  folder.mkdir()
  for i, value in enumerate(values):
    picture = Image.fromarray(value.astype(np.uint8), 'P')
    picture.putpalette(palette.ravel().tolist())
    picture.save(folder / f'{i:05d}.png')
  return folder


def two_objects():
  """Object 1 in the square, object 3 in the first rows."""
  values = moving_square() * 1
  values[:, :2] = 3
  return values


@pytest.mark.parametrize('kind', ['palette', 'grey', 'npz', 'npy', 'floats', 'colours', '16 bits'])
def test_all_labels_but_0_are_foreground_unless_some_are_chosen(tmp_path, kind):
  values, path, notes = two_objects(), tmp_path / 'm', []
  if kind == 'palette':
    palette_pictures(path, values, DAVIS)
  elif kind == 'npz':
    np.savez(path := tmp_path / 'm.npz', values)
  elif kind in ('npy', 'floats'):
    np.save(path := tmp_path / 'm.npy', values * (1.0 if kind == 'floats' else 1))
  elif kind == 'colours':
    write_folder(path, DAVIS[values])
  else:
    write_folder(path, values.astype(np.uint8 if kind == 'grey' else np.uint16))
  out = masks.read_masks(path, 4, 16, 24, notes=notes)
  np.testing.assert_array_equal(out, values > 0)
  if kind == 'colours':
    with pytest.raises(FaultsError, match=r'not grey or palette pictures with mask.labels'):
      masks.read_masks(path, 4, 16, 24, labels=(1,))
    return
  assert notes == ['has the labels 0, 1, 3; all but 0 are foreground (mask.labels chooses)']
  for labels in ((1,), (3,), (1, 3), (0,)):
    out = masks.read_masks(path, 4, 16, 24, labels=labels)
    np.testing.assert_array_equal(out, np.isin(values, labels))


def test_palettes_of_pictures_that_are_no_labels(tmp_path):
  expected = moving_square()
  # A white background is index 0 of the first, and red is of the second.
  grey, red = np.array([[255] * 3, [0] * 3], np.uint8), np.array([[255, 0, 0], [0] * 3], np.uint8)
  for name, palette in {'grey': grey, 'red': red}.items():
    folder = palette_pictures(tmp_path / name, ~expected, palette)
    np.testing.assert_array_equal(masks.read_masks(folder, 4, 16, 24), expected)


@pytest.mark.parametrize('shade', [0, 255])
def test_transparency_that_varies_is_the_mask(tmp_path, shade):
  expected = moving_square()
  rgba = np.full((*expected.shape, 4), shade, np.uint8)
  rgba[..., 3] = expected * 255
  rgba[2, ..., 3] = 0
  write_folder(tmp_path / 'm', rgba)
  expected[2] = False
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm', 4, 16, 24), expected)


def test_an_opaque_alpha_channel_says_nothing(tmp_path):
  expected = moving_square()
  rgba = np.repeat(expected[..., None], 4, -1).astype(np.uint8) * 255
  rgba[..., 3] = 255
  write_folder(tmp_path / 'm', rgba)
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm', 4, 16, 24), expected)


def test_soft_edges_are_cut_at_half(tmp_path):
  soft = [Image.fromarray(mask).convert('L').resize((96, 64), 2) for mask in moving_square()]
  write_folder(tmp_path / 'm', [np.asarray(mask) for mask in soft])
  out = masks.read_masks(tmp_path / 'm', 4, 64, 96)
  np.testing.assert_array_equal(out, np.stack([np.asarray(mask) > 127.5 for mask in soft]))
  # Resizing overshoots.
  floats = moving_square() * 1.04 - 0.02
  np.save(tmp_path / 'm.npy', floats[:, None])
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm.npy', 4, 16, 24), moving_square())


def test_mask_videos_do_not_fork_after_jax_has_begun(tmp_path, recwarn):
  jax.numpy.zeros(1).block_until_ready()
  frames = np.repeat(moving_square(4, 32, 48)[..., None], 3, -1).astype(np.uint8) * 255
  video.write_mp4(tmp_path / 'm.mp4', frames, 8)
  masks.read_masks(tmp_path / 'm.mp4', 4, 32, 48)
  assert not [warning for warning in recwarn if 'fork' in str(warning.message)]


def test_resize_nearest_by_hand():
  row = np.arange(5)[None]
  # The places 0, 5/3 and 10/3 are rounded down.
  assert resize_nearest(row, 1, 3).tolist() == [[0, 1, 3]]
  assert resize_nearest(row, 2, 8).tolist() == [[0, 0, 1, 1, 2, 3, 3, 4]] * 2
  assert resize_nearest(row.T, 3, 1).ravel().tolist() == [0, 1, 3]
  np.testing.assert_array_equal(resize_nearest(row, 1, 5), row)


def test_other_sizes_are_resized_and_cropped_as_the_clip(tmp_path):
  wide = np.zeros((1, 16, 48), np.uint8)
  wide[:, :8, 16:32] = 255
  write_folder(tmp_path / 'm', wide)
  assert masks.read_masks(tmp_path / 'm', 1, 8, 24)[0, :4, 8:16].all()
  out = masks.read_masks(tmp_path / 'm', 1, 8, 8, fit='crop')
  np.testing.assert_array_equal(out[0], np.repeat([[True], [False]], [4, 4], 0).repeat(8, 1))


def test_masks_and_clip_are_cropped_alike(tmp_path):
  mask = np.zeros((1, 50, 91), np.uint8)
  mask[:, 10:40, 20:70] = 255
  write_folder(tmp_path / 'm', mask)
  clip = video.read_clip(tmp_path / 'm', frames=1, height=48, width=64, fit='crop').frames
  out = masks.read_masks(tmp_path / 'm', 1, 48, 64, fit='crop')
  assert np.mean((clip[..., 0] > 127) != out) < 0.03


def test_pyramid_reads_the_full_size_mask():
  mask = np.zeros((2, 8, 8), bool)
  mask[0, 0, 0] = mask[1, 4, 2] = True
  levels = pyramid(mask, [(8, 8), (4, 4), (2, 2)])
  shapes = {(8, 8): (2, 64, 1), (4, 4): (2, 16, 1), (2, 2): (2, 4, 1)}
  assert {grid: level.shape for grid, level in levels.items()} == shapes
  assert all(v.dtype == bool for v in levels.values())
  # Tokens are row-major.
  assert levels[4, 4][1, :, 0].nonzero()[0].tolist() == [2 * 4 + 1]
  assert levels[2, 2][:, :, 0].tolist() == [[True, False, False, False], [False] * 4]


@pytest.mark.parametrize('value, ground', [(0, 'background'), (1, 'foreground')])
def test_polarity(tmp_path, value, ground):
  np.savez(tmp_path / 'm.npz', np.full((2, 8, 8), value, np.uint8))
  fault = f'{value} in every pixel of every frame .all {ground}; .* 1 or white = foreground'
  with pytest.raises(ValueError, match=fault):
    masks.read_masks(tmp_path / 'm.npz', 2, 8, 8)


def test_one_empty_frame_is_no_fault(tmp_path):
  mask = moving_square()
  mask[2] = False
  np.savez(tmp_path / 'm.npz', mask)
  np.testing.assert_array_equal(masks.read_masks(tmp_path / 'm.npz', 4, 16, 24), mask)


def test_too_few_masks(tmp_path):
  np.savez(tmp_path / 'm.npz', moving_square())
  fault = 'masks has 4 masks, but start=1, frames=4 with stride=1 needs 5'
  with pytest.raises(ValueError, match=fault):
    masks.read_masks(tmp_path / 'm.npz', 4, 16, 24, start=1)


def test_missing_and_unreadable(tmp_path):
  with pytest.raises(FaultsError, match=r'masks is .* does not exist here; accepted: a folder'):
    masks.read_masks(tmp_path / 'no', 1, 8, 8)
  (tmp_path / 'text.mp4').write_text('not a video')
  (tmp_path / 'text.npz').write_text('not an archive')
  (tmp_path / 'empty').mkdir()
  np.savez(tmp_path / 'flat.npz', np.zeros(3))
  np.savez(tmp_path / 'object.npz', np.array([{}], object))
  for name in ('text.mp4', 'text.npz', 'empty', 'flat.npz', 'object.npz'):
    with pytest.raises(ValueError, match='cannot be read'):
      masks.read_masks(tmp_path / name, 1, 8, 8)
  np.savez(tmp_path / 'm.npz', moving_square())
  with pytest.raises(FaultsError, match='frames is 0'):
    masks.read_masks(tmp_path / 'm.npz', 0, 16, 24)


def test_overlay():
  frames = np.full((1, 2, 2, 3), 200, np.uint8)
  mask = np.array([[[True, False], [False, False]]])
  out = masks.overlay(frames, mask, colour=(100, 255, 0))
  assert out.dtype == np.uint8
  assert out[0, 0, 0].tolist() == [150, 227, 100]
  np.testing.assert_array_equal(out[~mask], frames[~mask])
