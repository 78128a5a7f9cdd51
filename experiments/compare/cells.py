"""One edit of a comparison: made as any other, and measured."""

import json
import tempfile

from experiments import edit
from experiments.compare import request
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.comparison import known_answer
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import mark_done
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import render

NOT_THE_EDIT = ('load', 'write')  # phases that are no part of an edit's cost


def make(cell, item, model, workdir):
  """Makes and measures an edit.

  Args:
    cell: `compare_request.Cell`.
    item: `compare_request.Edit`.
    model: `checkpoint.Model`.
    workdir: path.

  Returns:
    list of two dicts, of the source and of the edit: 'edit', 'task', 'kind', 'method', 'seconds'
    (without loading, compiling and writing; None for the source), and measures.
  """
  folder, log = workdir / 'edits' / cell.edit / cell.method, RunLog(cell.request.warnings)
  request.write_config(cell, folder)
  with tempfile.TemporaryDirectory() as cache:  # what another method has inverted would be free
    config = cell.config.copy_and_resolve_references()
    config.cache = cache
    clips = edit.make(config, cell.request, folder, model, log)
  mark_done(folder)
  for name, made in ((comparison_format.SOURCE, 'source'), (cell.method, 'edit')):
    path = comparison_format.clip_path(workdir, cell.edit, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / f'{made}.mp4').copy(path, overwrite=True)
  seconds = sum(
    spent for phase, spent in log.as_dict()['seconds'].items() if phase not in NOT_THE_EDIT
  )
  return measure(cell, item, model, clips, folder, seconds)


def measure(cell, item, model, clips, folder, seconds):
  """The rows that `make` returns."""
  measures = json.loads((folder / 'metrics.json').read_text())
  shown = {comparison_format.SOURCE: 'source', cell.method: 'edit'}
  # The source as if it were an edit: what a method has that changes nothing.
  known = {name.removeprefix('edit_') for name in measures if name.startswith('edit_')}
  right = {}
  if item.scene:
    size, frames = model.config.height, model.config.frames
    source, target = (
      render(scene, size, frames) for scene in (item.scene.source, item.scene.target)
    )
    judged = scoring.judge(
      item.scene, source, target, {name: clips[made] for name, made in shown.items()}
    )
    right = {row['method']: known_answer(row) for row in judged}
  rows = []
  for name, made in shown.items():
    found = {key: measures.get(f'{made}_{key}') for key in sorted(known)}
    told = {'edit': cell.edit, 'task': item.task, 'kind': item.kind, 'method': name}
    rows.append(
      {**told, 'seconds': seconds if made == 'edit' else None, **found, **right.get(name, {})}
    )
  return rows
