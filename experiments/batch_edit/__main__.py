"""Makes the edits of a manifest on all devices of all hosts.

  python -m experiments.batch_edit --config=configs/batch.py --config.checkpoint=checkpoints/lavie \
    --config.manifest=edits.jsonl --workdir=out/batch

The same command on every host: process i of n makes edits i, i + n, ... on its own devices, and
waits for nobody. The workdir gets items/<id>/ with what a single edit leaves, and summary.csv,
summary.json, index.html, and measures.md and measures.csv (means with intervals), which every
process writes anew when it ends. An edit that fails leaves error.json, the others are made, and the
exit status is 1. `--dry_run` prints the plan.
"""

import contextlib
import sys

import jax
from absl import flags

from experiments.batch_edit import run as batch_run
from experiments.batch_edit import summary
from experiments.launch import (
  define_flags,
  in_one_line,
  nothing_done,
  places,
  start,
  workdir_of,
)
from experiments.requests.batch import read_batch
from uniedit_jax.runtime import sharding

_CONFIG, _WORKDIR = define_flags()
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print what would be done, and end.')


def main(_):
  """Runs the edits of the manifest, or with --dry_run prints the plan."""
  config = _CONFIG.value
  with in_one_line():
    workdir = workdir_of(_WORKDIR)
    if config.coordinator:  # before anything asks for devices
      sharding.meet(config.coordinator, config.processes, config.process)
    batch = read_batch(config)
    process, processes = jax.process_index(), jax.process_count()
    if _DRY_RUN.value:
      return print(summary.plan(batch, batch_run.chunks_of, processes))
  ids = [*batch.faulty, *(item.id for item in batch.items)]
  before = batch_run.finished(batch, workdir)
  with in_one_line(workdir, lambda: batch_run.finished(batch, workdir)):
    try:
      for name, fault in batch.faulty.items():
        batch_run.leave_error(workdir / 'items' / name, ValueError(fault))
      failed = batch_run.run(batch, workdir, process, processes)
    except BaseException:
      with contextlib.suppress(Exception):  # what is finished is worth a page whatever happened
        summary.write(workdir, ids)
      raise
    summary.write(workdir, ids)
  after = batch_run.finished(batch, workdir)
  print(nothing_done(workdir) if after == before and not failed else f'{after} are finished')
  print('\n'.join(places(workdir, ('index.html', 'summary.csv', 'measures.md'))))
  if failed + len(batch.faulty):
    sys.exit(1)


if __name__ == '__main__':
  start(main)
