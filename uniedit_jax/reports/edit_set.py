"""Tables of a set of edits: mean and interval of every measure, with the sources for comparison.

Motion edits have a separate table, without measures that reward an edit for moving as the source
does.
"""

import json
import math
import re

from etils import epath

from uniedit_jax.metrics.statistics import interval
from uniedit_jax.reports import tables
from uniedit_jax.runtime.faults import line_of
from uniedit_jax.runtime.files import read_json, write_text

TITLES = {'motion': 'Motion edits', 'appearance': 'Structure-preserving edits'}
FILES = 'config', 'metrics'  # what the tables read of an edit
# The fields that identify a source.
CLIP = ('video', 'image', 'generated', 'source_prompt', 'seed', 'clip')
# How the names of measures that punish a change of motion begin.
STRUCTURE = ('source_psnr_db', 'source_ssim', 'source_warp_error', 'clip_source_similarity')
HEAD = """\
Mean of each measure, and the 95 % interval of the mean in brackets: bootstrapped over clips, so
that edits of one clip stay together. "source" is the unedited clip, measured in the same way
against the same prompts: the values of an edit that changes nothing. docs/metrics.md explains the
measures and when they mislead.
"""
LEFT_OUT = """
Left out are measures that ask for the motion and layout of the source, which a motion edit must
change; measures.csv has them.
"""


def write_edit_set(workdir, ids):
  """Writes measures.md and measures.csv of the edits that are finished; returns whether any is.

  The workdir has items/<id>/, as `experiments.batch_edit` leaves it, for all `ids` of the set.
  """
  workdir = epath.Path(workdir)
  done, damaged = [], []
  for name in ids:
    if (workdir / 'items' / name / 'DONE').exists():
      try:
        done.append(read_item(workdir / 'items' / name))
      except ValueError as error:
        damaged.append(f'- {name}: {error}\n')
  if not done:
    return False
  values, counts = {}, {}
  for item in done:
    config = item['config']
    task, clip = config['task'], json.dumps([config[name] for name in CLIP])
    counts[task] = counts.get(task, 0) + 1
    for name, value in item['metrics'].items():
      row, measure = split_measure(name)
      values.setdefault(task, {}).setdefault(measure, {}).setdefault(row, []).append((clip, value))
  rows = [
    {'task': task, 'measure': measure, 'row': row, **_summarise(found)}
    for task, measures in values.items()
    for measure, by_row in measures.items()
    for row, found in by_row.items()
  ]
  tables.write_csv(workdir / 'measures.csv', rows)
  page = f'# {workdir.name}: measures\n\n{len(done)} of {len(ids)} edits are finished.\n\n{HEAD}'
  page += f'\nLeft out are edits with damaged files:\n\n{"".join(damaged)}' if damaged else ''
  for task in sorted(counts, key=list(TITLES).index):
    table = _table([row for row in rows if row['task'] == task], task)
    page += f'\n## {TITLES[task]}: {counts[task]}\n\n{table}'
  write_text(workdir / 'measures.md', page)
  return True


def read_item(folder, names=FILES):
  """What a finished edit says of itself: {name: the object in <folder>/<name>.json}.

  Raises:
    ValueError: a file is missing or damaged.
  """
  found = {}
  for name in names:
    path = folder / f'{name}.json'
    try:
      found[name] = read_json(path)
    except (OSError, ValueError) as error:
      raise ValueError(f'{path.name} cannot be read ({line_of(error)})') from error
  if found['config'].get('task') not in TITLES or not set(CLIP) <= set(found['config']):
    raise ValueError('config.json lacks fields of an edit')
  if not all(
    value is None or isinstance(value, int | float) for value in found['metrics'].values()
  ):
    raise ValueError('metrics.json holds what is no number')
  return found


def split_measure(name):
  """Splits a name in metrics.json into ('edit' or 'source', measure).

  `edit_2_...` and names without such a prefix count as 'edit'.
  """
  found = re.fullmatch(r'(edit|source)_(?:\d+_)?(.+)', name)
  return found.groups() if found else ('edit', name)


def _summarise(values):
  """Numbers, mean and interval of the finite (clip, value); the PSNR of equal clips is infinite."""
  finite = [(clip, value) for clip, value in values if value is not None and math.isfinite(value)]
  if not finite:
    return {'n': 0, 'clips': 0}
  clips, numbers = zip(*finite, strict=True)
  mean, low, high = map(float, interval(numbers, groups=clips))
  summary = {'n': len(finite), 'clips': len(set(clips)), 'mean': mean}
  # One clip says nothing about the spread between clips.
  return summary | {'low': low, 'high': high} if summary['clips'] > 1 else summary


def _table(rows, task):
  """The rows of a task in Markdown, a line a measure."""
  kept = [row for row in rows if task != 'motion' or not row['measure'].startswith(STRUCTURE)]
  by_measure = {}
  for row in kept:
    by_measure.setdefault(row['measure'], {})[row['row']] = row
  lines = [
    [f'`{measure}`', *_cells(found.get('edit')), *_cells(found.get('source'))]
    for measure, found in by_measure.items()
  ]
  text = tables.markdown(['measure', 'edit', 'n', 'source', 'n'], lines)
  return text + (LEFT_OUT if len(kept) < len(rows) else '')


def _cells(row):
  if row is None or not row['n']:
    return '', '' if row is None else '0'
  mean, low, high = (tables.format_number(row.get(name)) for name in ('mean', 'low', 'high'))
  return f'{mean} [{low}, {high}]' if low else mean, str(row['n'])
