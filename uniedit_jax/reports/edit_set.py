"""Tables of a set of edits: means and intervals of every measure, with the sources as the row to
compare with.

Motion edits have a table of their own, without measures that reward an edit for moving as the
source does.
"""

import json
import math
import re

from etils import epath

from uniedit_jax.metrics.statistics import interval
from uniedit_jax.reports import tables
from uniedit_jax.runtime.files import atomic_file

TITLES = {'motion': 'Motion edits', 'appearance': 'Structure-preserving edits'}
# fields that tell sources apart
CLIP = ('video', 'image', 'generated', 'source_prompt', 'seed', 'clip')
# Measures that punish a change of motion; the beginnings of their names.
STRUCTURE = ('source_psnr_db', 'source_ssim', 'source_warp_error', 'clip_source_similarity')
HEAD = """\
Mean of each measure, and the 95 % interval of the mean in brackets: bootstrapped over clips, so that edits of one clip
stay together. "source" is the unedited clip, measured in the same way against the same prompts: what an edit that
changes nothing would have. docs/metrics.md says what the measures are and when they mislead.
"""
LEFT_OUT = """
Left out are measures that ask for the motion and layout of the source, which a motion edit must change; measures.csv
has them.
"""


def write(workdir, ids):
  """Writes measures.md and measures.csv of the edits that are finished.

  Args:
    workdir: path with items/<id>/, as `experiments.batch_edit` leaves it.
    ids: names of all edits of the set.

  Returns:
    Whether there was one.
  """
  workdir = epath.Path(workdir)
  done = [folder for name in ids if ((folder := workdir / 'items' / name) / 'DONE').exists()]
  if not done:
    return False
  values, counts = {}, {}
  for folder in done:
    config = json.loads((folder / 'config.json').read_text())
    task, clip = config['task'], json.dumps([config[name] for name in CLIP])
    counts[task] = counts.get(task, 0) + 1
    for name, value in json.loads((folder / 'metrics.json').read_text()).items():
      row, measure = split(name)
      values.setdefault(task, {}).setdefault(measure, {}).setdefault(row, []).append((clip, value))
  rows = [
    {'task': task, 'measure': measure, 'row': row, **_summary(found)}
    for task, measures in values.items()
    for measure, by_row in measures.items()
    for row, found in by_row.items()
  ]
  tables.write_csv(workdir / 'measures.csv', rows)
  page = f'# {workdir.name}: measures\n\n{len(done)} of {len(ids)} edits are finished.\n\n{HEAD}'
  for task in sorted(counts, key=list(TITLES).index):
    page += f'\n## {TITLES[task]}: {counts[task]}\n\n{_table([row for row in rows if row["task"] == task], task)}'
  with atomic_file(workdir / 'measures.md') as name, open(name, 'w', encoding='utf-8') as file:
    file.write(page)
  return True


def split(name):
  """('edit' or 'source', measure) of a name in metrics.json; all edits of a clip are 'edit', and
  what is of neither.
  """
  found = re.fullmatch(r'(edit|source)_(?:\d+_)?(.+)', name)
  return found.groups() if found else ('edit', name)


def _summary(values):
  """Numbers, mean and interval of those (clip, value) that are finite: the PSNR of equal clips is
  not.
  """
  finite = [(clip, value) for clip, value in values if value is not None and math.isfinite(value)]
  if not finite:
    return {'n': 0, 'clips': 0}
  clips, numbers = zip(*finite, strict=True)
  several = len(set(clips))
  mean, low, high = map(float, interval(numbers, groups=clips))
  between = {'low': low, 'high': high} if several > 1 else {}  # one clip tells nothing of others
  return {'n': len(finite), 'clips': several, 'mean': mean, **between}


def _table(rows, task):
  """The rows of a task in Markdown: a line for each measure."""
  kept = [row for row in rows if task != 'motion' or not row['measure'].startswith(STRUCTURE)]
  by_measure = {}
  for row in kept:
    by_measure.setdefault(row['measure'], {})[row['row']] = row
  lines = ['| measure | edit | n | source | n |', '|---|---|---|---|---|']
  for measure, found in by_measure.items():
    cells = [cell for row in ('edit', 'source') for cell in _cells(found.get(row))]
    lines.append('| ' + ' | '.join([f'`{measure}`', *cells]) + ' |')
  return '\n'.join(lines) + '\n' + (LEFT_OUT if len(kept) < len(rows) else '')


def _cells(row):
  if row is None or not row['n']:
    return '', '' if row is None else '0'
  between = f' [{row["low"]:.4g}, {row["high"]:.4g}]' if 'low' in row else ''
  return f'{row["mean"]:.4g}{between}', str(row['n'])
