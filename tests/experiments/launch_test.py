"""How commands end: one line whatever fails, the traceback in a file, and what is finished."""

import errno
import os
import signal
import subprocess
import sys
import threading
from unittest import mock

import pytest
from etils import epath

from experiments import sweep
from experiments.batch_edit import run as batch_run
from experiments.launch import Stopped, in_one_line
from experiments.train import __main__ as train
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.runtime.files import atomic_file, folder_fault
from uniedit_jax.runtime.run_log import RunLog


def end(error, *args):
  with pytest.raises(SystemExit) as ended, in_one_line(*args):
    raise error
  return ended.value.code


def fail_to_write(folder):
  with atomic_file(folder / 'clip.npz'):
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize(
  'error, words',
  [
    (ValueError('guidance is 0'), 'guidance is 0'),
    (MemoryError(), 'the memory does not suffice (MemoryError); accepted: fewer frames'),
    (RuntimeError('RESOURCE_EXHAUSTED: Out of memory\nwhile'), 'RESOURCE_EXHAUSTED: Out of memory'),
    (RuntimeError('ffmpeg could not write a.mp4: x'), 'ffmpeg could not write a.mp4: x'),
    (ImportError('Please install gcsfs'), "accepted: pip install -e '.[gcs]'"),
    (KeyError('http://'), "'http://' begins no path that can be read; accepted: a local path"),
    (KeyError('a'), "KeyError: 'a'"),
    (PermissionError(13, 'Permission denied', '/x'), '/x: Permission denied'),
  ],
)
def test_a_failure_is_one_line_and_leaves_its_traceback(tmp_path, capsys, error, words):
  assert end(error, epath.Path(tmp_path)) == 1
  told = capsys.readouterr().err
  assert words in told and str(tmp_path / 'error.txt') in told and len(told.splitlines()) == 1
  assert 'Traceback' in (tmp_path / 'error.txt').read_text()
  with in_one_line(epath.Path(tmp_path)):
    pass
  assert not (tmp_path / 'error.txt').exists()


def test_a_full_disk_is_named(tmp_path, capsys):
  with pytest.raises(SystemExit), in_one_line(epath.Path(tmp_path)):
    fail_to_write(tmp_path / 'cache')
  told = capsys.readouterr().err
  assert f'{tmp_path / "cache/clip.npz"}: No space left on device; the disk is full' in told
  assert 'the same command goes on' in told


@pytest.mark.parametrize('error, status', [(KeyboardInterrupt(), 130), (Stopped(), 143)])
def test_a_stop_says_what_is_finished(tmp_path, capsys, error, status):
  assert end(error, epath.Path(tmp_path), lambda: '2 of 5 edits') == status
  assert capsys.readouterr().err == 'stopped: 2 of 5 edits finished; the same command goes on\n'


def test_what_is_finished_is_counted(tmp_path):
  class Part:
    settings, stages, id = range(3), [{'steps': 40}, {'steps': 80}], 'a'
    faulty, items = {'line 2': 'x'}, []

  (tmp_path / 'passes').mkdir()
  (tmp_path / 'passes/001.json').touch()
  assert sweep.finished([Part, Part], tmp_path) == '3 of 6 settings'
  assert train.finished(Part, tmp_path) == '0 of 120 steps'
  for name in ('20', '40', '60.orbax-checkpoint-tmp'):
    (tmp_path / 'states' / name).mkdir(parents=True)
  assert train.finished(Part, tmp_path) == '40 of 120 steps'
  (tmp_path / 'items/a').mkdir(parents=True)
  Part.items = [Part]
  assert batch_run.finished(Part, tmp_path) == '0 of 2 edits'
  (tmp_path / 'items/a/DONE').touch()
  assert batch_run.finished(Part, tmp_path) == '1 of 2 edits'


COMMAND = """
import sys, threading, time
from experiments import launch
from absl import flags
flags.DEFINE_string('workdir', None, 'Folder.')
def main(_):
  with launch.in_one_line(launch.workdir_of(flags.FLAGS['workdir']), lambda: '0 of 1'):
    # As a program that compiles while the next stage fails.
    threading.Thread(target=time.sleep, args=(60,)).start()
    print('begun', flush=True)
    if {fails}:
      raise ValueError('a late fault')
    time.sleep(60)
launch.start(main)
"""


@pytest.mark.parametrize('number, status', [(signal.SIGTERM, 143), (signal.SIGINT, 130), (None, 1)])
def test_a_command_ends_at_once_though_a_thread_compiles(tmp_path, number, status):
  command = [sys.executable, '-c', COMMAND.format(fails=number is None), f'--workdir={tmp_path}']
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  ) as process:
    assert process.stdout.readline() == 'begun\n'
    if number:
      process.send_signal(number)
    told = process.communicate(timeout=30)[1]
  assert process.returncode == status and len(told.splitlines()) == 1
  assert ('a late fault' if number is None else '0 of 1 finished') in told


def test_folders_that_can_be_made_have_no_fault(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for folder in ('.', 'a/b', tmp_path, '~/x', 'gs://box/a'):
    assert folder_fault(folder) == ''
  if os.geteuid():
    tmp_path.chmod(0o500)
    assert 'cannot be written' in folder_fault(tmp_path / 'a')


def test_a_program_that_compiles_ahead_is_no_daemon(monkeypatch):
  """An interpreter that ends while a daemon compiles is aborted."""
  daemons = []
  monkeypatch.setattr(threading.Thread, 'start', lambda self: daemons.append(self.daemon))
  monkeypatch.setattr(threading.Thread, 'join', lambda self: None)
  monkeypatch.setattr(pipeline_edit, 'token_masks', lambda *_: None)
  monkeypatch.setattr(pipeline_edit.jax, 'default_backend', lambda: 'cpu')
  monkeypatch.setattr(pipeline_edit.ahead_of_time, 'lower_first', lambda *_: mock.Mock())
  edit = mock.Mock(search=None, method=None, prompts=())
  with pipeline_edit.compiling(edit, None, RunLog()):
    assert daemons == [False]


FINISHED = """
from absl import flags
from experiments import launch
run = lambda request, workdir: (workdir / 'report.html').write_text('made')
tell = lambda workdir: ['the verdict']
launch.launch(dict, run, ['report.html', 'edit.mp4'], lambda request: request, tell=tell)
"""


def test_a_finished_folder_says_so_and_how_to_make_it_again(tmp_path):
  config = tmp_path / 'config.py'
  config.write_text('import ml_collections\nget_config = ml_collections.ConfigDict\n')
  folder = tmp_path / 'a run'
  command = [sys.executable, '-c', FINISHED, f'--config={config}', f'--workdir={folder}']
  first, second = (
    subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for _ in range(2)
  )
  # A page is an address that a click opens, another file a path.
  assert first == ['the verdict', (folder / 'report.html').as_uri(), str(folder / 'edit.mp4')]
  assert second[1:] == first
  assert 'nothing was done; to make it again, remove the folder' in second[0]
