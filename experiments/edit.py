"""Edits one clip and leaves everything about it in a folder.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=... --config.video=clip.mp4 \
    --config.target_prompt="..." --workdir=out

A rerun on a finished folder does nothing. `--config.<field>=...` sets any field of the config.
"""

from etils import epath

from experiments import progress, stages
from experiments.launch import launch
from experiments.request import read_edit
from uniedit_jax import outputs, record, report, sharding


def run(config, request, workdir):
  """Runs an edit.

  Args:
    config: ConfigDict of configs/motion.py or configs/appearance.py.
    request: `read_edit(config)`.
    workdir: path.

  Returns:
    dict of clips, uint8[F, H, W, 3], by name.
  """
  log = record.Record(request.warnings, progress.announce)
  sharding.set_up_programs(epath.Path(config.cache) / 'programs', request.dtype)
  model = stages.load(config, request, log)
  source = stages.prepare(config, request, model, log)
  clips, masks = stages.make_clips(config, request, model, source, log, epath.Path(workdir) / 'inspect')
  with log.phase('write'):
    outputs.write_clips(workdir, clips, source.fps, gif=config.outputs.gif, frames=config.outputs.frames)
    outputs.write_masks(workdir, clips, source.fps, masks)
    measures = stages.measure(request, source, clips, masks, request.targets)
    record.write_json(workdir / 'metrics.json', measures)
    if warning := outputs.distrust(measures, request.inversion.method):
      log.warn(warning)
    progress.announce(', '.join(f'{name} {value:.4g}' for name, value in measures.items() if value is not None))
  log.facts |= {
    **{'seed': config.seed, 'preset': config.preset, 'dtype': request.dtype, 'checkpoint_hash': model.hash},
    **{'phases': request.layout.plan.phases, 'rows': sum(request.layout.plan.rows)},
  }
  record.write_json(workdir / 'run.json', log.as_dict())
  report.write_report(workdir)
  return clips


if __name__ == '__main__':
  launch(read_edit, run, ['edit.mp4', 'report.html'])
