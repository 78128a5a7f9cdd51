"""What is done before the first step of sampling, and what is not: heavy imports, programs compiled
twice.
"""

import json
import subprocess
import sys
import threading
import warnings

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from configs import appearance, motion
from experiments import edit
from experiments.requests.edit import read_edit
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.sources import read_source
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.run_log import PROGRAM_EVENT, RunLog, seconds_of_process

LATE = ('matplotlib', 'optax', 'orbax', 'scipy', 'tensorstore', 'torch', 'transformers')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


@pytest.fixture
def programs():
  """Names of the programs that are compiled, or read from the cache, as they come."""
  names = []
  listen = lambda event, _, fun_name='', **__: (
    names.append(fun_name) if event == PROGRAM_EVENT else None
  )
  jax.monitoring.register_event_duration_secs_listener(listen)
  yield names
  jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize('entry', ['edit', 'sweep', 'batch_edit.__main__', 'evaluate', 'api'])
def test_heavy_libraries_are_imported_where_they_are_used(entry):
  ask = (
    f'import sys, experiments.{entry}; print(*{{name.partition(".")[0] for name in sys.modules}})'
  )
  loaded = subprocess.run(
    [sys.executable, '-c', ask], capture_output=True, text=True, check=True
  ).stdout.split()
  assert 'jax' in loaded and not set(LATE) & set(loaded)


@pytest.fixture
def own_programs(tmp_path):
  """A folder in which programs of this test alone are kept."""
  names = (
    'jax_compilation_cache_dir',
    'jax_persistent_cache_min_compile_time_secs',
    'jax_default_matmul_precision',
  )
  before = {name: getattr(jax.config, name) for name in names}
  compilation_cache.reset_cache()  # another test may have opened one, which a process does once
  try:
    sharding.set_up_programs(tmp_path / 'programs', 'float32')
    yield tmp_path / 'programs'
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()


def compute():
  return np.asarray(jax.jit(lambda x: 3 * x + 1)(np.arange(5)))


def test_small_programs_are_kept_too(own_programs):
  compute()
  assert list(own_programs.glob('*-cache'))


@pytest.mark.parametrize('damage', [lambda data: data[:-9], lambda data: b'', lambda data: b'junk'])
def test_a_damaged_program_is_named_and_made_again(own_programs, damage, caplog):
  compute()
  whole = {path: path.read_bytes() for path in own_programs.glob('*-cache')}
  for path, data in whole.items():
    path.write_bytes(damage(data))
  jax.clear_caches()
  with warnings.catch_warnings():
    warnings.simplefilter('error')  # JAX's own words, which do not name the file
    np.testing.assert_array_equal(compute(), 3 * np.arange(5) + 1)
  assert all(str(path) in caplog.text for path in whole)
  assert all(len(path.read_bytes()) > 10 for path in whole)
  caplog.clear()
  jax.clear_caches()
  compute()
  assert 'damaged' not in caplog.text


@pytest.mark.parametrize(
  'module, changes',
  [
    (
      motion,
      {'inversion__method': 'ddim', 'mask__source': 'source.npz', 'mask__target': 'target.npz'},
    ),
    (appearance, {'generated': True, 'video': '', 'source_prompt': 'a cat', 'rows_per_pass': 3}),
  ],
)
def test_the_first_program_is_ready_before_it_is_needed(folder, programs, module, changes):
  """What is compiled ahead is what sampling asks for: else it would be compiled again."""
  changes = {
    name: str(folder / value) if name.startswith('mask') else value
    for name, value in changes.items()
  }
  config = config_of(module, folder, steps=1, **changes)
  checked, log = read_edit(config), RunLog()
  model = pipeline_edit.load(config.checkpoint, checked.dtype, config.cache, log)
  with pipeline_edit.compiling(checked, model, log):
    (prepared,) = pipeline_edit.prepare(model, [checked], [read_source(checked)], log)
  *earlier, last = (len(rows.branch) for rows in checked.plan.steps[0].passes)
  name, counts = ('jit(predict_rows)', {*earlier}) if earlier else ('jit(move_branches)', {last})
  assert log.compilations['background'] == programs.count(name) == 1
  pipeline_edit.make_clips(model, [checked], [prepared], log)
  assert programs.count(name) == len(counts)


def test_run_json_tells_when_the_first_step_was_done(folder, tmp_path):
  config = config_of(motion, folder)
  checked, before = read_edit(config), seconds_of_process()
  edit.run(checked, tmp_path)
  log = RunLog()
  log.count_step()
  told = json.loads((tmp_path / 'run.json').read_text())['seconds_to_first_step']
  assert 0 < before < told < log.facts['seconds_to_first_step']


def test_seconds_of_a_process_begin_with_it():
  ask = (
    'import time; time.sleep(0.5); from uniedit_jax.runtime import run_log; '
    'print(run_log.seconds_of_process())'
  )
  told = subprocess.run(
    [sys.executable, '-c', ask], capture_output=True, text=True, check=True
  ).stdout
  assert float(told) > 0.5


def test_what_threads_compile_is_no_part_of_a_phase():
  log = RunLog()
  with log.phase('edit'):
    log.on_event(PROGRAM_EVENT, 0.25)
    thread = threading.Thread(target=log.on_event, args=(PROGRAM_EVENT, 3.0))
    thread.start()
    thread.join()
  assert log.compile_seconds == {'edit': 0.25, 'background': 3.0} and log.compilations == {
    'edit': 1,
    'background': 1,
  }
  assert log.compiled == 0.25
