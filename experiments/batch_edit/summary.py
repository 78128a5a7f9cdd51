"""What a batch will do, and what became of it."""

import collections
import json

from etils import epath

from experiments.requests import memory
from uniedit_jax.reports import edit_set, page, tables
from uniedit_jax.reports.page import escape
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.workdir import write_json

STYLE = """table { overflow-wrap: normal; } th, td { padding: .2rem 1rem .2rem 0; white-space: nowrap; }
td.error { color: #c62828; white-space: normal; min-width: 20rem; }
"""
BODY = """<p>@counts@</p><div class="scroll"><table>@rows@</table></div>
<div class="videos">@videos@</div>@controls@"""


def plan(config, items, chunks, processes):
  """What a run would do, as text: buckets, programs, memory, edits of each process.

  Args:
    config: ConfigDict of configs/batch.py.
    items: list of `batch_request.Item`.
    chunks: (items, size) -> list of lists of items that are made at once.
    processes: number of processes.
  """
  size, lines = sharding.data_mesh().size * config.per_device, []
  buckets = collections.defaultdict(list)
  for item in items:
    buckets['alone' if item.alone else item.bucket].append(item)
  programs = set()
  for number, (key, bucket) in enumerate(buckets.items()):
    request = bucket[0].request
    counts = sorted(
      {
        rows
        for item in bucket
        for phase in item.request.layout.plan.phases
        for rows in phase['passes']
      }
    )
    clip = '{frames} frames of {height} x {width}'.format(**request.clip)
    together = 1 if key == 'alone' else config.per_device
    needed = memory.needed(request, counts[-1] * together)
    programs |= {(key, rows) for rows in counts}
    how = 'one by one' if key == 'alone' else f'{size} at once'
    lines.append(
      f'bucket {number}: {len(bucket)} edits, {how}, {clip}, rows a pass {counts}, '
      f'about {needed / 2**30:.1f} GiB a device'
    )
  per_process = [len(items[process::processes]) for process in range(processes)]
  passes = [len(chunks(items[process::processes], size)) for process in range(processes)]
  return '\n'.join(
    [
      *lines,
      f'{len(programs)} programs of a step',
      f'edits of each process: {per_process}, in {passes} groups',
    ]
  )


def write(workdir, ids):
  """Writes summary.csv, summary.json, index.html, and the tables of measures of what is there now.

  Args:
    workdir: path with items/<id>/.
    ids: of all edits.
  """
  rows = [_row(epath.Path(workdir) / 'items' / name, name) for name in ids]
  counts = dict(collections.Counter(row['state'] for row in rows))
  tables.write_csv(workdir / 'summary.csv', rows)
  write_json(workdir / 'summary.json', {'counts': counts, 'edits': rows})
  edit_set.write_edit_set(workdir, ids)
  columns = list(dict.fromkeys(name for row in rows for name in row))
  lines = '<tr>' + ''.join(f'<th>{escape(name)}</th>' for name in columns) + '</tr>'
  for row in rows:
    shown = {name: _shown(row.get(name)) for name in columns}
    if row['state'] == 'done':
      shown['id'] = f'<a href="items/{escape(row["id"])}/report.html">{shown["id"]}</a>'
    kind = lambda name: ' class="error"' if name == 'error' else ''
    lines += (
      '<tr>' + ''.join(f'<td{kind(name)}>{cell}</td>' for name, cell in shown.items()) + '</tr>'
    )
  videos = ''.join(_video(epath.Path(workdir), row['id']) for row in rows if row['state'] == 'done')
  told = ', '.join(f'{count} {state}' for state, count in counts.items())
  parts = {'counts': told, 'rows': lines, 'videos': videos} | ({} if videos else {'controls': ''})
  page.write_page(workdir / 'index.html', f'{workdir.name}: batch', BODY, parts, STYLE)


def _video(workdir, name):
  """The edit as a video beside its prompt; files of their own, as there may be thousands."""
  config, run = (
    json.loads((workdir / 'items' / name / f'{file}.json').read_text())
    for file in ('config', 'run')
  )
  address = f'items/{escape(name)}'
  label = f'<a href="{address}/report.html">{escape(name)}</a> <small>{escape(config["target_prompt"])}</small>'
  return page.link(f'items/{name}/edit.mp4', run['fps'], label)


def _row(folder, name):
  """What became of an edit."""
  if (folder / 'DONE').exists():
    return {'id': name, 'state': 'done', **json.loads((folder / 'metrics.json').read_text())}
  if (folder / 'error.json').exists():
    return {
      'id': name,
      'state': 'failed',
      'error': json.loads((folder / 'error.json').read_text())['error'],
    }
  return {'id': name, 'state': 'pending'}


def _shown(value):
  if value is None:
    return ''
  return f'{value:.4g}' if isinstance(value, float) else escape(value)
