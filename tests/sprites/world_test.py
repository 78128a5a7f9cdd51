"""Clips of the user's own: the record says when they are outside of the model's world."""

import dataclasses

import numpy as np
import pytest

from uniedit_jax import video
from uniedit_jax.model_config import SMALL
from uniedit_jax.sprites import world
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import Scene


@pytest.fixture
def noise(rng):
  """A clip of no world, of a size that is not the model's."""
  return rng.integers(0, 255, (8, 40, 64, 3)).astype(np.uint8)


def test_a_clip_of_the_world_is_none():
  clip = render(Scene(style='night', motion='jumping'), 64).frames
  assert world.stranger(CONFIG, clip) is None
  assert world.stranger(dataclasses.replace(CONFIG, frames=1), clip[:1]) is None


def test_other_clips_are_told(noise):
  assert 'no object of the sprites world' in world.stranger(CONFIG, noise)
  assert 'no object of the sprites world' in world.stranger(CONFIG, np.zeros_like(noise))


def test_other_models_have_no_world(noise):
  assert world.stranger(SMALL, noise) is None


def test_the_shipped_clip_shows_what_the_configs_say():
  clip, fps = video.read_clip('uniedit_jax/sprites/clip.mp4', frames=16, height=32, width=32)
  exact = render(Scene(motion='moving right')).frames
  assert fps == CONFIG.fps
  # H.264 with colours at half resolution costs little.
  assert 10 * np.log10(255**2 / np.mean((clip.astype(float) - exact) ** 2)) > 40
