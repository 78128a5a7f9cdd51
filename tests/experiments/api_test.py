"""The edit from Python: the same clips as the command's, changes by name, and an interrupt keeps
what is finished.
"""

import re

import numpy as np
import pytest

from configs import motion
from experiments import api, edit, stages
from experiments.requests.edit import read_edit
from tests.helpers.tiny_run import config_of, make_folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


@pytest.fixture(scope='module')
def source(folder):
  config = config_of(motion, folder, source_prompt='a cat')
  return api.invert(api.load(config), config)


@pytest.fixture(scope='module')
def edited(source):
  return api.edit(source)


def test_the_clips_are_those_of_the_command(folder, source, edited):
  wanted = edit.run(source.config, read_edit(source.config), folder / 'command')
  assert edited.clips.keys() == wanted.keys()
  for name, frames in wanted.items():
    np.testing.assert_array_equal(edited.clips[name], frames)
  assert edited.frames is edited.clips['edit'] and source.frames is source.inverted.clips['source']
  assert edited.measures['edit_source_psnr_db'] > 0 and edited.config['structure']['steps'] == (
    0,
    1,
  )


def test_changes_name_fields(source, edited):
  other = api.edit(source, {'target_prompt': 'a hen', 'structure.steps': (0, 2)})
  assert other.config['target_prompt'] == 'a hen' and other.config['structure']['steps'] == (0, 2)
  assert np.any(other.frames != edited.frames)
  np.testing.assert_array_equal(other.clips['reconstruction'], edited.clips['reconstruction'])
  assert source.config.target_prompt == 'a fox'
  with pytest.raises(
    ValueError, match=r"'structure.step' is no field of the config; did you mean 'structure.steps'"
  ):
    api.edit(source, {'structure.step': (0, 1)})
  with pytest.raises(ValueError, match='checkpoint, dtype are'):
    api.edit(source, {'dtype': 'bfloat16'})


def test_a_change_of_the_inversion_inverts_anew(folder, source, monkeypatch):
  prepared, prepare = [], stages.prepare
  monkeypatch.setattr(stages, 'prepare', lambda *args: prepared.append(1) or prepare(*args))
  api.edit(source, {'content.steps': (0, 1)})
  assert not prepared
  changed = {'guidance': 3.0}
  found = api.edit(source, changed)
  assert prepared
  config = config_of(motion, folder, source_prompt='a cat', **changed)
  np.testing.assert_array_equal(
    found.frames, edit.run(config, read_edit(config), folder / 'guided')['edit']
  )


def test_an_interrupt_keeps_what_is_finished(source, monkeypatch):
  make, made = stages.make_clips, []

  def make_clips(*args):
    if len(made) == 2:
      raise KeyboardInterrupt
    made.append(1)
    return make(*args)

  monkeypatch.setattr(stages, 'make_clips', make_clips)
  settings = [{'guidance': scale} for scale in (2.0, 3.0, 4.0)]
  found = api.edits(source, settings)
  assert [one.config['guidance'] for one in found] == [2.0, 3.0]


def test_pages_are_frames_of_their_own(source, edited):
  shown = edited._repr_html_()
  assert (
    shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;') and shown.count('&lt;video ') == 4
  )
  other = api.edit(source, {'structure.steps': (0, 2)})
  page = api.compare([edited, other]).html
  assert page.count('<video ') == 2 + 2
  assert re.findall('<b>(structure.*?)</b>', page) == [
    'structure.steps 0 to 1',
    'structure.steps 0 to 2',
  ]
  assert api.compare([edited, edited]).html.count('<video ') == 4
