"""Clips of the user's own: the record says when they are outside of the model's world."""

import dataclasses

import numpy as np
import pytest

from uniedit_jax.media import video
from uniedit_jax.models.presets import SMALL
from uniedit_jax.pipeline.edit import PreparedClip
from uniedit_jax.sprites import world
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, Scene


@pytest.fixture
def noise(rng):
  """A clip of no world, of a size that is not the model's."""
  return rng.integers(0, 255, (8, 40, 64, 3)).astype(np.uint8)


def prepared(frames, error=0):
  """A `PreparedClip` that the VAE reproduces but for an error in every value."""
  reproduced = np.clip(frames.astype(int) + error, 0, 255).astype(np.uint8)
  return PreparedClip(frames, 8.0, None, round_trip=lambda: reproduced)


def test_clips_of_the_world_raise_no_warning():
  clip = render(Scene(style='night', motion='jumping'), 64).frames
  assert world.warnings(CONFIG, prepared(clip, 5), [Scene().caption]) == []
  still = dataclasses.replace(CONFIG, frames=1)
  assert world.warnings(still, prepared(clip[:1], 5), ['']) == []


def test_clips_that_the_vae_reproduces_badly_or_without_an_object_are_told(noise):
  scene = Scene(motion='jumping')
  clip, empty = render(scene).frames, render(scene).background
  for one in (prepared(clip, 40), prepared(empty), prepared(noise)):
    (warning,) = world.warnings(CONFIG, one, [Scene().caption])
    assert 'nothing of the sprites world' in warning


def test_generated_clips_are_not_looked_at():
  assert world.warnings(CONFIG, PreparedClip(None, 8.0, None), [Scene().caption]) == []


def test_prompts_that_leave_something_out_or_name_two_values_are_told():
  clip = prepared(render(Scene()).frames)
  warnings = lambda prompt: world.warnings(CONFIG, clip, [prompt, '', prompt])
  assert warnings(Scene().caption) == []
  (missing,) = warnings('a red square jumping')
  assert "'a red square jumping' names no size, place, background, style;" in missing
  (twice,) = warnings('a red square jumping and spinning on sand, grass')
  assert 'more than one value of the motion (jumping, spinning) and the background' in twice


def test_other_models_have_no_world(noise):
  assert world.warnings(SMALL, prepared(noise, 40), ['jumping']) == []


def test_the_shipped_clip_shows_what_the_configs_say():
  clip, fps = video.read_clip('uniedit_jax/sprites/clip.mp4', frames=16, height=32, width=32)
  exact = render(Scene(motion='moving right')).frames
  assert fps == CONFIG.fps
  # H.264 with colours at half resolution costs little.
  assert 10 * np.log10(255**2 / np.mean((clip.astype(float) - exact) ** 2)) > 40


def test_prompts_name_attributes_in_the_words_of_captions():
  scene = Scene(style='night', motion='moving right', place='at the top', size='small')
  assert world.named_values(scene.caption) == {name: getattr(scene, name) for name in ATTRIBUTES}
  assert world.named_values('A Red square, jumping') == {
    'colour': 'red',
    'shape': 'square',
    'motion': 'jumping',
  }
  assert world.named_values('redder than bars') == {}


def test_edits_are_judged_by_what_they_show_and_keep():
  source, jumping = Scene(motion='moving right'), Scene(motion='jumping')
  clips = [render(scene).frames for scene in (source, jumping)]
  exact = world.judge(*clips, jumping.caption)
  assert exact['attributes_right'] == 1 and exact['kept_background_psnr_db'] > 40
  unedited = world.judge(clips[0], clips[0], jumping.caption)
  assert unedited['attributes_right'] == pytest.approx(6 / 7, abs=1e-4)
  elsewhere = render(dataclasses.replace(jumping, background='sand')).frames
  moved = world.judge(clips[0], elsewhere, jumping.caption)
  assert moved['attributes_right'] == pytest.approx(6 / 7, abs=1e-4)
  assert moved['kept_background_psnr_db'] < exact['kept_background_psnr_db'] - 10
  assert world.judge(None, clips[1], 'it jumps') == {}
  assert world.judge_of(CONFIG) is world.judge and world.judge_of(SMALL) is None
