"""Grades of clips against the exact one: each sees its own kind of error, and only that."""

import dataclasses

import numpy as np
import pytest

from uniedit_jax.sprites import grades, reader
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import Bystander, Scene

SCENE = Scene(
  motion='jumping',
  shift=(1.5, -0.5),
  texture=(4, 8),
  bystander=Bystander('blue', 'cross', 'top right'),
)


def graded(scene=SCENE, frames=None):
  """The grades of a clip against that of `SCENE`."""
  frames = render(scene).frames if frames is None else frames
  return grades.grade(frames, reader.read(frames), SCENE, render(SCENE))


def test_the_exact_clip_keeps_everything():
  found = graded()
  assert found['kept'] and found['bystander_right']
  assert found['position_error'] < 0.3
  assert found['texture_correlation'] == 1 and found['light_error'] == 0


@pytest.mark.parametrize('right, down', [(3, 0), (-2.5, 0), (0, 1.5), (1, -1)])
def test_the_position_error_is_the_distance_in_pixels(right, down):
  shift = SCENE.shift[0] + right, SCENE.shift[1] + down
  found = graded(dataclasses.replace(SCENE, shift=shift))
  assert found['position_error'] == pytest.approx(np.hypot(right, down), abs=0.4)
  assert found['kept'] == (np.hypot(right, down) < grades.MOST_POSITION_ERROR)
  assert found['texture_correlation'] > 0.9 and found['bystander_right']


def test_an_object_without_a_path_is_as_far_off_as_any():
  found = graded(frames=render(SCENE).background)
  assert found['position_error'] == reader.REACH and not found['kept']


def test_the_texture_has_to_lie_as_it_did():
  for changed in ({'texture': (8, 8)}, {'background': 'bricks'}):
    found = graded(dataclasses.replace(SCENE, **changed))
    assert found['texture_correlation'] < grades.LEAST_TEXTURE and not found['kept']
  noise = np.random.default_rng(0).normal(0, 12, render(SCENE).frames.shape)
  noisy = np.clip(render(SCENE).frames + noise, 0, 255).astype(np.uint8)
  assert 0.5 < graded(frames=noisy)['texture_correlation'] < 0.95


def test_the_light_is_compared_frame_by_frame():
  found = graded(dataclasses.replace(SCENE, light=(0.8, 0.8)))
  # It is 0.2 too bright at first, and too dark at last.
  assert 0.1 < found['light_error'] < 0.16 and not found['kept']
  assert found['texture_correlation'] > 0.9


@pytest.mark.parametrize(
  'bystander',
  [
    None,
    SCENE.bystander._replace(colour='yellow'),
    SCENE.bystander._replace(shape='bar'),
    SCENE.bystander._replace(corner='bottom left'),
  ],
)
def test_another_bystander_is_wrong(bystander):
  found = graded(dataclasses.replace(SCENE, bystander=bystander))
  assert not found['bystander_right'] and not found['kept']
  assert found['position_error'] < 1


def test_where_nobody_stands_by_nobody_is_asked_for():
  alone = dataclasses.replace(SCENE, bystander=None)
  frames = render(alone)
  assert grades.grade(frames.frames, reader.read(frames.frames), alone, frames)['kept']
