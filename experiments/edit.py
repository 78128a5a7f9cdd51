"""Edits one clip and leaves everything about it in a folder.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=... --config.video=clip.mp4 \
    --config.target_prompt="..." --workdir=out

A rerun on a finished folder does nothing. `--config.<field>=...` sets any field of the config.
"""

import contextlib

from etils import epath

from experiments import baseline_stages, progress, stages
from experiments.launch import launch
from experiments.requests.edit import read_edit
from uniedit_jax.metrics.measures import distrust
from uniedit_jax.models import attention_kernels
from uniedit_jax.reports import edit
from uniedit_jax.reports.clips import write_clips, write_masks
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json


def run(config, request, workdir):
  """Runs an edit.

  Args:
    config: ConfigDict of configs/motion.py, configs/appearance.py or one of configs/baselines.
    request: `read_edit(config)`.
    workdir: path.

  Returns:
    dict of clips, uint8[F, H, W, 3], by name.
  """
  log = RunLog(request.warnings, progress.announce)
  return make(
    config, request, epath.Path(workdir), stages.load(config, request.dtype, log), log, ahead=True
  )


def make(config, request, workdir, model, log, ahead=False):
  """Runs an edit with a loaded `checkpoint.Model` and a `run_log.RunLog`; else as `run`.

  `ahead` compiles the first program of sampling beside other stages, whose seconds are then no
  measure of their work.
  """
  if request.baseline:
    (source, clips), masks = baseline_stages.make_clips(config, request, model, log), {}
  else:
    with stages.compiling(request, model, log) if ahead else contextlib.nullcontext():
      source = stages.prepare(config, request, model, log)
    clips, masks = stages.make_clips(config, request, model, source, log, workdir / 'inspect')
  with log.phase('write'):
    measures, warnings = leave_clips(config, request, workdir, source, clips, masks)
    for warning in warnings:
      log.warn(warning)
    progress.announce(
      ', '.join(f'{name} {value:.4g}' for name, value in measures.items() if value is not None)
    )
  leave_record(config, request, workdir, model, log.as_dict() | {'fps': source.fps})
  return clips


def leave_clips(config, request, workdir, source, clips, masks):
  """Writes clips, masks and metrics.json.

  Args:
    config, request: as in `run`.
    workdir: path.
    source: `stages.Source`.
    clips, masks: what `stages.make_clips` returns.

  Returns:
    (the measures, a list of warnings).
  """
  write_clips(workdir, clips, source.fps, gif=config.outputs.gif, frames=config.outputs.frames)
  write_masks(workdir, clips, source.fps, masks)
  measures = stages.measure(config, request, source, clips, masks, request.targets)
  write_json(workdir / 'metrics.json', measures)
  return measures, list(filter(None, [distrust(measures, request.inversion.method)]))


def leave_record(config, request, workdir, model, facts):
  """Writes run.json, with `facts` about the run, and report.html."""
  facts |= {
    **{
      'seed': config.seed,
      'method': config.method,
      'preset': config.preset,
      'dtype': request.dtype,
      'checkpoint_hash': model.hash,
    },
    **{'phases': request.layout.plan.phases, 'rows': sum(request.layout.plan.rows)},
    'attention_kernels': attention_kernels.chosen(),
  }
  write_json(workdir / 'run.json', facts)
  edit.write_report(workdir)


if __name__ == '__main__':
  launch(read_edit, run, ['edit.mp4', 'report.html'])
