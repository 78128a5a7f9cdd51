"""The tables of `experiments.benchmark`, in Markdown."""

import math
import statistics

from experiments.benchmark.cases import PLANNED
from experiments.benchmark.measure import ratio
from experiments.benchmark.sides import OURS
from uniedit_jax.reports import tables


def lines(results):
  """All tables of a benchmark.

  Args:
    results: dict of results.json.

  Yields:
    lines of Markdown.
  """
  facts = results['facts']
  yield (
    ', '.join(
      str(facts[name])
      for name in ('model', 'clip', 'steps', 'dtypes', 'device', 'versions', 'date')
    )
    + '.'
  )
  yield f'Largest rate of a matrix product here: {results["rate"] / 1e9:,.0f} GFLOP/s.'
  yield f'Disagreement in float32 before anything was timed: {results["disagreement"]:.1e} at most.'
  yield ''
  yield from _cases(results).splitlines()
  yield ''
  yield from _means(results)
  if 'attention' in results:
    yield ''
    yield from tables.markdown(['attention (queries x keys x head dim, dtype)', 'kernel'], [
      [shape, name] for shape, name in results['attention'].items()
    ]).splitlines()  # fmt: skip
  if results.get('start_up'):
    yield ''
    heads = 'an edit is started', 'seconds to the first step', 'to the end'
    yield from tables.markdown(heads, [
      [name, f'{found["first_step"]:.1f}', f'{found["all"]:.1f}'] for name, found in results['start_up'].items()
    ]).splitlines()  # fmt: skip
  if results.get('curves'):
    yield ''
    yield from tables.markdown(['curve', 'at', 'seconds', 'memory, MiB'], [
      [row['curve'], str(row['at']), f'{row["seconds"]:.3g}', f'{row["memory"] / 2**20:.0f}']
      for row in results['curves']
    ]).splitlines()  # fmt: skip


def _cases(results):
  heads = (
    'work',
    'by',
    'seconds',
    'ours is faster',
    'GFLOP/s',
    'of the rate',
    'peak, MiB',
    'compile',
    'with its cache',
  )
  found = []
  for case, variants in results['cases'].items():
    for name, measured in variants.items():
      seconds = statistics.median(measured['seconds'])
      against = variants[OURS + PLANNED * name.endswith(PLANNED)]
      speed = measured['flops'] / seconds
      found.append([
        *(case, name, f'{seconds:.3g}'),
        '' if name.startswith(OURS) else _range(ratio(against['seconds'], measured['seconds'])),
        *(f'{speed / 1e9:,.0f}', f'{speed / results["rate"]:.0%}'),
        '' if measured['peak'] is None else f'{measured["peak"] / 2**20:.0f}',
        *('' if measured[key] is None else f'{measured[key]:.1f}' for key in ('compile_cold', 'compile_warm')),
      ])  # fmt: skip
  return tables.markdown(heads, found)


def _range(found):
  median, least, most = found
  return f'{median:.2f} ({least:.2f} to {most:.2f})'


def summary(results):
  """What the cases come to.

  Returns:
    dict: 'equal_rows' {case: our speed over the fastest PyTorch's}, 'losing' the cases below 1,
    'geometric_mean' of them, 'planned' {case: our planned speed over the fastest PyTorch's that
    computes every row}.
  """
  equal, planned = {}, {}
  for case, variants in results['cases'].items():
    peers = [
      x for name, x in variants.items() if not name.startswith(OURS) and not name.endswith(PLANNED)
    ]
    best = min(peers, key=lambda x: statistics.median(x['seconds']))
    equal[case] = ratio(variants[OURS]['seconds'], best['seconds'])[0]
    if OURS + PLANNED in variants:
      planned[case] = ratio(variants[OURS + PLANNED]['seconds'], best['seconds'])[0]
  return {
    'equal_rows': equal,
    'losing': {case: value for case, value in equal.items() if value < 1},
    'geometric_mean': math.exp(statistics.mean(map(math.log, equal.values()))),
    'planned': planned,
  }


def _means(results):
  found = summary(results)
  yield f'At equal rows ours is {found["geometric_mean"]:.2f} times as fast as the fastest PyTorch (geometric mean).'
  losing = ', '.join(f'{case} ({value:.2f})' for case, value in found['losing'].items())
  yield f'Slower there: {losing or "nothing"}.'
  for case, value in found['planned'].items():
    yield f'With the plan, {case}: {value:.2f} times as fast as the fastest PyTorch that computes every row.'
