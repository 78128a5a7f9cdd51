"""The renderer: the same bytes everywhere, masks, motions, styles and sizes."""

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest

from uniedit_jax.sprites.render import EXTENT, JUMP, PLACE, RADIUS, TRAVEL, light, render
from uniedit_jax.sprites.scenes import ATTRIBUTES, TEXTURE_PERIOD, Scene, random_scene

DIGEST = '71cd6f612292c032dea08e5cef3478ff39ec4ddba07eabc40155b6fcfa180a96'


def sample():
  """Eight scenes that have every value of every attribute."""
  scenes = []
  for i in range(max(map(len, ATTRIBUTES.values()))):
    row = {name: values[i % len(values)] for name, values in ATTRIBUTES.items()}
    scenes.append(Scene(**row, shift=(0.25 * i, 0.5 - 0.1 * i), texture=(i, 15 - 2 * i)))
  return scenes


def dilated(masks, pixels):
  for _ in range(pixels):
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    masks = windows.any((-2, -1))
  return masks


def centres(masks):
  """(x, y) of the mask of every frame, f[F, 2]."""
  y, x = np.mgrid[: masks.shape[1], : masks.shape[2]] + 0.5
  area = masks.sum((1, 2))
  return np.stack([(masks * x).sum((1, 2)), (masks * y).sum((1, 2))], 1) / area[:, None]


def test_bytes_are_the_same_everywhere():
  digest = hashlib.sha256()
  for scene, size in itertools.product(sample(), (32, 64)):
    for array in render(scene, size, frames=4):
      digest.update(np.ascontiguousarray(array))
  assert digest.hexdigest() == DIGEST


def test_shapes_and_dtypes():
  frames, masks, background = render(Scene(), size=48, frames=5)
  assert (frames.shape, frames.dtype) == ((5, 48, 48, 3), np.uint8)
  assert (masks.shape, masks.dtype) == ((5, 48, 48), bool)
  assert (background.shape, background.dtype) == ((5, 48, 48, 3), np.uint8)


@pytest.mark.parametrize('scene', sample(), ids=lambda scene: scene.caption)
def test_larger_frames_show_the_same_scene(scene):
  small, large = render(scene, 32, 4), render(scene, 128, 4)
  averaged = lambda x: x.reshape(4, 32, 4, 32, 4, -1).mean((2, 4))
  # The ink of a sketch depends on the size of a pixel, most of all on sand, whose waves are four
  # units long.
  most = 20 if scene.style == 'sketch' else 3
  assert np.abs(averaged(large.frames) - small.frames).mean() < most
  covered = averaged(large.masks)[..., 0]
  # A mask has the pixels whose middle is covered; a corner of 60 degrees there covers a sixth.
  assert small.masks[covered > 5 / 6].all()
  assert not small.masks[covered < 0.15].any()


@pytest.mark.parametrize('style', ATTRIBUTES['style'])
def test_masks_are_where_the_object_is(rng, style):
  for scene in (dataclasses.replace(random_scene(rng), style=style) for _ in range(20)):
    frames, masks, background = render(scene)
    differs = (frames != background).any(-1)
    # Masks leave out edges that cover less than half of a pixel: two pixels at the tip of a
    # triangle, else one. The ink of a sketch spreads by one more.
    reach = 1 + (scene.shape == 'triangle') + (style == 'sketch')
    assert not differs[~dilated(masks, reach)].any(), scene
    assert differs[masks].all(), scene


def test_standing_still():
  masks = render(Scene(motion='standing still')).masks
  assert (masks == masks[0]).all()


def test_light_rises(rng):
  for _ in range(10):
    frames, _, background = render(random_scene(rng))
    lights = light(16)[:, None, None, None]
    # The tolerance is half a step of rounding on both sides.
    last = np.broadcast_to(background[-1], background.shape)
    np.testing.assert_allclose(background / lights, last, atol=1.5)
    assert (np.diff(frames.mean((1, 2, 3))) > 0).all()


@pytest.mark.parametrize(
  'motion, way',
  [('moving left', (-1, 0)), ('moving right', (1, 0)), ('rising', (0, -1)), ('falling', (0, 1))],
)
def test_straight_motions(motion, way):
  steps = np.diff(centres(render(Scene(motion=motion, size='small'), 64).masks), axis=0)
  expected = np.broadcast_to(np.array(way) * TRAVEL * 64 / EXTENT / 15, (15, 2))
  # Masks have whole pixels.
  np.testing.assert_allclose(steps, expected, atol=1)
  np.testing.assert_allclose(steps.sum(0), expected.sum(0), atol=1)


def test_jumping_goes_up_twice_and_returns():
  x, y = centres(render(Scene(motion='jumping'), frames=17).masks).T
  np.testing.assert_allclose(x, EXTENT / 2, atol=0.1)
  np.testing.assert_allclose(y[[0, 8, 16]], EXTENT / 2, atol=0.1)
  np.testing.assert_allclose(y[[4, 12]], EXTENT / 2 - JUMP, atol=0.1)
  assert (y <= EXTENT / 2 + 0.1).all()


@pytest.mark.parametrize('shape', ATTRIBUTES['shape'])
def test_spinning_turns_and_keeps_the_area(shape):
  masks = render(Scene(motion='spinning', shape=shape), 128).masks
  assert all((now != before).any() for before, now in itertools.pairwise(masks))
  areas = masks.sum((1, 2))
  np.testing.assert_allclose(areas, areas.mean(), rtol=0.05)
  np.testing.assert_allclose(centres(masks), np.full((16, 2), 64), atol=0.5)


def test_growing():
  areas = render(Scene(motion='growing'), 128).masks.sum((1, 2))
  assert (np.diff(areas) >= 0).all()
  assert areas[-1] / areas[0] == pytest.approx((1.3 / 0.5) ** 2, rel=0.1)


def test_sizes_and_places():
  areas = {size: render(Scene(size=size), 128, 2).masks[0].sum() for size in ATTRIBUTES['size']}
  expected = (RADIUS['big'] / RADIUS['small']) ** 2
  assert areas['big'] / areas['small'] == pytest.approx(expected, rel=0.1)
  for place, y in PLACE.items():
    centre = centres(render(Scene(place=place, shift=(2.0, -1.0)), frames=2).masks)[0]
    np.testing.assert_allclose(centre, (EXTENT / 2 + 2, EXTENT / 2 + y - 1), atol=0.1)


def test_a_style_changes_the_whole_frame(rng):
  for _ in range(10):
    scene = random_scene(rng)
    scenes = [dataclasses.replace(scene, style=style) for style in ATTRIBUTES['style']]
    pictures = [render(scene).frames[-1:] for scene in scenes]
    for one, other in itertools.combinations(pictures, 2):
      assert (np.abs(one.astype(int) - other).max(-1) > 8).mean() > 0.95, scene


@pytest.mark.parametrize('background', ATTRIBUTES['background'])
def test_textures_repeat_and_move(background):
  scenes = [Scene(background=background, texture=texture) for texture in ((0, 0), (3, 5))]
  here, there = (render(scene, frames=2).background[-1] for scene in scenes)
  np.testing.assert_array_equal(here, np.roll(here, (TEXTURE_PERIOD, TEXTURE_PERIOD), (0, 1)))
  np.testing.assert_array_equal(there, np.roll(here, (-5, -3), (0, 1)))
