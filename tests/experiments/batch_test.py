"""Batches: the numbers of single edits, nothing lost whatever happens, and clear words about what
is wrong.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from etils import epath

from configs import batch
from experiments import edit
from experiments.batch_edit import run as batch_run
from experiments.batch_edit import summary
from experiments.requests.batch import read_batch
from experiments.requests.manifest import read_manifest, sound_lines
from tests.helpers import bucket
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.media import video
from uniedit_jax.media.frames import read_image
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.check import check_edit
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.run_log import RunLog

PROMPTS = ('a fox', 'a hen runs', 'a red cat', 'an owl', 'a dog')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The tiny checkpoint, five clips, and a manifest in which prompts, masks, routes and guidance
  differ.
  """
  folder, rng = make_folder(tmp_path_factory), np.random.default_rng(0)
  lines = []
  for i, prompt in enumerate(PROMPTS):
    path = folder / f'clip_{i}.mp4'
    video.write_mp4(
      path, np.repeat(rng.integers(0, 255, (4, 8, 8, 3), np.uint8), 8, axis=1).repeat(8, axis=2), 8
    )
    masks = np.zeros((4, 64, 64), bool)
    masks[:, 8 * i : 8 * i + 24, 16:40] = True
    np.savez(folder / f'mask_{i}.npz', masks=masks)
    sides = dict.fromkeys(('mask.source', 'mask.target'), str(folder / f'mask_{i}.npz'))
    fields = {
      'video': str(path),
      'target_prompt': prompt,
      'content.blocks': [i % 4, 4 - i // 4],
      'guidance': 2.0 + i,
    }
    lines.append({'id': f'edit-{i}', **fields, **sides})
  write_manifest(folder / 'edits.jsonl', lines)
  return folder


def write_manifest(path, lines):
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  return path


def config_for(folder, manifest='edits.jsonl', **changes):
  return config_of(
    batch, folder, video='', target_prompt='', manifest=str(folder / manifest), **changes
  )


def frames_of(path, name='edit'):
  clip = video.read_clip(path / f'{name}.mp4', frames=4, height=64, width=64)
  return clip.frames.astype(int)


@pytest.fixture(scope='module')
def made(folder):
  request = read_batch(config_for(folder))
  assert jax.local_device_count() == 8
  assert batch_run.run(request, folder / 'made') == 0
  summary.write(folder / 'made', [item.id for item in request.items])
  return request


def test_every_edit_is_what_it_is_alone(folder, made, monkeypatch):
  items = made.items
  # padded to the eight devices
  assert [len(chunk) for chunk in batch_run.chunks_of(items, 8)] == [5]
  for item in items:
    alone = edit.run(check_edit(item.edit.request), folder / 'alone' / item.id)
    path = folder / 'made/items' / item.id
    numbers, single = (
      json.loads((p / 'metrics.json').read_text()) for p in (path, folder / 'alone' / item.id)
    )
    assert numbers.keys() == single.keys()
    for name in (
      'edit_source_psnr_db',
      'reconstruction_psnr_db',
      'free_running_reconstruction_psnr_db',
    ):
      assert numbers[name] == pytest.approx(single[name], abs=0.02), (item.id, name)
    pictures = sorted((path / 'frames').iterdir())
    found = np.stack([read_image(picture) for picture in pictures]).astype(int)
    assert np.abs(found - alone['edit']).max() <= 1  # another batch rounds differently
    assert {p.name for p in path.iterdir()} >= {
      p.name for p in (folder / 'alone' / item.id).iterdir()
    } | {'DONE'}
    assert json.loads((path / 'run.json').read_text())['edits_at_once'] == 5
  rows = json.loads((folder / 'made/summary.json').read_text())
  assert '## Motion edits: 5' in (folder / 'made/measures.md').read_text()
  assert (
    rows['counts'] == {'done': 5}
    and 'items/edit-0/report.html' in (folder / 'made/index.html').read_text()
  )


def test_finished_edits_are_left_alone(folder, made, monkeypatch):
  monkeypatch.setattr(batch_run, 'read_items', lambda items: pytest.fail('nothing is left to do'))
  assert batch_run.run(made, folder / 'made') == 0
  changed = read_batch(config_for(folder, seed=2))
  with pytest.raises(ValueError, match='holds a finished run that differs in seed'):
    batch_run.run(changed._replace(items=changed.items[:1]), folder / 'made')


def test_a_broken_edit_is_recorded_and_the_others_are_made(folder, monkeypatch):
  request = read_batch(config_for(folder))
  whole, make = (folder / 'clip_1.mp4').read_bytes(), batch_run.make_items
  (folder / 'clip_1.mp4').write_bytes(whole[:300])  # after it was checked

  def with_nan(items, read, *args):
    found = make(items, read, *args)
    return found | {name: FloatingPointError('not finite') for name in found if name == 'edit-4'}

  monkeypatch.setattr(batch_run, 'make_items', with_nan)
  workdir = folder / 'broken'
  assert batch_run.run(request, workdir) == 2
  summary.write(workdir, [item.id for item in request.items])
  states = {
    row['id']: row['state'] for row in json.loads((workdir / 'summary.json').read_text())['edits']
  }
  assert states == {f'edit-{i}': 'failed' if i in (1, 4) else 'done' for i in range(5)}
  assert (
    json.loads((workdir / 'items/edit-4/error.json').read_text())['kind'] == 'FloatingPointError'
  )
  assert 'not finite' in (workdir / 'index.html').read_text()
  (folder / 'clip_1.mp4').write_bytes(whole)
  monkeypatch.setattr(batch_run, 'make_items', make)
  times = {path: path.stat().st_mtime_ns for path in workdir.glob('items/*/DONE')}
  assert batch_run.run(request, workdir) == 0 and not list(workdir.glob('items/*/error.json'))
  assert all(path.stat().st_mtime_ns == before for path, before in times.items())


def test_values_that_are_not_finite_are_an_error(folder, made):
  items = made.items
  read = batch_run.read_items(items[:2])
  checked, log = read['edit-0'][0], RunLog()
  model = pipeline_edit.load(checked.request.checkpoint, checked.dtype, made.cache, log)
  bad = model.params | {'unet': jax.tree.map(lambda leaf: leaf * np.nan, model.params['unet'])}
  broken = model._replace(params=sharding.replicate(bad, sharding.data_mesh()), hash='broken')
  found = batch_run.make_items(items[:2], read, broken, sharding.data_mesh(), log)
  assert all(isinstance(result, FloatingPointError) for result in found.values())


def test_all_faults_of_a_manifest_are_told_with_their_lines(folder):
  lines = [
    {'id': 'a', 'video': 'none.mp4', 'target_prompt': 'a fox'},
    {'id': 'a', 'video': str(folder / 'clip.mp4'), 'target_prompt': 'a fox'},
    {'id': 'b/c', 'video': str(folder / 'clip.mp4'), 'target_prompt': 'a fox'},
  ]
  path = write_manifest(folder / 'bad.jsonl', lines)
  path.write_text(path.read_text() + '{"id": \n[1]\n')
  with pytest.raises(ValueError) as caught:
    sound_lines(path)
  for fault in (
    "line 2: id is 'a', as in line 1",
    "line 3: id is 'b/c'",
    'line 4: column 8: no JSON',
    'line 5: it is [1]',
  ):
    assert fault in str(caught.value)
  lines[1:] = [
    {
      'id': 'b',
      'video': str(folder / 'clip.mp4'),
      'target_prompt': 'a fox',
      'structure.step': [0, 1],
    },
    {'id': 'c', 'video': str(folder / 'clip.mp4'), 'target_prompt': 'a fox', 'checkpoint': 'other'},
    {'id': 'd', 'video': str(folder / 'clip.mp4'), 'target_prompt': 'a fox'},
  ]
  write_manifest(folder / 'bad.jsonl', lines)
  with pytest.raises(ValueError) as caught:
    read_batch(config_for(folder, 'bad.jsonl'))
  for fault in (
    'line 1 (a): ', "'none.mp4'",
    "line 2 (b): 'structure.step' is no field of EditRequest; did you mean 'structure.steps'?",
    'line 3 (c): checkpoint cannot differ from edit to edit',
  ):  # fmt: skip
    assert fault in str(caught.value)
  del lines[2]
  write_manifest(folder / 'bad.jsonl', lines)
  request = read_batch(config_for(folder, 'bad.jsonl', skip_faulty=True))
  assert [item.id for item in request.items] == ['d'] and list(request.faulty) == ['a', 'b']


def test_csv_says_what_jsonl_says(folder):
  (folder / 'edits.csv').write_text(
    'id,video,target_prompt,structure.steps,guidance\n'
    f'a,{folder / "clip.mp4"},"a fox, running","(0, 1)",3.0\nb,{folder / "clip.mp4"},a hen,,\n'
  )
  given = [item.edit.request for item in read_batch(config_for(folder, 'edits.csv')).items]
  assert [one.target_prompt for one in given] == ['a fox, running', 'a hen']
  assert given[0].structure.steps == (0, 1) and given[1].structure.steps is None
  assert [one.guidance for one in given] == [3.0, 7.5]
  (folder / 'short.csv').write_text('id,video\na\n')
  with pytest.raises(ValueError, match=r'line 2 .a.: 1 cells under 2 heads'):
    sound_lines(folder / 'short.csv')
  for name, why in (
    ('none.jsonl', 'which is no file'),
    ('clip.mp4', 'accepted: a .jsonl or .csv file'),
  ):
    with pytest.raises(ValueError, match=why):
      read_manifest(folder / name)


def command(folder, workdir, *flags):
  fixed = (
    ('task', 'motion'),
    ('cache', folder / 'cache'),
    ('checkpoint', folder / 'tiny'),
    ('steps', 2),
  )
  flags = [*(f'--config.{name}={value}' for name, value in fixed), *flags]
  return [
    sys.executable,
    '-m',
    'experiments.batch_edit',
    '--config=configs/batch.py',
    f'--workdir={workdir}',
    *flags,
  ]


def environment(devices=4):
  """That of the tests with another number of devices, so that programs of the tests serve too."""
  flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}'
  return os.environ | {'XLA_FLAGS': flags}


def test_a_dry_run_tells_what_would_be_done(folder):
  flags = f'--config.manifest={folder / "edits.jsonl"}', '--dry_run'
  done = subprocess.run(
    command(folder, folder / 'dry', *flags), env=environment(), capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert 'bucket 0: 5 edits, 4 at once, 4 frames of 64 x 64' in done.stdout
  assert (
    'edits of each process: [5], in [2] groups' in done.stdout and not (folder / 'dry').exists()
  )


def start(folder, workdir, devices, *flags):
  return subprocess.Popen(
    command(folder, workdir, f'--config.manifest={folder / "edits.jsonl"}', *flags),
    **dict(env=environment(devices), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True),
  )


def start_two(folder, workdir):
  """Two processes of two devices each, joined on this machine."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  flags = f'--config.coordinator={address}', '--config.processes=2'
  return [start(folder, workdir, 2, *flags, f'--config.process={i}') for i in range(2)]


def kill_after_another_edit(run, workdir, seed):
  """Kills a process at a random moment after it, or another, has finished one more edit; returns
  what is finished.
  """
  count = lambda: len(list(workdir.glob('items/*/DONE')))
  deadline, before = time.monotonic() + 300, count()
  while run.poll() is None and count() == before and time.monotonic() < deadline:
    time.sleep(0.01)
  time.sleep(random.Random(seed).uniform(0, 0.5))
  run.kill()
  run.wait()
  return {path: path.stat().st_mtime_ns for path in workdir.glob('items/*/DONE')}


def assert_made_as(folder, name):
  """A batch on other devices, processes or in several starts has the clips of `made`."""
  assert len(list((folder / name).glob('items/*/DONE'))) == 5
  for i in range(5):
    # Not the mp4: from pixels that differ by one in some places, an encoder may make clips that
    # differ more.
    paths = (folder / which / f'items/edit-{i}/frames' for which in ('made', name))
    clips = (video.read_clip(path, frames=4, height=64, width=64) for path in paths)
    wanted, found = (clip.frames.astype(np.int32) for clip in clips)
    assert np.abs(wanted - found).max() <= 1


def test_killed_at_any_moment_the_same_command_finishes_the_rest(folder, made):
  """One process is killed; of two that go on, one; eight devices of one make what is left."""
  workdir = folder / 'killed'
  # As many devices as later, whose programs are then there.
  finished = kill_after_another_edit(start(folder, workdir, 2), workdir, seed=0)
  assert 0 < len(finished) < 5
  stays, dies = start_two(folder, workdir)
  later = kill_after_another_edit(dies, workdir, seed=1)
  assert finished.items() <= later.items()  # none is made again
  _, errors = stays.communicate(timeout=300)
  assert stays.returncode == 0, errors[-2000:]  # it has made its own edits
  last = start(folder, workdir, 8)
  _, errors = last.communicate(timeout=300)
  assert last.returncode == 0, errors[-2000:]
  assert all(path.stat().st_mtime_ns == written for path, written in later.items())
  assert_made_as(folder, 'killed')


def test_processes_share_the_edits_and_wait_for_nobody(folder, made):
  for run in start_two(folder, folder / 'two'):
    _, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors[-2000:]
  assert json.loads((folder / 'two/summary.json').read_text())['counts'] == {'done': 5}
  for i in range(5):
    assert json.loads((folder / f'two/items/edit-{i}/run.json').read_text())['process'] == i % 2
  assert_made_as(folder, 'two')


def test_everything_but_the_checkpoint_may_be_remote(folder, made):
  before = jax.config.jax_compilation_cache_dir
  with bucket.opened():
    there, lines = epath.Path('gs://box/in'), []
    for line in map(json.loads, (folder / 'edits.jsonl').read_text().splitlines()[:2]):
      for name in ('video', 'mask.source', 'mask.target'):
        local = epath.Path(line[name])
        line[name] = str(there / local.name)
        (there / local.name).write_bytes(local.read_bytes())
      lines.append(line)
    lines.append(lines[0] | {'id': 'missing', 'video': 'gs://box/in/none.mp4'})
    write_manifest(there / 'edits.jsonl', lines)
    places = {'manifest': 'gs://box/in/edits.jsonl', 'cache': 'gs://box/cache', 'skip_faulty': True}
    config = config_of(batch, folder, video='', target_prompt='', **places)
    request = read_batch(config)
    assert "'gs://box/in/none.mp4', which does not exist here" in request.faulty['missing']
    workdir = epath.Path('gs://box/out')
    assert batch_run.run(request, workdir) == 0
    summary.write(workdir, [item.id for item in request.items])
    for item in request.items:
      path = folder / 'made/items' / item.id
      found = {file.name for file in (workdir / 'items' / item.id).iterdir()}
      assert found == {file.name for file in path.iterdir()}
      near = folder / 'fetched' / item.id
      near.mkdir(parents=True)
      (near / 'edit.mp4').write_bytes((workdir / 'items' / item.id / 'edit.mp4').read_bytes())
      assert np.abs(frames_of(near) - frames_of(path)).mean() < 1
    assert 'items/edit-0/edit.mp4' in (workdir / 'index.html').read_text()
    assert list(epath.Path('gs://box/cache/inversions').iterdir())
    assert batch_run.run(request, workdir) == 0  # finished
  jax.config.update('jax_compilation_cache_dir', before)


def test_a_full_disk_stops_cleanly(folder, tmp_path):
  disk = tmp_path / 'disk'
  disk.mkdir()
  mounted = shutil.which('mount') and subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', 'size=160k', 'tmpfs', str(disk)],
    capture_output=True,
    check=False,
  )
  if not mounted or mounted.returncode:
    pytest.skip('no tmpfs can be mounted here')
  try:
    flag = f'--config.manifest={folder / "edits.jsonl"}'
    done = subprocess.run(
      command(folder, disk / 'run', flag), env=environment(2), capture_output=True, text=True
    )
    assert done.returncode == 1 and 'Traceback' not in done.stderr.splitlines()[-1]
    for path in (disk / 'run').glob('items/*/DONE'):
      assert frames_of(path.parent).shape == (4, 64, 64, 3)
    assert len(list((disk / 'run').glob('items/*/DONE'))) < 5
  finally:
    subprocess.run(['umount', str(disk)], check=True)
