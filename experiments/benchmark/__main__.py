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

from experiments.benchmark import cases, curves, measure, report, start
from experiments.benchmark.sides import OURS, PEER, make_sides, read_params
from experiments.launch import launch
from experiments.requests.benchmark import facts, read_benchmark, resolve_benchmark
from uniedit_jax.models import attention_kernels
from uniedit_jax.runtime import progress, sharding
from uniedit_jax.runtime.files import write_text
from uniedit_jax.runtime.workdir import write_json

AGREE = 1e-3  # max |difference| / standard deviation of ours, in float32
SMALL = 4, 64, 64  # (frames, height, width) on which both sides must agree, at most


def run(request, workdir):
  """Checks that both sides agree, then measures everything that the request asks for."""
  workdir, log = epath.Path(workdir), progress.shown_log()
  # The cache starts empty, so that compilation is measured.
  with tempfile.TemporaryDirectory() as cache:
    sharding.set_up_programs(cache, request.dtypes[0])
    with log.phase('load'):
      params = read_params(request)
    load, results = measure.Load(), {'facts': facts(request)}

    # Nothing is timed unless both sides agree.
    with log.phase('compare'):
      worst = results['disagreement'] = disagreement(request, params)
    if not worst < AGREE:
      sys.exit(f'the two disagree by {worst:.1e}; accepted: less than {AGREE}. Nothing was timed.')

    # The cases, written as they come.
    sides = make_sides(request, params, request.dtypes)
    del params
    results['rate'] = measure.product_rate([sides[name] for name in (OURS, PEER)])
    inputs = cases.draw_inputs(request.model_config, request.clip)
    works = cases.make_cases(request, inputs, request.dtypes[0])
    results['cases'] = {}
    for name, variants in works.items():
      with log.phase(name):
        bar = log.steps(name)
        results['cases'][name] = _measure_case(sides, variants, request.repeats, bar)
        results['load'] = load.as_dict()
        _write(workdir, results)
    results['attention'] = attention_kernels.chosen()

    # Curves and start-up.
    if request.curves:
      with log.phase('curves'):
        bar = log.steps('curves')
        results['curves'] = curves.measure(sides[OURS], request.clip, request.repeats, bar)
      curves.plot(workdir / 'curves.png', results['curves'])
    if request.start_up:
      with log.phase('start-up'):
        results['start_up'] = start.measure()
    _write(workdir, results)
  write_json(workdir / 'run.json', log.as_dict())


def disagreement(request, params):
  """The largest disagreement of the sides over all cases, in float32, on a small clip."""
  sides = make_sides(request, params, ('float32', 'float32'))
  inputs = cases.draw_inputs(request.model_config, tuple(map(min, SMALL, request.clip)))
  few = {'steps': 2, 'inner_steps': 2}
  small, largest = request._replace(steps=2, rows=request.rows[-1:], null_text=few), 0.0
  with jax.default_matmul_precision('highest'):
    for works in cases.make_cases(small, inputs, 'float32').values():
      for work in works.values():
        ours, *others = (side.get(work.run_on(side)()) for side in sides.values())
        differences = [float(np.abs(ours - other).max() / ours.std()) for other in others]
        # A NaN must not be lost.
        largest = float(np.max([largest, *differences]))
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
