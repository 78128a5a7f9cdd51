"""Edits one clip and leaves everything about it in a folder.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=... \
    --config.video=clip.mp4 --config.target_prompt="..." --workdir=out

A rerun on a finished folder does nothing. `--config.<field>=...` sets any field of the config.
"""

import contextlib

from etils import epath

from experiments.launch import launch
from experiments.requests.edit import read_edit
from uniedit_jax.metrics.measures import distrust, name_of
from uniedit_jax.models import attention_kernels
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.sources import read_source
from uniedit_jax.reports.clips import write_clips, write_masks
from uniedit_jax.reports.edit import write_report
from uniedit_jax.reports.inspection import Sheets
from uniedit_jax.reports.verdict import read_end
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import world


def run(edit, workdir):
  """Runs a `CheckedEdit`; returns a dict of clips, uint8[F, H, W, 3], by name."""
  log = progress.shown_log(edit.warnings)
  request = edit.request
  model = pipeline_edit.load(request.checkpoint, edit.dtype, request.cache, log)
  return make(edit, epath.Path(workdir), model, log, ahead=True)


def make(edit, workdir, model, log, ahead=False):
  """Runs an edit with a loaded `checkpoint.Model` and a `RunLog`; else as `run`.

  `ahead` compiles the first program of sampling in a thread next to other stages, whose seconds are
  then no measure of their work.
  """
  with log.phase('read'):
    source = read_source(edit)
  if edit.method:
    prepared, made = edit.method.make(model, edit, source, log)
  else:
    with pipeline_edit.compiling(edit, model, log) if ahead else contextlib.nullcontext():
      (prepared,) = pipeline_edit.prepare(model, [edit], [source], log)
    sheets = lambda *given: Sheets(workdir / 'inspect', name_of, *given).show
    made = pipeline_edit.make_one(model, edit, prepared, log, sheets)
  with log.phase('write'):
    for warning in leave_clips(edit, workdir, prepared, made):
      log.warn(warning)
  leave_record(edit, workdir, model, log.as_dict() | {'fps': prepared.fps})
  return made.clips


def leave_clips(edit, workdir, prepared, made):
  """Writes clips, masks and metrics.json; returns a list of warnings."""
  outputs, fps = edit.request.outputs, prepared.fps
  write_clips(workdir, made.clips, fps, gif=outputs.gif, frames=outputs.frames)
  write_masks(workdir, made.clips, fps, made.masks)
  judge = world.judge_of(edit.model_config)
  measures = pipeline_edit.measure_edit(edit, prepared, made, edit.targets, judge)
  write_json(workdir / 'metrics.json', measures)
  found = [*world.warnings_of(edit, prepared), distrust(measures, edit.inversion.method)]
  return list(filter(None, found))


def leave_record(edit, workdir, model, facts):
  """Writes run.json, with `facts` about the run, and report.html."""
  facts = facts | {
    'seed': edit.request.seed,
    'method': edit.request.method,
    'preset': edit.request.preset,
    'dtype': edit.dtype,
    'checkpoint_hash': model.hash,
    'phases': edit.plan.phases,
    'rows': sum(edit.plan.row_counts),
    'attention_kernels': attention_kernels.chosen(),
  }
  write_json(workdir / 'run.json', facts)
  write_report(workdir)


if __name__ == '__main__':
  launch(read_edit, run, ['edit.mp4', 'report.html'], tell=read_end)
