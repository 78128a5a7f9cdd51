"""The plan of a batch before it runs, and the summary of its results."""

import collections
import contextlib

from etils import epath

from uniedit_jax.reports import edit_set, page, tables
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.files import read_json
from uniedit_jax.runtime.workdir import write_json


def plan(batch, chunks, processes):
  """Describes a run in text: its buckets, programs and memory, and the edits of each process.

  `chunks`: (items, size) -> list of lists of items that are made at once.
  """
  items, size = batch.items, sharding.data_mesh().size * batch.per_device
  lines, buckets, programs = [], collections.defaultdict(list), set()
  for item in items:
    buckets['alone' if item.edit.alone else item.edit.bucket].append(item.edit)
  for number, (key, edits) in enumerate(buckets.items()):
    phases = [phase for edit in edits for phase in edit.plan.phases]
    counts = sorted({rows for phase in phases for rows in phase['passes']})
    programs |= {(key, rows) for rows in counts}
    alone = key == 'alone'
    needed = edits[0].bytes_of(counts[-1] * (1 if alone else batch.per_device))
    frames, height, width = edits[0].clip.size
    lines.append(
      f'bucket {number}: {len(edits)} edits, {"one by one" if alone else f"{size} at once"}, '
      f'{frames} frames of {height} x {width}, rows a pass {counts}, about '
      f'{needed / 2**30:.1f} GiB a device'
    )
  per_process = [items[process::processes] for process in range(processes)]
  passes = [len(chunks(own, size)) for own in per_process]
  lines.append(f'{len(programs)} programs of a step')
  lines.append(f'edits of each process: {list(map(len, per_process))}, in {passes} groups')
  return '\n'.join(lines)


def write(workdir, ids):
  """Writes summary.csv, summary.json, index.html, and the tables of measures of what is there now.

  The workdir has items/<id>/ for some of the `ids` of all edits.
  """
  workdir = epath.Path(workdir)
  read = [_read(workdir / 'items' / name, name) for name in ids]
  rows = [row for row, _ in read]
  counts = dict(collections.Counter(row['state'] for row in rows))
  tables.write_csv(workdir / 'summary.csv', rows)
  write_json(workdir / 'summary.json', {'counts': counts, 'edits': rows})
  edit_set.write_edit_set(workdir, ids)
  films = page.link_all([_link(workdir, row['id'], found) for row, found in read if found])
  shown = [found['config'] for _, found in read if found]
  marked = [page.mark_words(c['source_prompt'], c.get('target_prompt', '')) for c in shown]
  address = lambda row: f'items/{row["id"]}/report.html'
  done = [address(row) for row, found in read if found]
  # Why an edit failed stands in front of the measures.
  names = dict.fromkeys(name for row in rows for name in row)
  heads = sorted(names, key=lambda name: name not in ('id', 'state', 'error'))
  page.write_page(
    workdir / 'index.html',
    'batch.html',
    title=f'{workdir.name}: batch',
    counts=', '.join(f'{count} {state}' for state, count in counts.items()),
    films=list(zip(films, marked, done, strict=True)),
    heads=heads,
    rows=[
      (address(row) if row['state'] == 'done' else '', {name: row.get(name) for name in heads})
      for row in rows
    ],
  )


def read_finished(folder):
  """The config, metrics and run record of a finished edit, dict; raises ValueError if damaged."""
  found = edit_set.read_item(folder, (*edit_set.FILES, 'run'))
  if not isinstance(found['run'].get('fps'), int | float):
    raise ValueError('run.json has no fps')
  return found


def _link(workdir, name, found):
  """The arguments of `page.link` for an edit; a file each, as there may be thousands."""
  path = f'items/{name}/edit.mp4'
  return path, workdir / path, found['run']['fps'], name


def _read(folder, name):
  """(Row of what became of an edit, what `read_finished` finds or None)."""
  if (folder / 'DONE').exists():
    try:
      found = read_finished(folder)
      return {'id': name, 'state': 'done', **found['metrics']}, found
    except ValueError as error:
      return {'id': name, 'state': 'damaged', 'error': f'{error}; remove {folder} to remake'}, None
  if not (folder / 'error.json').exists():
    return {'id': name, 'state': 'pending'}, None
  row = {'id': name, 'state': 'failed', 'error': 'error.json cannot be read'}
  with contextlib.suppress(OSError, ValueError, KeyError):
    row['error'] = str(read_json(folder / 'error.json')['error'])
  return row, None
