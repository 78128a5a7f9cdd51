"""The measures in an edit's metrics.json, depending on the config."""

import json

import pytest

from configs import common, motion
from experiments import edit as edit_command
from experiments.requests.edit import read_edit
from tests.helpers.tiny_clip import NAME, make_clip_model
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.pipeline.edit import EditedClips, PreparedClip
from uniedit_jax.pipeline.sources import read_source
from uniedit_jax.runtime.run_log import RunLog


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = make_folder(tmp_path_factory)
  make_clip_model(folder / 'clip')
  return folder


def config_with_clip(folder, prompt):
  clip = str(folder / 'clip')
  return config_of(motion, folder, metrics__clip=clip, metrics__source_prompt=prompt)


def test_measures_of_clip_and_of_flow_are_left_by_an_edit(folder, tmp_path):
  config = config_with_clip(folder, 'a cat')
  edit, log = read_edit(config), RunLog()
  frames, fps = read_source(edit)
  prepared = PreparedClip(frames, fps, None, round_trip=lambda: frames)
  made = {'source': frames, 'reconstruction': frames, 'edit': frames[:, :, ::-1]}
  with log.phase('write'):
    edit_command.leave_clips(edit, tmp_path, prepared, EditedClips(made, {}))
  measures = json.loads((tmp_path / 'metrics.json').read_text())
  for row in ('edit', 'source'):
    assert measures[f'{row}_clip_frame_consistency_allpairs_{NAME}'] <= 1.000001
    assert 0 <= measures[f'{row}_clip_frame_accuracy_{NAME}'] <= 1
    assert measures[f'{row}_warp_share'] > 0 and measures[f'{row}_motion_magnitude'] >= 0
  assert f'edit_clip_directional_similarity_framemean_{NAME}' in measures
  assert measures['edit_source_ssim'] < 1 and measures['reconstruction_psnr_db'] == float('inf')


def test_the_source_prompt_of_measures_changes_nothing_else(folder):
  config = config_with_clip(folder, 'a cat')
  assert read_edit(config).prompts == read_edit(config_of(motion, folder)).prompts
  assert read_edit(config).metrics_prompt == 'a cat'
  other = read_edit(config_of(motion, folder, source_prompt='a dog'))
  assert other.metrics_prompt == 'a dog'
  assert not common.edit('motion', 'paper').metrics.clip


def test_faults_are_found_before_anything_runs(folder):
  config = config_of(motion, folder, metrics__clip=str(folder / 'tiny'), video='none.mp4')
  with pytest.raises(ValueError) as error:
    read_edit(config)
  message = str(error.value)
  assert 'metrics.clip: ' in message
  assert 'lacks clip; accepted: a folder made by `python -m convert.clip`' in message
  assert 'none.mp4' in message
  with pytest.raises(ValueError, match=r'metrics\.clip: prompt .* accepted: at most 77'):
    read_edit(config_with_clip(folder, 'a' * 90))
