"""Makes the same edits with several methods, and compares what comes out.

  python -m experiments.compare --config=configs/compare_sprites.py --workdir=out/compare_sprites

The workdir gets comparison.json and items/ (the clips, side by side in index.html, and what
`experiments.user_study` makes a study of), table.md, results.csv and results.json;
edits/<edit>/<method>/ has what a single edit leaves. The same command makes only what is missing:
after an interruption, or a change of some of the methods. The results of a user study in
<workdir>/user_study get into the tables when it is run once more.
"""

import hashlib
import re
import sys

from absl import logging
from etils import epath

from experiments.compare.cells import make_cell
from experiments.launch import (
  define_flags,
  in_one_line,
  nothing_done,
  places,
  start,
  workdir_of,
)
from experiments.requests.compare import read_compare, set_changes, value_of
from uniedit_jax.pipeline.edit import load
from uniedit_jax.pipeline.sources import fingerprints
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.comparison import write_comparison_report
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.faults import FaultsError, line_of
from uniedit_jax.runtime.workdir import once, write_json

CHANGE = re.compile(r'--?config\.setups\.([^.=]+)\.changes\.([^=]+)=(.*)', re.DOTALL)


def run(request, workdir):
  """Makes what is missing of a `CompareRequest`, and writes comparison.json and results.json.

  Returns:
    how many edits were made.

  Raises:
    FaultsError: lists the edits that failed; all others are made first.
  """
  workdir = epath.Path(workdir)
  log, rows, failed, made = progress.shown_log(), [], [], []
  make = lambda *given: made.append(1) or make_cell(*given)
  for name in request.left_out:
    log.warn(f'{name} is left out: it needs masks, which not all edits have')
  model = load(request.checkpoint, request.dtype, request.cache, log)
  with log.phase('compare'):
    for cell in log.steps('compare')(request.cells):
      compared = request.edits[cell.name]
      try:
        inputs = sorted(fingerprints(cell.edit.as_tree(), request.cache).values())
        key = hashlib.sha256(f'{cell.facts} {inputs} {model.hash}'.encode()).hexdigest()
        path = workdir / 'edits' / cell.name / f'{cell.method}.json'
        rows += once(path, make, cell, compared, model, workdir, key=key)
      except Exception as error:  # the others are worth having whatever went wrong
        logging.exception('%s by %s', cell.name, cell.method)
        failed.append(f'{cell.name} by {cell.method}: {line_of(error)}')
  if failed:
    raise FaultsError(failed, 'some edits failed')
  comparison_format.write_comparison(workdir, request.comparison)
  # Every method measured the source; once is enough.
  rows = list({(row['edit'], row['method']): row for row in rows}.values())
  write_json(workdir / 'results.json', rows)
  facts = {'checkpoint_hash': model.hash, 'dtype': request.dtype, 'left_out': request.left_out}
  write_json(workdir / 'run.json', log.as_dict() | facts)
  return len(made)


def split_changes(arguments):
  """Splits off the arguments that change fields of a method, which no config lists beforehand.

  Returns:
    (the other arguments, list of (method, dotted field, value)).
  """
  found = [CHANGE.fullmatch(argument) for argument in arguments]
  others = [given for given, match in zip(arguments, found, strict=True) if not match]
  return others, [(*match.groups()[:2], value_of(*match.groups()[1:])) for match in found if match]


def launch():
  """Makes what is missing, and writes the tables and the page."""
  config_flag, workdir_flag = define_flags()
  # Here, as config_flags reads sys.argv itself.
  sys.argv, changes = split_changes(sys.argv)

  def main(_):
    config = config_flag.value
    with in_one_line():
      workdir = workdir_of(workdir_flag)
      set_changes(config, changes)
      request = read_compare(config, workdir)
      write_json(workdir / 'config.json', config.to_dict())
    with in_one_line(workdir, lambda: finished(request, workdir)):
      made = run(request, workdir)
      page = write_comparison_report(workdir)
    print(page if made else f'{page}\n{nothing_done(workdir)}')
    print('\n'.join(places(workdir, ('index.html', 'table.md', 'results.csv'))))
    print(f'Let people judge it: python -m experiments.user_study --comparison={workdir} ...')

  start(main)


def finished(request, workdir):
  """How many edits are finished, in words."""
  folder = workdir / 'edits'
  done = sum((folder / cell.name / f'{cell.method}.json').exists() for cell in request.cells)
  return f'{done} of {len(request.cells)} edits'


if __name__ == '__main__':
  launch()
