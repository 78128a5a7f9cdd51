"""Sweeps: settings side by side are those made alone, values add no program, and nothing finished
is made again.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from configs import ablate_injection, motion
from experiments import edit, sweep
from experiments.requests.edit import read_edit
from experiments.requests.sweep import read_sweep, resolve_sweep
from tests.helpers.tiny_run import SIXTEEN, TINY, config_of, make_folder
from uniedit_jax.media import video
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.sources import read_source
from uniedit_jax.runtime import memory, random_init
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import begin

OFF = (0, 0)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


def run(config, settings, workdir):
  passes = read_sweep(config, settings)
  begin(workdir, resolve_sweep(passes))
  rows = sweep.run(passes, workdir)
  return passes, rows, json.loads((workdir / 'run.json').read_text())


def settings_of(ends):
  return [
    {'structure.steps': (0, end), 'target_prompt': prompt}
    for end in ends
    for prompt in ('a fox', 'a hen')
  ]


@pytest.fixture(scope='module')
def swept(folder):
  """Four settings of a clip, for 3 steps."""
  config = config_of(motion, folder, steps=3, outputs__motion_reference=False)
  return config, *run(config, settings_of((0, 1)), folder / 'swept')


def test_settings_side_by_side_are_those_made_alone(folder, swept):
  config, passes, rows, _ = swept
  assert len(passes) == 1 and list(passes[0].settings) == [0, 1, 2, 3] == [
    row['setting'] for row in rows
  ]
  assert [row['structure.steps'] for row in rows] == [[0, 0], [0, 0], [0, 1], [0, 1]]
  alone = config.copy_and_resolve_references()
  alone.update_from_flattened_dict(settings_of((0, 1))[3])
  wanted = edit.run(read_edit(alone), folder / 'alone')['edit'].astype(int)
  measures = json.loads((folder / 'alone/metrics.json').read_text())
  for name in ('edit_source_psnr_db', 'edit_source_ssim', 'reconstruction_psnr_db'):
    assert rows[3][name] == pytest.approx(measures[name], abs=0.01)
  (together,), log = passes, RunLog()
  model = pipeline_edit.load(config.checkpoint, together.edit.dtype, config.cache, log)
  source = read_source(together.edit)
  (prepared,) = pipeline_edit.prepare(model, [together.edit], [source], log)
  clips, _ = pipeline_edit.make_one(model, together.edit, prepared, log)
  assert np.abs(clips['edit_4'] - wanted).max() <= 1  # another row count rounds differently
  # Files are lossy, but no other setting is as near to its file.
  paths = [folder / f'swept/settings/{i:03d}/edit.mp4' for i in range(4)]
  files = [video.read_clip(path, frames=4, height=64, width=64).frames for path in paths]
  assert np.argmin([np.abs(frames - wanted).mean() for frames in files]) == 3
  assert len({row['edit_source_psnr_db'] for row in rows}) == 4
  lines = (folder / 'swept/results.csv').read_text().splitlines()
  assert lines[0].startswith('setting,pass,structure.steps,target_prompt,') and len(lines) == 5


def test_a_change_of_value_adds_no_program(folder, swept):
  *_, first = swept
  config = config_of(motion, folder, steps=3, outputs__motion_reference=False)
  counts = {
    count for part in first['passes'] for phase in part['phases'] for count in phase['passes']
  }
  _, _, again = run(
    config, [{**s, 'content.blocks': (1, 3)} for s in settings_of((0, 1))], folder / 'again'
  )
  counts_again = {
    count for part in again['passes'] for phase in part['phases'] for count in phase['passes']
  }
  assert (
    counts_again == counts
    and again['compilations'].get('edit', 0) == 0
    and again['inversion_cached']
  )
  assert 'edit' in first['compilations']


def test_settings_that_change_the_source_are_passes_of_their_own(folder):
  config = config_of(motion, folder, source_prompt='a cat')
  settings = [
    {'guidance': scale, 'content.steps': steps} for scale in (3.0, 5.0) for steps in ((0, 2), OFF)
  ]
  passes = read_sweep(config, settings)
  assert [list(one.settings) for one in passes] == [[0, 1], [2, 3]]
  assert [one.edit.request.guidance for one in passes] == [3.0, 5.0]
  seeds = [{'seed': seed} for seed in range(3)]
  assert [list(one.settings) for one in read_sweep(config, seeds)] == [[0], [1], [2]]


def test_masks_that_are_found_for_another_prompt_need_another_pass(folder):
  auto = {'mask__source': 'auto', 'mask__target': 'auto', 'mask__source_prompt': 'a cat'}
  passes = read_sweep(config_of(motion, folder, **auto), settings_of((0, 1)))
  assert len(passes) == 4
  by_content = [{'content.steps': (0, end)} for end in (1, 2)]
  assert len(read_sweep(config_of(motion, folder, **auto), by_content)) == 1


def test_passes_fit_memory_and_are_of_about_the_same_size(folder, monkeypatch):
  config, settings = config_of(motion, folder), [{'target_prompt': f'{i} foxes'} for i in range(12)]
  assert [len(one.settings) for one in read_sweep(config, settings)] == [6, 6]
  monkeypatch.setattr(memory, 'available', lambda: memory.needed(TINY, 17, 4, 64, 64, 'float32'))
  sizes = [len(one.settings) for one in read_sweep(config, settings)]
  assert sum(sizes) == 12 and max(sizes) <= 4 and max(sizes) - min(sizes) <= 1


def test_an_interrupted_sweep_goes_on(folder, monkeypatch):
  config, made = config_of(motion, folder, source_prompt='a cat', inversion__method='ddim'), []
  settings, make = [{'guidance': scale} for scale in (3.0, 5.0, 7.0)], pipeline_edit.make_clips

  def killed_at(count):
    def make_clips(model, edits, *args, **options):
      if len(made) == count:
        raise KeyboardInterrupt
      made.append(edits[0].sampler.guidance)
      return make(model, edits, *args, **options)

    return make_clips

  monkeypatch.setattr(pipeline_edit, 'make_clips', killed_at(2))
  with pytest.raises(KeyboardInterrupt):
    run(config, settings, folder / 'killed')
  assert not (folder / 'killed/results.csv').exists()
  monkeypatch.setattr(pipeline_edit, 'make_clips', killed_at(None))
  _, rows, _ = run(config, settings, folder / 'killed')
  assert made == [3.0, 5.0, 7.0] == [row['guidance'] for row in rows]
  assert all((folder / f'killed/settings/{i:03d}/edit.mp4').exists() for i in range(3))


def test_all_faults_of_all_settings_are_listed(folder):
  settings = [{'structure.step': (0, 1)}, {'structure.steps': (0, 9)}, {}, {'steps': 'many'}]
  with pytest.raises(ValueError) as caught:
    read_sweep(config_of(motion, folder, more_target_prompts=('a hen',)), settings)
  for fault in (
    'more_target_prompts is set',
    "setting 0: 'structure.step' is no field of EditRequest; did you mean 'structure.steps'?",
    'structure.steps is (0, 9)',
    "setting 3: steps is 'many'; accepted: int",
  ):
    assert fault in str(caught.value)
  with pytest.raises(ValueError, match='the sweep has no settings'):
    read_sweep(config_of(motion, folder), [])


def test_sweeps_are_found_in_the_file_of_the_config():
  config = ablate_injection.get_config()
  path = ablate_injection.__file__
  found = sweep.read_settings(path, 't1', config)
  assert found[0] == {'structure.steps': (0, 0)} and found[-1] == {
    'structure.steps': (0, config.steps)
  }
  with pytest.raises(
    ValueError, match=r"sweep is 't2'; accepted with .*: components, structure_end, t1, "
  ):
    sweep.read_settings(path, 't2', config)


def test_the_command_names_the_sweeps_of_a_short_form(tmp_path):
  command = [
    sys.executable,
    '-m',
    'experiments.sweep',
    '--config=configs/ablate_injection.py:quick',
    '--sweep=t2',
  ]
  done = subprocess.run(
    [*command, f'--workdir={tmp_path}'], capture_output=True, text=True, check=False
  )
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  assert done.stderr.startswith(
    "sweep is 't2'; accepted with configs/ablate_injection.py: components, "
  )


@pytest.fixture(scope='module')
def sixteen(folder):
  random_init.init_random(folder / 'sixteen', SIXTEEN)
  return folder / 'sixteen'


@pytest.mark.parametrize('model', ['full', 'quick', 'lavie'])
def test_all_settings_of_the_shipped_sweeps_are_sound(folder, sixteen, model):
  config = ablate_injection.get_config(model)
  if model == 'lavie':
    config.checkpoint, config.video, config.target_prompt = (
      str(sixteen),
      str(folder / 'clip.mp4'),
      'a fox',
    )
  for name in vars(ablate_injection):
    if name.startswith('sweep_'):
      passes = read_sweep(config, list(getattr(ablate_injection, name)(config)))
      assert sum(len(one.settings) for one in passes) >= 4
