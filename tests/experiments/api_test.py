"""The edit from Python: the same clips as the command's, changes by name, and an interrupt keeps
what is finished.
"""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import uniedit_jax
from configs import motion
from experiments import api
from experiments import edit as edit_command
from experiments.requests.edit import read_edit
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.pipeline import edit as pipeline_edit


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
  wanted = edit_command.run(source.edit, folder / 'command')
  assert edited.clips.keys() == wanted.keys()
  for name, frames in wanted.items():
    np.testing.assert_array_equal(edited.clips[name], frames)
  assert edited.frames is edited.clips['edit'] and source.frames is edited.clips['source']
  assert edited.measures['edit_source_psnr_db'] > 0 and edited.config['structure']['steps'] == (
    0,
    1,
  )


def test_changes_name_fields(source, edited):
  other = api.edit(source, {'target_prompt': 'a hen', 'structure.steps': (0, 2)})
  assert other.config['target_prompt'] == 'a hen' and other.config['structure']['steps'] == (0, 2)
  assert np.any(other.frames != edited.frames)
  np.testing.assert_array_equal(other.clips['reconstruction'], edited.clips['reconstruction'])
  assert source.edit.request.target_prompt == 'a fox'
  with pytest.raises(
    ValueError, match=r"'structure.step' is no field of EditRequest; did you mean 'structure.steps'"
  ):
    api.edit(source, {'structure.step': (0, 1)})
  with pytest.raises(ValueError, match="dtype is 'bfloat16'; accepted: 'float32'"):
    api.edit(source, {'dtype': 'bfloat16'})


def test_a_request_of_another_checkpoint_is_refused(source):
  request = source.edit.request.replace({'checkpoint': 'sprites', 'target_prompt': 'a red square'})
  with pytest.raises(ValueError, match="checkpoint is 'sprites', but another one is loaded, named"):
    api.invert(source.model, request)
  with pytest.raises(ValueError, match="accepted: the loaded one, or load\\('sprites'\\) first"):
    api.edit(source, {'checkpoint': 'sprites', 'target_prompt': 'a red square'})


def test_a_change_of_the_inversion_inverts_anew(folder, source, monkeypatch):
  prepared, prepare = [], pipeline_edit.prepare
  monkeypatch.setattr(pipeline_edit, 'prepare', lambda *args: prepared.append(1) or prepare(*args))
  api.edit(source, {'content.steps': (0, 1)})
  assert not prepared
  changed = {'guidance': 3.0}
  found = api.edit(source, changed)
  assert prepared
  config = config_of(motion, folder, source_prompt='a cat', **changed)
  np.testing.assert_array_equal(
    found.frames, edit_command.run(read_edit(config), folder / 'guided')['edit']
  )


def test_an_interrupt_keeps_what_is_finished(source, monkeypatch):
  make, made = pipeline_edit.make_clips, []

  def make_clips(*args, **options):
    if len(made) == 2:
      raise KeyboardInterrupt
    made.append(1)
    return make(*args, **options)

  monkeypatch.setattr(pipeline_edit, 'make_clips', make_clips)
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
  # Files of a page in memory are gone.
  assert 'config.json' not in page
  assert api.compare([edited, edited]).html.count('<video ') == 4


def test_results_have_a_short_repr(source, edited):
  assert repr(edited).startswith("Edit 'a fox': 4 frames of 64 x 64, ")
  assert repr(source).startswith('Inverted 4 frames of 64 x 64, ')
  assert repr(api.show(edited)).startswith('Page of 0.')


def test_what_is_saved_is_the_folder_of_a_run(edited, tmp_path):
  report = edited.save(tmp_path / 'saved')
  names = {path.name for path in (tmp_path / 'saved').iterdir()}
  assert {'edit.mp4', 'edit.gif', 'source.mp4', 'config.json', 'metrics.json'} < names
  assert report == tmp_path / 'saved/report.html' and 'a fox' in report.read_text()
  page = api.show(edited)
  assert page.save(tmp_path / 'page.html').read_text() == page.html


def test_clips_are_shown_alone_in_a_list_and_by_name(edited):
  for given, labels in (
    (edited.frames, ['clip']),
    (edited, ['edit']),
    ([edited.frames, edited], ['0', '1']),
    ({'a <b>': edited.frames}, ['a &lt;b&gt;']),
  ):
    assert re.findall('<figcaption><b>(.*?)</b>', api.show(given).html) == labels
  for given in ([], {}):
    with pytest.raises(ValueError, match='clips is empty; accepted: u8'):
      api.show(given)
  with pytest.raises(ValueError, match='accepted: uint8'):
    api.show([np.zeros((4, 64, 64, 3))])


def test_frames_in_memory_are_edited_as_their_file_is(folder, source, edited):
  frames = [Image.fromarray(frame) for frame in source.frames]
  for given in (source.frames, frames):
    request = source.edit.request.replace({'video': given})
    found = api.edit(api.invert(source.model, request))
    assert found.clips.keys() == edited.clips.keys()
    for name, clip in found.clips.items():
      np.testing.assert_array_equal(clip, edited.clips[name])
    assert found.measures == edited.measures and found.fps == edited.fps
    assert found.config['video'].startswith('uint8[4, 64, 64, 3] ')


@pytest.mark.parametrize(
  'given, fault',
  [
    (
      np.zeros((4, 64, 64, 3), np.float32),
      r'video is float32\[4, 64, 64, 3\]; accepted: a path, uint8',
    ),
    (np.zeros((3, 64, 64, 3), np.uint8), 'video has 3 frames, but frames=4 with stride=1 needs 4'),
    ([], 'video is no clip'),
    ([Image.new('RGB', (64, 64)), Image.new('RGB', (32, 64))], 'video is no clip'),
  ],
)
def test_faults_of_frames_in_memory(source, given, fault):
  with pytest.raises(ValueError, match=fault):
    api.invert(source.model, source.edit.request.replace({'video': given}))


def test_the_package_has_the_api_and_imports_no_jax_until_it_is_used(tmp_path):
  ask = (
    'import sys, uniedit_jax; assert "jax" not in sys.modules; print(uniedit_jax.__version__); '
    'print(*[callable(getattr(uniedit_jax, name)) for name in uniedit_jax.__all__[:1]]); '
    'from uniedit_jax import *; print(EditRequest.__module__, load.__module__, edit.__name__)'
  )
  path = os.environ | {'PYTHONPATH': str(pathlib.Path(edit_command.__file__).parent.parent)}
  done = subprocess.run(
    [sys.executable, '-c', ask], cwd=tmp_path, env=path, capture_output=True, text=True, check=True
  )
  version, known, loaded = done.stdout.splitlines()
  assert version == uniedit_jax.__version__ and known == 'True'
  assert loaded == 'uniedit_jax.pipeline.request uniedit_jax.api edit'
  assert set(uniedit_jax.__all__) == {
    'EditRequest', '__version__', 'compare', 'edit', 'edits', 'invert', 'load', 'show',
  }  # fmt: skip
  with pytest.raises(AttributeError, match="has no attribute 'inverts'"):
    _ = uniedit_jax.inverts
