"""The tables of `experiments.benchmark`, in Markdown."""

import math
import statistics

from experiments.benchmark.cases import PLANNED
from experiments.benchmark.measure import DISTURBED, is_disturbed, ratio
from experiments.benchmark.sides import OURS
from uniedit_jax.reports import tables

HEADS = (
  'work', 'by', 'seconds (least)', 'ours is faster', 'GFLOP/s', 'of the rate', 'peak, MiB',
  'compile', 'with its cache',
)  # fmt: skip


def lines(results):
  """Yields all tables of a benchmark, the dict of results.json, as lines of Markdown."""
  facts = results['facts']
  names = 'model', 'clip', 'steps', 'dtypes', 'device', 'versions', 'date'
  yield ', '.join(str(facts[name]) for name in names) + '.'
  yield f'Largest rate of a matrix product here: {results["rate"] / 1e9:,.0f} GFLOP/s.'
  if results.get('load'):
    yield _load(results['load'])
  yield f'Disagreement in float32 before anything was timed: {results["disagreement"]:.1e} at most.'
  yield from _table(HEADS, _cases(results))
  yield ''
  yield from _means(results)
  if 'attention' in results:
    heads = ['attention (queries x keys x head dim, dtype)', 'kernel']
    yield from _table(heads, results['attention'].items())
  if results.get('start_up'):
    heads = 'an edit is started', 'seconds to the first step', 'to the end'
    rows = [(name, x['first_step'], x['all']) for name, x in results['start_up'].items()]
    yield from _table(heads, [[name, f'{first:.1f}', f'{end:.1f}'] for name, first, end in rows])
  if results.get('curves'):
    rows = []
    for row in results['curves']:
      memory = f'{row["memory"] / 2**20:.0f}'
      rows.append([row['curve'], str(row['at']), f'{row["seconds"]:.3g}', memory])
    yield from _table(['curve', 'at', 'seconds', 'memory, MiB'], rows)


def _load(load):
  text = f'Load before it began: {load["before"]:.1f} on {load["cores"]} cores'
  others = load['others']
  return f'{text}.' if others is None else f'{text}; others used {others:.0%} of the cores.'


def _table(heads, rows):
  """An empty line, then the lines of a table."""
  return ['', *tables.markdown(heads, rows).splitlines()]


def _cases(results):
  """A row for every variant of every case, in the columns of `HEADS`."""
  for case, variants in results['cases'].items():
    work = f'{case} (disturbed)' if is_disturbed(variants) else case
    for name, measured in variants.items():
      seconds, least = statistics.median(measured['seconds']), min(measured['seconds'])
      ours = variants[OURS + PLANNED * name.endswith(PLANNED)]
      speedup = ratio(ours['seconds'], measured['seconds'])
      rate = measured['flops'] / seconds
      peak, cold, warm = (measured[key] for key in ('peak', 'compile_cold', 'compile_warm'))
      yield [
        work,
        name,
        f'{seconds:.3g} ({least:.3g})',
        '' if name.startswith(OURS) else _range(speedup),
        f'{rate / 1e9:,.0f}',
        f'{rate / results["rate"]:.0%}',
        '' if peak is None else f'{peak / 2**20:.0f}',
        '' if cold is None else f'{cold:.1f}',
        '' if warm is None else f'{warm:.1f}',
      ]


def _range(values):
  median, least, most = values
  return f'{median:.2f} ({least:.2f} to {most:.2f})'


def summary(results):
  """Our speed relative to the fastest PyTorch that computes every row, in undisturbed cases.

  Returns:
    dict: 'equal_rows' {case: at equal rows}, 'losing' those of them below 1, 'geometric_mean' of
    all, or None where more than a third of the cases were disturbed, 'planned' {case: with the
    plan}, 'disturbed' the names of the others.
  """
  equal, planned, disturbed = {}, {}, []
  for case, variants in results['cases'].items():
    if is_disturbed(variants):
      disturbed.append(case)
      continue
    seconds = {name: measured['seconds'] for name, measured in variants.items()}
    peers = [name for name in seconds if not name.startswith(OURS) and not name.endswith(PLANNED)]
    best = min((seconds[name] for name in peers), key=statistics.median)
    equal[case] = ratio(seconds[OURS], best)[0]
    if OURS + PLANNED in seconds:
      planned[case] = ratio(seconds[OURS + PLANNED], best)[0]
  told = equal and 3 * len(disturbed) <= len(results['cases'])
  return {
    'equal_rows': equal,
    'losing': {case: value for case, value in equal.items() if value < 1},
    'geometric_mean': math.exp(statistics.mean(map(math.log, equal.values()))) if told else None,
    'planned': planned,
    'disturbed': disturbed,
  }


def _means(results):
  speeds, fastest = summary(results), 'times as fast as the fastest PyTorch'
  if speeds['disturbed']:
    names = ', '.join(speeds['disturbed'])
    yield f'Disturbed, as repeats differ by more than {DISTURBED} times, and left out: {names}.'
  if speeds['geometric_mean'] is None:
    yield 'No mean: more than a third of the cases was disturbed; measure on an idle machine.'
    return
  yield f'At equal rows ours is {speeds["geometric_mean"]:.2f} {fastest} (geometric mean).'
  losing = ', '.join(f'{case} ({value:.2f})' for case, value in speeds['losing'].items())
  yield f'Slower there: {losing or "nothing"}.'
  for case, value in speeds['planned'].items():
    yield f'With the plan, {case}: {value:.2f} {fastest} that computes every row.'
