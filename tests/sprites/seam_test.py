"""A clip longer than the model's is edited without a seam where windows begin or end."""

import numpy as np
import pytest
from PIL import Image

from configs import sprites_appearance
from experiments import edit
from experiments.requests.edit import read_edit
from uniedit_jax.method.windows import window_starts
from uniedit_jax.sprites import render
from uniedit_jax.sprites.scenes import Scene

FRAMES, WINDOW, OVERLAP = 48, 16, 8
SEAM = 1.5
STARTS = window_starts(FRAMES, WINDOW, OVERLAP)
# The first frames after a change of windows.
BORDERS = sorted({*STARTS[1:].tolist(), *(STARTS[:-1] + WINDOW).tolist()})


def jump(frames, border):
  """The change into a frame over the median of the four changes before and the four after it.

  Changes grow with the light of a clip, so the median over the whole clip would mislead.
  """
  change = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
  around = np.concatenate([change[border - 5 : border - 1], change[border : border + 4]])
  return change[border - 1] / np.median(around)


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
  """A square that spins three times as long as in a clip of 16 frames, and its edit."""
  folder, scene = tmp_path_factory.mktemp('seam'), Scene(motion='spinning')
  pose = render.pose
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(render, 'pose', lambda scene, time: pose(scene, FRAMES / WINDOW * time))
    source = render.render(scene, frames=FRAMES).frames
  (folder / 'source').mkdir()
  for i, frame in enumerate(source):
    Image.fromarray(frame).save(folder / 'source' / f'{i:02d}.png')
  config = sprites_appearance.get_config()
  config.video, config.clip.frames, config.steps = str(folder / 'source'), FRAMES, 6
  config.source_prompt = scene.caption
  config.target_prompt = Scene(motion='spinning', style='night').caption
  config.cache, config.outputs.gif, config.outputs.frames = str(folder / 'cache'), False, False
  assert (config.window.frames, config.window.overlap) == (None, None)
  return edit.run(read_edit(config), folder / 'out')


@pytest.mark.parametrize('name', ['source', 'reconstruction', 'edit'])
def test_no_jump_where_windows_meet(clips, name):
  assert len(clips[name]) == FRAMES and BORDERS == [8, 16, 24, 32, 40]
  jumps = [jump(clips[name], border) for border in BORDERS]
  assert max(jumps) < SEAM, jumps


@pytest.mark.parametrize('name', ['source', 'reconstruction', 'edit'])
def test_a_window_shifted_by_one_frame_would_be_seen(clips, name):
  for border in BORDERS:
    shifted = np.concatenate([clips[name][:border], clips[name][border + 1 :]])
    assert jump(shifted, border) > SEAM


def test_the_edit_is_made(clips):
  # The night is dark.
  assert clips['edit'].mean() < 0.6 * clips['source'].mean()
