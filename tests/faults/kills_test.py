"""Commands that are killed, or whose disk is full: the same command finishes, and nothing is lost.

Each command is killed ten times at random moments, in as many workdirs as it finishes in between,
and once gets half of the room that it needs.
"""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.tiny_run import make_folder
from uniedit_jax.runtime import checkpoint

pytestmark = pytest.mark.slow
KILLS = 10
# Files that hold seconds, or the ids of processes.
TIMED = re.compile(
  r'run\.json|report\.html|index\.html|summary\.(json|csv)|measures\.md|losses\.png'
)
LEFTOVER = re.compile(r'\.tmp$|\.partial|orbax-checkpoint-tmp|claims/.')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = make_folder(tmp_path_factory)
  line = {'video': str(folder / 'clip.mp4')}
  lines = [{'id': f'edit-{i}', 'target_prompt': f'a fox {i}', **line} for i in range(4)]
  (folder / 'edits.jsonl').write_text('\n'.join(map(json.dumps, lines)))
  return folder


def command_of(name, folder, out):
  """The arguments of python for a command whose result is in `out`."""
  tiny = [
    f'--config.checkpoint={folder}/tiny',
    '--config.steps=2',
    f'--config.cache={folder}/cache',
  ]
  tiny += ['--config.inspect.blocks=(1,3)']
  clip = [f'--config.video={folder}/clip.mp4', '--config.target_prompt=a fox']
  training = ['--config.data.clips=64', '--config.save_minutes=0.02', '--config.look_every=20']
  training += [f'--config.cache={folder}/cache', '--config.stage1.steps=60']
  return {
    'edit': ['experiments.edit', '--config=configs/motion.py', *tiny, *clip, f'--workdir={out}'],
    'batch': [
      'experiments.batch_edit',
      '--config=configs/batch.py',
      *tiny,
      f'--config.manifest={folder}/edits.jsonl',
      f'--workdir={out}',
    ],
    'sweep': [
      'experiments.sweep',
      '--config=configs/ablate_injection.py:quick',
      '--sweep=components',
      f'--config.cache={folder}/cache',
      f'--workdir={out}',
    ],
    'train': [
      'experiments.train',
      '--config=configs/sprites_vae.py:quick',
      *training,
      f'--workdir={out}',
    ],
    'convert': [
      'convert.lavie',
      f'--sd={folder}/published/sd',
      f'--lavie={folder}/published/lavie_base.pt',
      f'--out={out}',
    ],
  }[name]


def start(arguments):
  command = [sys.executable, '-m', *map(str, arguments)]
  return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(arguments):
  run = start(arguments)
  told, _ = run.communicate(timeout=600)
  assert run.returncode == 0, told[-3000:]


def digests(out):
  """{name: sha256} of the files of a result but those that hold times; of a converted checkpoint,
  the sha256 of its parameters, as Orbax writes random names.
  """
  files = [path for path in sorted(out.rglob('*')) if path.is_file()]
  assert not [path for path in files if LEFTOVER.search(str(path.relative_to(out)))]
  if (out / 'unet').is_dir():
    return {'parameters': checkpoint.fingerprint(out, out.parent / 'digests')}
  return {
    str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in files
    if not TIMED.fullmatch(path.name) and 'states' not in path.parts
  }


@pytest.fixture(scope='module', params=['edit', 'batch', 'sweep', 'train', 'convert'])
def whole(request, folder, tmp_path_factory):
  """(name of a command, folder of its result, seconds that it takes where programs are cached)."""
  name, out = request.param, tmp_path_factory.mktemp(request.param)
  if name == 'convert':
    pytest.importorskip('torch')
    finish(['convert.synthetic', '--size=small', f'--out={folder}/published'])
  finish(command_of(name, folder, out / 'warm'))
  began = time.monotonic()
  finish(command_of(name, folder, out / 'whole'))
  return name, out / 'whole', time.monotonic() - began


def test_killed_ten_times_the_result_is_that_of_one_run(folder, tmp_path, whole):
  name, result, seconds = whole
  wanted, rng, tries = digests(result), random.Random(name), 0
  kept = {}  # finished items are not touched again
  for _ in range(KILLS):
    out = tmp_path / f'killed-{tries}'
    run = start(command_of(name, folder, out))
    time.sleep(rng.uniform(0.2, 1) * seconds)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    done = {path: os.stat(path).st_mtime_ns for path in out.glob('**/DONE')}
    assert kept.items() <= done.items()
    kept = done
    last = 'manifest.json' if name == 'convert' else 'DONE'
    if run.returncode == 0 or (out / last).exists():
      assert digests(out) == wanted
      tries, kept = tries + 1, {}
  out = tmp_path / f'killed-{tries}'
  finish(command_of(name, folder, out))
  assert digests(out) == wanted
  assert all(os.stat(path).st_mtime_ns == written for path, written in kept.items())


@pytest.fixture
def disk(tmp_path):
  """A function that mounts a disk of so many bytes, or changes its size."""
  path, mounted = tmp_path / 'disk', []
  path.mkdir()

  def resize(size):
    options = f'{"remount," if mounted else ""}size={size}'
    command = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
      pytest.skip('disks cannot be mounted here')
    mounted.append(size)
    return path

  yield resize
  if mounted:
    subprocess.run(['umount', str(path)], check=True)


def test_on_a_full_disk_one_line_says_so_and_with_room_the_command_goes_on(folder, whole, disk):
  name, result, _ = whole
  needed = sum(path.stat().st_size for path in result.rglob('*') if path.is_file())
  out = disk(needed // 2 // 4096 * 4096) / 'out'
  run = start(command_of(name, folder, out))
  told, _ = run.communicate(timeout=600)
  last = told.strip().splitlines()[-1]
  assert run.returncode == 1 and 'Traceback' not in told, told[-3000:]
  assert str(out) in last and 'full' in last, last
  kept = {path: os.stat(path).st_mtime_ns for path in out.glob('**/DONE')}
  disk(4 * needed + 2**20)
  finish(command_of(name, folder, out))
  assert digests(out) == digests(result)
  assert all(os.stat(path).st_mtime_ns == written for path, written in kept.items())
