"""Generates one clip from a prompt: plain text-to-video sampling.

  python -m experiments.generate --config=configs/generate.py --config.checkpoint=... \
    --config.prompt="a teddy bear is walking" --workdir=out

A rerun on a finished folder does nothing.
"""

from experiments.launch import launch
from experiments.requests.edit import read_generation, resolve_generation
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.reports.clips import write_clips
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.workdir import write_json


def run(edit, workdir):
  """Generates the clip of `read_generation(config)`; returns uint8[F, H, W, 3]."""
  log = progress.shown_log(edit.warnings)
  request = edit.request
  model = pipeline_edit.load(request.checkpoint, edit.dtype, request.cache, log)
  (prepared,) = pipeline_edit.prepare(model, [edit], [None], log)
  (clip,) = pipeline_edit.make_one(model, edit, prepared, log).clips.values()
  with log.phase('write'):
    write_clips(workdir, {'generated': clip}, prepared.fps)
  log.facts |= {'seed': request.seed, 'dtype': edit.dtype, 'checkpoint_hash': model.hash}
  write_json(workdir / 'run.json', log.as_dict())
  return clip


if __name__ == '__main__':
  launch(read_generation, run, ['generated.mp4'], resolve_generation)
