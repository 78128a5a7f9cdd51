"""Makes the same edits with several methods, and compares what comes out.

  python -m experiments.compare --config=configs/compare_sprites.py --workdir=out/compare_sprites

The workdir gets comparison.json and items/ (the clips, side by side in index.html, and what `experiments.user_study`
makes a study of), table.md, results.csv and results.json; edits/<edit>/<method>/ has what a single edit leaves. The
same command makes only what is missing: after an interruption, or a change of some of the methods. The results of a
user study in <workdir>/user_study get into the tables when it is run once more.
"""

import hashlib
import json
import sys
import tempfile

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from experiments import compare_request, edit, progress, stages
from uniedit_jax import comparison, comparison_report, record
from uniedit_jax.sprites import benchmark
from uniedit_jax.sprites.render import render

NOT_THE_EDIT = ('load', 'write')  # phases that are no part of an edit's cost


def run(config, request, workdir):
  """Makes what is missing, and writes comparison.json and results.json.

  Args:
    config: ConfigDict of configs/compare.py.
    request: `compare_request.read_compare(config, workdir)`.
    workdir: path.

  Raises:
    RuntimeError: lists the edits that failed; all others are made first.
  """
  workdir = epath.Path(workdir)
  log, rows, failed = record.Record(announce=progress.announce), [], []
  for name in request.left_out:
    log.warn(f'{name} is left out: it needs masks, which not all edits have')
  model = stages.load(config, request.dtype, log)
  with log.phase('compare'):
    for cell in progress.steps('compare', log)(request.cells):
      item, path = request.edits[cell.edit], workdir / 'edits' / cell.edit / f'{cell.method}.json'
      key = hashlib.sha256(f'{cell.facts} {model.hash}'.encode()).hexdigest()
      try:
        rows += record.once(path, make, cell, item, model, workdir, key=key)
      except Exception as error:  # the others are worth having whatever went wrong
        logging.exception('%s by %s', cell.edit, cell.method)
        failed.append(f'{cell.edit} by {cell.method}: {type(error).__name__}: {error}')
  if failed:
    raise RuntimeError('some edits failed:\n' + '\n'.join(f'  - {fault}' for fault in failed))
  comparison.write(workdir, request.comparison)
  # Every method measured the source; once is enough.
  rows = list({(row['edit'], row['method']): row for row in rows}.values())
  record.write_json(workdir / 'results.json', rows)
  facts = {'checkpoint_hash': model.hash, 'dtype': request.dtype, 'left_out': request.left_out}
  record.write_json(workdir / 'run.json', log.as_dict() | facts)


def make(cell, item, model, workdir):
  """Makes and measures an edit.

  Args:
    cell: `compare_request.Cell`.
    item: `compare_request.Edit`.
    model: `checkpoint.Model`.
    workdir: path.

  Returns:
    list of two dicts, of the source and of the edit: 'edit', 'task', 'kind', 'method', 'seconds' (without loading,
    compiling and writing; None for the source), and measures.
  """
  folder, log = workdir / 'edits' / cell.edit / cell.method, record.Record(cell.request.warnings)
  compare_request.write_config(cell, folder)
  with tempfile.TemporaryDirectory() as cache:  # what another method has inverted would be free
    config = cell.config.copy_and_resolve_references()
    config.cache = cache
    clips = edit.make(config, cell.request, folder, model, log)
  record.mark_done(folder)
  for name, made in ((comparison.SOURCE, 'source'), (cell.method, 'edit')):
    path = comparison.clip_path(workdir, cell.edit, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / f'{made}.mp4').copy(path, overwrite=True)
  seconds = sum(spent for phase, spent in log.as_dict()['seconds'].items() if phase not in NOT_THE_EDIT)
  return measure(cell, item, model, clips, folder, seconds)


def measure(cell, item, model, clips, folder, seconds):
  """The rows that `make` returns."""
  measures = json.loads((folder / 'metrics.json').read_text())
  shown = {comparison.SOURCE: 'source', cell.method: 'edit'}
  # The source as if it were an edit: what a method has that changes nothing.
  known = {name.removeprefix('edit_') for name in measures if name.startswith('edit_')}
  right = {}
  if item.scene:
    size, frames = model.config.height, model.config.frames
    source, target = (render(scene, size, frames) for scene in (item.scene.source, item.scene.target))
    judged = benchmark.judge(item.scene, source, target, {name: clips[made] for name, made in shown.items()})
    right = {row['method']: comparison_report.known_answer(row) for row in judged}
  rows = []
  for name, made in shown.items():
    found = {key: measures.get(f'{made}_{key}') for key in sorted(known)}
    told = {'edit': cell.edit, 'task': item.task, 'kind': item.kind, 'method': name}
    rows.append({**told, 'seconds': seconds if made == 'edit' else None, **found, **right.get(name, {})})
  return rows


def launch():
  """Makes what is missing, and writes the tables and the page."""
  config_flag = config_flags.DEFINE_config_file('config', lock_config=True)
  workdir_flag = flags.DEFINE_string('workdir', None, 'Folder for all that the run leaves behind.', required=True)
  flags.mark_flag_as_required('config')

  def main(_):
    logging.set_verbosity(logging.WARNING)
    config, workdir = config_flag.value, epath.Path(workdir_flag.value).expanduser()
    try:
      request = compare_request.read_compare(config, workdir)
      record.write_json(workdir / 'config.json', config.to_dict())
      run(config, request, workdir)
    except (ValueError, RuntimeError) as error:
      sys.exit(f'{error}')
    print(comparison_report.write(workdir))
    print('\n'.join(str(workdir / name) for name in ('index.html', 'table.md', 'results.csv')))

  app.run(main)


if __name__ == '__main__':
  launch()
