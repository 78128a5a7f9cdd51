"""Workdirs: finished runs stay what they are, unfinished ones keep nothing of another config."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from etils import epath

from uniedit_jax.pipeline.sources import fingerprints
from uniedit_jax.runtime import digests, files
from uniedit_jax.runtime.workdir import begin, mark_done, once

CONFIG = {'video': 'clip.mp4', 'cache': '/a', 'structure': {'steps': (0, 5)}, 'seed': 0}


def finish(folder, config=CONFIG, inputs=None):
  assert begin(folder, config, inputs)
  mark_done(folder)


def test_where_the_cache_lies_and_later_fields_do_not_matter(tmp_path):
  finish(tmp_path)
  assert not begin(tmp_path, {**CONFIG, 'cache': '/b'})
  later = {**CONFIG, 'structure': {'steps': (0, 5), 'shape': 'x'}, 'window': {'frames': None}}
  assert not begin(tmp_path, later)


@pytest.mark.parametrize(
  'change, words',
  [
    ({'seed': 1}, 'differs in seed'),
    ({'structure': {'steps': (0, 6)}}, 'differs in structure.steps'),
    ({'structure': {'steps': (0, 5, 6)}}, 'differs in structure.steps'),
  ],
)
def test_a_finished_run_of_another_config_is_refused(tmp_path, change, words):
  finish(tmp_path)
  with pytest.raises(ValueError, match=f'holds a finished run that {words}; accepted'):
    begin(tmp_path, CONFIG | change)


def test_a_finished_run_of_another_clip_is_refused(tmp_path):
  finish(tmp_path, inputs={'video': 'a', 'mask.source': 'b'})
  assert not begin(tmp_path, CONFIG, {'video': 'a', 'mask.source': 'b'})
  with pytest.raises(ValueError, match=r'but the mask\.source has changed since, but the video'):
    begin(tmp_path, CONFIG, {'video': 'x', 'mask.source': 'y'})


@pytest.mark.parametrize('content', [None, '[]', 'null', '{"a', ''])
def test_a_finished_run_without_its_config_is_refused(tmp_path, content):
  finish(tmp_path)
  (tmp_path / 'config.json').unlink()
  if content is not None:
    (tmp_path / 'config.json').write_text(content)
  with pytest.raises(ValueError, match=r'cannot be compared .*config\.json'):
    begin(tmp_path, CONFIG)


def leave(folder):
  (folder / 'frames').mkdir()
  for name in ('frames/000.png', 'edit.gif', 'edit_2.mp4', 'metrics.json', 'notes.txt', 'own.mp4'):
    (folder / name).touch()


@pytest.mark.parametrize(
  'config, inputs', [(CONFIG | {'seed': 1}, {'video': 'a'}), (CONFIG, {'video': 'b'})]
)
def test_an_unfinished_run_leaves_nothing_to_another_one(tmp_path, config, inputs):
  begin(tmp_path, CONFIG, {'video': 'a'})
  leave(tmp_path)
  assert begin(tmp_path, CONFIG, {'video': 'a'}) and (tmp_path / 'edit.gif').exists()
  assert begin(tmp_path, config, inputs)
  left = {path.name for path in tmp_path.iterdir()}
  assert left == {'config.json', 'inputs.json', 'notes.txt', 'own.mp4'}
  assert json.loads((tmp_path / 'config.json').read_text())['seed'] == config['seed']


def test_an_unfinished_run_may_be_refused_instead(tmp_path):
  begin(tmp_path, CONFIG)
  leave(tmp_path)
  assert begin(tmp_path, CONFIG | {'new': 1}, clears=False)
  with pytest.raises(ValueError, match='an unfinished run that differs in seed'):
    begin(tmp_path, CONFIG | {'seed': 1}, clears=False)
  assert (tmp_path / 'edit.gif').exists()


def test_what_killed_processes_have_left_is_removed_and_no_more(tmp_path):
  ask = 'from uniedit_jax.runtime import files; print(files.unfinished_name("edit.mp4"))'
  dead = subprocess.run([sys.executable, '-c', ask], capture_output=True, text=True, check=True)
  names = [f'.{dead.stdout.strip()}.tmp', f'.x.mp4.{"0a" * 16}.tmp']
  kept = [
    f'.{files.unfinished_name("edit.mp4")}.tmp',
    '.mine.tmp',
    '.elsewhere-1-' + 'f' * 32 + '.tmp',
  ]
  (tmp_path / 'frames').mkdir()
  for name in [*names, *kept, *(f'frames/{name}' for name in names)]:
    (tmp_path / name).touch()
  begin(tmp_path, CONFIG)
  left = {path.name for path in tmp_path.rglob('*') if path.name.endswith('.tmp')}
  assert left == set(kept)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
  synced, sync = [], os.fsync
  monkeypatch.setattr(os, 'fsync', lambda file: synced.append(os.fstat(file).st_size) or sync(file))
  files.write_text(tmp_path / 'a.txt', 'abc')
  assert synced[0] == 3 and len(synced) == 2  # the file, and the folder's entry of it


def test_content_decides_and_is_read_once(tmp_path, monkeypatch):
  clip, mask, cache = tmp_path / 'clip.mp4', tmp_path / 'mask', tmp_path / 'cache'
  clip.write_bytes(b'one')
  mask.mkdir()
  np.save(mask / '0.npy', np.zeros(3))
  tree = {'cache': str(cache), 'a': [{'video': str(clip), 'mask': {'source': str(mask)}}]}
  before = fingerprints(tree)
  assert list(before) == ['a.0.video', 'a.0.mask.source']
  os.utime(clip, (1, 1))
  assert fingerprints(tree) == before
  with monkeypatch.context() as patch:
    patch.setattr(digests.hashlib, 'file_digest', lambda *_: pytest.fail('it is read again'))
    assert fingerprints(tree) == before
  clip.write_bytes(b'two')
  (mask / '.DS_Store').touch()
  after = fingerprints(tree)
  assert [name for name in before if before[name] != after[name]] == ['a.0.video']
  (mask / '1.npy').touch()
  assert fingerprints(tree)['a.0.mask.source'] != before['a.0.mask.source']


@pytest.mark.parametrize('damage', ['', '{"key": "a"', '[]', '{"key": "b", "result": 0}'])
def test_a_damaged_part_is_made_again(tmp_path, damage):
  path, made = epath.Path(tmp_path / 'part.json'), []
  make = lambda: made.append(1) or len(made)
  assert once(path, make, key='a') == once(path, make, key='a') == 1
  path.write_text(damage)
  assert once(path, make, key='a') == once(path, make, key='a') == 2
