"""Measures speed against PyTorch: the same weights and the same work, in turn within one run.

  python -m experiments.benchmark --config=configs/benchmark.py --workdir=out/benchmark

The workdir gets table.md, results.json and curves.png; see configs/benchmark.py and
configs/benchmark_lavie.py.
"""

import sys
import tempfile

import jax
import numpy as np
from etils import epath

from experiments import progress
from experiments.benchmark import cases, curves, measure, report, start
from experiments.benchmark.request import facts, read_benchmark, resolve_benchmark
from experiments.benchmark.sides import OURS, PEER, make_sides, read_params
from experiments.launch import launch
from uniedit_jax.models import attention_kernels
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.files import write_text
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json

AGREE = 1e-3  # max |difference| / standard deviation of ours, in float32
SMALL = 4, 64, 64  # (frames, height, width) on which both sides must agree, at most


def run(config, request, workdir):
  """Checks that both sides agree, then measures everything that the config asks for."""
  workdir, log = epath.Path(workdir), RunLog(announce=progress.announce)
  # The cache starts empty, so that compilation is measured.
  with tempfile.TemporaryDirectory() as cache:
    sharding.set_up_programs(cache, request.dtypes[0])
    with log.phase('load'):
      params = read_params(config, request.model_config)
    results = {'facts': facts(config, request)}

    # Nothing is timed unless both sides agree.
    with log.phase('compare'):
      worst = results['disagreement'] = disagreement(config, request, params)
    if not worst < AGREE:
      sys.exit(f'the two disagree by {worst:.1e}; accepted: less than {AGREE}. Nothing was timed.')

    # The cases, written as they come.
    sides = make_sides(config, request.model_config, params, request.dtypes)
    del params
    results['rate'] = measure.product_rate([sides[name] for name in (OURS, PEER)])
    inputs = cases.draw_inputs(request.model_config, request.clip)
    works = cases.make_cases(request.model_config, inputs, config, request.dtypes[0])
    results['cases'] = {}
    for name, variants in works.items():
      with log.phase(name):
        bar = progress.steps(name, log)
        results['cases'][name] = _measure_case(sides, variants, config.repeats, bar)
        _write(workdir, results)
    results['attention'] = attention_kernels.chosen()

    # Curves and start-up.
    if config.curves:
      with log.phase('curves'):
        bar = progress.steps('curves', log)
        results['curves'] = curves.measure(sides[OURS], request.clip, config.repeats, bar)
      curves.plot(workdir / 'curves.png', results['curves'])
    if config.start_up:
      with log.phase('start-up'):
        results['start_up'] = start.measure()
    _write(workdir, results)
  write_json(workdir / 'run.json', log.as_dict())


def disagreement(config, request, params):
  """The largest disagreement of the sides over all cases, in float32, on a small clip."""
  sides = make_sides(config, request.model_config, params, ('float32', 'float32'))
  inputs = cases.draw_inputs(request.model_config, tuple(map(min, SMALL, request.clip)))
  small, largest = config.copy_and_resolve_references(), 0.0
  with small.unlocked(), jax.default_matmul_precision('highest'):
    small.steps, small.rows, small.null_text = 2, config.rows[-1:], {'steps': 2, 'inner_steps': 2}
    for works in cases.make_cases(request.model_config, inputs, small, 'float32').values():
      for work in works.values():
        ours, *others = (side.get(work.run_on(side)()) for side in sides.values())
        differences = [float(np.abs(ours - other).max() / ours.std()) for other in others]
        largest = max([largest, *differences])
  return largest


def _measure_case(sides, works, repeats, progress):
  """Measures {suffix: `Work`} by every side: {variant: `measure.measure`'s entries, 'flops'}."""
  variants = {
    f'{name}{suffix}': measure.Variant(side, work.run_on(side), work.flops)
    for suffix, work in works.items()
    for name, side in sides.items()
  }
  measured = measure.measure(variants, repeats, progress)
  return {name: found | {'flops': variants[name].flops} for name, found in measured.items()}


def _write(workdir, results):
  write_json(workdir / 'results.json', results | {'summary': report.summary(results)})
  write_text(workdir / 'table.md', '\n'.join(report.lines(results)) + '\n')


if __name__ == '__main__':
  launch(read_benchmark, run, ['table.md', 'results.json'], resolve_benchmark)
