"""Measures speed beside PyTorch: the same weights and the same work, in one run and in turn.

  python -m experiments.benchmark --config=configs/benchmark.py --workdir=out/benchmark

The workdir gets table.md, results.json and curves.png; configs/benchmark.py and
configs/benchmark_lavie.py say more.
"""

import sys
import tempfile

import jax
import numpy as np
from etils import epath

from experiments import progress
from experiments.benchmark import cases, curves, measure, report, start
from experiments.benchmark.request import facts, read_speed, resolve_speed
from experiments.benchmark.sides import OURS, PEER, make_sides, read_params
from experiments.launch import launch
from uniedit_jax.models import attention_kernels
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.files import atomic_file
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json

AGREE = 1e-3  # max |difference| / standard deviation, of both in float32
SMALL = 4, 64, 64  # the clip that both must agree on, where the timed one is no smaller


def run(config, request, workdir):
  """Checks that both sides agree, then measures all that the config asks for."""
  workdir, log = epath.Path(workdir), RunLog(announce=progress.announce)
  with tempfile.TemporaryDirectory() as cache:  # so that compilation is measured
    sharding.set_up_programs(cache, request.dtypes[0])
    with log.phase('load'):
      params = read_params(config, request.model_config)
    results = {'facts': facts(config, request)}
    with log.phase('compare'):
      results['disagreement'] = disagreement(config, request, params)
    if not results['disagreement'] < AGREE:
      sys.exit(
        f'the two disagree by {results["disagreement"]:.1e}; accepted: less than {AGREE}. Nothing was timed.'
      )
    sides = make_sides(config, request.model_config, params, request.dtypes)
    del params
    results['rate'] = measure.product_rate([sides[name] for name in (OURS, PEER)])
    inputs = cases.draw_inputs(request.model_config, request.clip)
    results['cases'] = {}
    for name, works in cases.make_cases(
      request.model_config, inputs, config, request.dtypes[0]
    ).items():
      with log.phase(name):
        variants = {}
        for suffix, work in works.items():
          variants |= {f'{side}{suffix}': one for side, one in _variants(sides, work).items()}
        measured = measure.measure(variants, config.repeats, progress.steps(name, log))
        results['cases'][name] = {
          key: x | {'flops': variants[key].flops} for key, x in measured.items()
        }
        _write(workdir, results)
    results['attention'] = attention_kernels.chosen()
    if config.curves:
      with log.phase('curves'):
        ours = sides[OURS]
        results['curves'] = curves.measure(
          ours, request.clip, config.repeats, progress.steps('curves', log)
        )
      curves.plot(workdir / 'curves.png', results['curves'])
    if config.start_up:
      with log.phase('start-up'):
        results['start_up'] = start.measure()
    _write(workdir, results)
  write_json(workdir / 'run.json', log.as_dict())


def disagreement(config, request, params):
  """The largest disagreement of both sides over all cases, in float32, on a small clip with few
  steps.
  """
  sides = make_sides(config, request.model_config, params, ('float32', 'float32'))
  inputs = cases.draw_inputs(request.model_config, tuple(map(min, SMALL, request.clip)))
  small, largest = config.copy_and_resolve_references(), 0.0
  with small.unlocked(), jax.default_matmul_precision('highest'):
    small.steps, small.rows, small.null_text = 2, config.rows[-1:], {'steps': 2, 'inner_steps': 2}
    for works in cases.make_cases(request.model_config, inputs, small, 'float32').values():
      for work in works.values():
        ours, *others = (one.side.get(one.run()) for one in _variants(sides, work).values())
        largest = max(
          [largest, *(float(np.abs(ours - other).max() / ours.std()) for other in others)]
        )
  return largest


def _variants(sides, work):
  """{name of a side: `speed_measure.Variant`}."""
  return {
    name: measure.Variant(side, work.run_on(side), work.flops) for name, side in sides.items()
  }


def _write(workdir, results):
  write_json(workdir / 'results.json', results | {'summary': report.summary(results)})
  with atomic_file(workdir / 'table.md') as name, open(name, 'w', encoding='utf-8') as file:
    file.write('\n'.join(report.lines(results)) + '\n')


if __name__ == '__main__':
  launch(read_speed, run, ['table.md', 'results.json'], resolve_speed)
