"""The benchmark refuses to time sides that disagree, and reports what it measured."""

import importlib
import json
import os
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import benchmark as benchmark_config
from configs import benchmark_lavie
from tests.helpers import tiny_run
from uniedit_jax.runtime import random_init

pytestmark = pytest.mark.parity


@pytest.fixture(scope='module')
def speed():
  """The modules of `experiments.benchmark` as attributes; `main` is the command."""
  pytest.importorskip('torch')
  names = 'cases', 'curves', 'measure', 'report', 'sides'
  modules = {name: importlib.import_module(f'experiments.benchmark.{name}') for name in names}
  main = importlib.import_module('experiments.benchmark.__main__')
  request = importlib.import_module('experiments.requests.benchmark')
  return types.SimpleNamespace(main=main, request=request, **modules)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('speed')
  random_init.init_random(folder / 'tiny', tiny_run.TINY)
  return folder


def config_of(folder, **changes):
  config = benchmark_config.get_config()
  small = {'checkpoint': str(folder / 'tiny'), 'steps': 2, 'repeats': 1, 'rows': (1, 2)}
  small |= {'null_text.steps': 1, 'null_text.inner_steps': 1, 'curves': False, 'start_up': False}
  small |= {name.replace('__', '.'): value for name, value in changes.items()}
  with config.unlocked():
    config.update_from_flattened_dict(small)
  return config


def run(speed, config, workdir):
  speed.main.run(speed.request.read_benchmark(config), workdir)
  return json.loads((workdir / 'results.json').read_text())


def test_all_cases(speed, folder, tmp_path, monkeypatch):
  for name, few in (('ROWS', (1, 2)), ('STEPS', (2,)), ('EDITS', (1, 2)), ('SHARES', (0.5, 1.0))):
    monkeypatch.setattr(speed.curves, name, few)
  results = run(speed, config_of(folder, curves=True), tmp_path)
  assert 0 < results['disagreement'] < 1e-3 and results['rate'] > 0
  plain = {'UNet step, rows: 1', 'UNet step, rows: 2', 'DDIM inversion', 'null-text optimisation'}
  plain |= {'VAE, encode', 'VAE, decode'}
  edits = {'appearance edit', 'motion edit', 'frames to edited frames'}
  equal, planned = {'ours', 'PyTorch'}, {'ours, planned', 'PyTorch, planned'}
  expected = dict.fromkeys(plain, equal) | dict.fromkeys(edits, equal | planned)
  assert {name: set(variants) for name, variants in results['cases'].items()} == expected
  for variants in results['cases'].values():
    assert variants['ours']['flops'] == variants['PyTorch']['flops'] > 0
    for name, measured in variants.items():
      assert len(measured['seconds']) == 1 and measured['seconds'][0] > 0
      assert measured['compile_cold'] >= 0
      assert (measured['compile_warm'] is not None) == name.startswith('ours')
  one, two = (results['cases'][f'UNet step, rows: {rows}']['ours']['flops'] for rows in (1, 2))
  assert two == 2 * one == results['cases']['DDIM inversion']['ours']['flops']
  edit = results['cases']['appearance edit']
  assert edit['ours, planned']['flops'] < edit['ours']['flops'] == 8 * one
  assert {row['curve'] for row in results['curves']} == set(speed.curves.AXES)
  memory = {(row['curve'], row['at']): row['memory'] for row in results['curves']}
  assert memory['rows', 2] > memory['rows', 1] and memory['edits', 2] > memory['edits', 1]
  assert (tmp_path / 'curves.png').read_bytes()[1:4] == b'PNG'
  table = (tmp_path / 'table.md').read_text()
  assert '| motion edit | PyTorch, planned |' in table and 'geometric mean' in table


def test_nothing_is_timed_where_both_disagree(speed, folder, tmp_path, monkeypatch):
  step = speed.sides.Peer.step
  monkeypatch.setattr(speed.sides.Peer, 'step', lambda *args: 1.01 * step(*args))
  message = r'the two disagree by .*; accepted: less than 0.001. Nothing was timed'
  with pytest.raises(SystemExit, match=message):
    run(speed, config_of(folder, cases=('unet',)), tmp_path)
  assert not (tmp_path / 'results.json').exists()


def test_all_faults_are_listed(speed, folder):
  config = config_of(folder, steps=0, cases=('unet', 'magic'), rows=(0,), clip__height=60)
  with pytest.raises(ValueError) as caught:
    speed.request.read_benchmark(config)
  height = 'clip.height is 60; accepted: a positive multiple of 8'
  for part in ('steps is 0', 'cases is (', 'rows is (0,)', height):
    assert part in str(caught.value)
  sprites = benchmark_config.get_config()
  sprites.clip.frames = 17
  with pytest.raises(ValueError, match=r'clip.frames is 17; accepted: at most 16'):
    speed.request.read_benchmark(sprites)
  assert speed.request.read_benchmark(benchmark_config.get_config()).clip == (16, 32, 32)


def test_both_compute_on_the_same_kind_of_device(speed, monkeypatch):
  monkeypatch.setattr(speed.request.torch.cuda, 'is_available', lambda: True)
  message = 'JAX computes on cpu, PyTorch on gpu; accepted: both on a GPU or both on a CPU'
  with pytest.raises(ValueError, match=message):
    speed.request.read_benchmark(benchmark_config.get_config())


def test_lavie_is_the_default_of_a_benchmark_without_a_checkpoint(speed):
  config = benchmark_lavie.get_config()
  config.peer_dtype = ''
  request = speed.request.read_benchmark(config)
  assert request.clip == (16, 320, 512)
  assert request.model_config.unet.channels == (320, 640, 1280, 1280)


def test_the_summary_of_the_cases(speed):
  seconds = {
    'a': {'ours': (1, 1, 1), 'PyTorch': (4, 4, 4), 'PyTorch, compiled': (2, 2.5, 2)},
    'b': {'ours': (4, 4, 4), 'ours, planned': (1, 1, 1), 'PyTorch': (2, 2, 2)},
  }
  others = {'flops': 1.0, 'peak': None, 'compile_cold': 1, 'compile_warm': None}
  measured = lambda case: {name: {'seconds': x, **others} for name, x in case.items()}
  found = speed.report.summary({'cases': {name: measured(case) for name, case in seconds.items()}})
  assert found['equal_rows'] == {'a': 2, 'b': 0.5} and found['losing'] == {'b': 0.5}
  assert found['geometric_mean'] == pytest.approx(1) and found['planned'] == {'b': 2}
  assert speed.measure.ratio((1, 2, 4), (2, 2, 2)) == (1, 0.5, 2) and not found['disturbed']


def test_a_disturbed_case_is_marked_and_left_out_of_the_mean(speed):
  others = {'flops': 1.0, 'peak': None, 'compile_cold': 1, 'compile_warm': None}
  quiet, loud = (1.0, 1.2), (1.0, 1.4)
  of = lambda peer: {
    name: {'seconds': x, **others} for name, x in (('ours', quiet), ('PyTorch', peer))
  }
  many = {'cases': {f'{i}': of(quiet) for i in range(4)} | {'last': of(loud)}}
  found = speed.report.summary(many)
  assert found['disturbed'] == ['last'] and 'last' not in found['equal_rows']
  assert found['geometric_mean'] == pytest.approx(1)
  few = {'cases': {'first': of(quiet), 'last': of(loud)}}
  assert speed.report.summary(few)['geometric_mean'] is None
  facts = dict.fromkeys(('model', 'clip', 'steps', 'dtypes', 'device', 'versions', 'date'), 'x')
  load = {'before': 1.5, 'others': 0.25, 'cores': 2}
  rest = {'facts': facts, 'rate': 1e9, 'disagreement': 1e-6, 'load': load}
  text = '\n'.join(speed.report.lines(few | rest))
  for words in ('| last (disturbed) |', 'left out: last.', 'No mean', '1.5 on 2 cores', '25% of'):
    assert words in text
  assert 'times as fast' not in text and '(geometric' not in text


def test_the_load_of_others_is_measured(speed):
  load, own = speed.measure.Load(), time.process_time()
  began = time.monotonic()
  while time.monotonic() < began + 0.5:
    pass
  # This process's own work is none of it; the system counts in hundredths of a second.
  share = (time.process_time() - own) / (time.monotonic() - began) / os.cpu_count()
  assert 0 <= load.as_dict()['others'] < 1 - share + 0.1


def test_peak_memory_is_that_of_the_run(speed):
  """Memory that the allocator kept from an earlier run does not hide that of a later one."""
  side = type('Side', (), {'ours': True, 'wait': lambda self, x: jax.block_until_ready(x)})()
  product = jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x))
  x = jnp.ones((3000, 3000))
  held = lambda run: speed.measure.peak_memory(speed.measure.Variant(side, run, 0))
  held(lambda: product(x))
  for _ in range(2):
    assert 1e8 < held(lambda: product(x)) < 2e8
    assert 1.9e8 < held(lambda: np.ones(200_000_000, np.uint8).sum()) < 3e8
