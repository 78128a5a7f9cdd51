"""One edit of a comparison: made as any other, and measured."""

import dataclasses
import json
import tempfile

from experiments import edit as edit_command
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.comparison import known_answer
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import clear, mark_done, write_json
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import render

NOT_THE_EDIT = ('load', 'write')  # phases that are no part of an edit's cost


def make_cell(cell, compared, model, workdir):
  """Makes and measures the `Cell` of a `ComparedEdit`.

  Returns:
    list of two dicts, of the source and of the edit: 'edit', 'task', 'kind', 'method', 'seconds'
    (without loading, compiling and writing; None for the source), and measures.
  """
  folder, log = workdir / 'edits' / cell.name / cell.method, RunLog(cell.edit.warnings)
  clear(folder)
  write_json(folder / 'config.json', cell.edit.as_tree())
  with tempfile.TemporaryDirectory() as cache:  # what another method has inverted would be free
    request = dataclasses.replace(cell.edit.request, cache=cache)
    edit = dataclasses.replace(cell.edit, request=request)
    clips = edit_command.make(edit, folder, model, log)
  mark_done(folder)
  for name, made in ((comparison_format.SOURCE, 'source'), (cell.method, 'edit')):
    path = comparison_format.clip_path(workdir, cell.name, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / f'{made}.mp4').copy(path, overwrite=True)
  spent = log.as_dict()['seconds'].items()
  seconds = sum(value for phase, value in spent if phase not in NOT_THE_EDIT)
  return measure_cell(cell, compared, model, clips, folder, seconds)


def measure_cell(cell, compared, model, clips, folder, seconds):
  """The rows that `make_cell` returns."""
  measures = json.loads((folder / 'metrics.json').read_text())
  shown = {comparison_format.SOURCE: 'source', cell.method: 'edit'}
  # The source as if it were an edit: what a method has that changes nothing.
  known = {name.removeprefix('edit_') for name in measures if name.startswith('edit_')}
  right = {}
  if compared.scene:
    size = model.config.height, model.config.frames
    scenes = compared.scene.source, compared.scene.target
    source, target = (render(scene, *size) for scene in scenes)
    judged = {name: clips[made] for name, made in shown.items()}
    for row in scoring.judge(compared.scene, source, target, judged):
      right[row['method']] = known_answer(row)
  rows = []
  for name, made in shown.items():
    row = {'edit': cell.name, 'task': compared.task, 'kind': compared.kind, 'method': name}
    row['seconds'] = seconds if made == 'edit' else None
    found = {key: measures.get(f'{made}_{key}') for key in sorted(known)}
    rows.append({**row, **found, **right.get(name, {})})
  return rows
