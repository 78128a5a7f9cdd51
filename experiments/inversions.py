"""Compares inversion methods: how near the reconstruction comes, the cost, and what edits become.

  python -m experiments.inversions --config=configs/sprites_inversions.py \
    --workdir=out/sprites_inversions

The workdir gets results.csv (a row a method and edit) and table.md.
"""

import functools

from etils import epath

from experiments.launch import launch
from experiments.requests.inversions import read_inversions, resolve_inversions
from uniedit_jax.method import inversion
from uniedit_jax.metrics import pixel
from uniedit_jax.pipeline.edit import load
from uniedit_jax.reports import tables
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import draw_edits

HEADINGS = {
  'floor_psnr': 'VAE floor, dB',
  'free_psnr': 'reconstruction, dB',
  'calls': 'UNet calls',
  'seconds': 'seconds',
  'changed': 'changed',
  'success': 'success',
}


def run(requests, workdir):
  """Inverts and edits every clip with every method."""
  log, workdir = progress.shown_log(), epath.Path(workdir)
  first = next(iter(requests.values()))
  model = load(first.checkpoint, first.dtype, first.cache, log)
  edits = draw_edits(scoring.SPLITS[first.split], first.per_kind)
  rows = []
  for method, request in requests.items():
    with log.phase(method):
      make = functools.partial(_measure, model, request, workdir / 'inversions')
      make(edits[0])  # compiles
      for i, edit in enumerate(log.steps(method)(edits)):
        rows.append({'method': method, 'edit': i, 'kind': edit.kind, **make(edit)})
        tables.write_csv(workdir / 'results.csv', rows)
  tables.write_means(workdir / 'table.md', rows, ('method',), HEADINGS)
  write_json(workdir / 'run.json', log.as_dict())


def _measure(model, request, cache, edit):
  """The measures of an edit by one method."""
  task = request.tasks[scoring.task_of(edit.kind)]
  task = task._replace(
    request=task.request.replace({'cache': str(cache)}), methods={'all': task.methods['all']}
  )
  size = model.config.height, model.config.frames
  source, target = (render(scene, *size) for scene in (edit.source, edit.target))
  if (cache / 'inversions').exists():
    (cache / 'inversions').rmtree()
  log = RunLog()
  clips, prepared, _ = scoring.make_clips(model, task, edit, target.frames, log)
  (judged,) = scoring.judge(edit, source, target, {'all': clips['all']})
  free = prepared.free() if prepared.free else clips['reconstruction']
  options, steps = task.request.inversion, task.request.shortened.steps
  return {
    'floor_psnr': pixel.psnr(source.frames, prepared.round_trip()),
    'free_psnr': pixel.psnr(source.frames, free),
    'calls': inversion.unet_calls(options.method, steps, options.repetitions),
    'seconds': log.seconds['invert'],
    'changed': judged['changed'],
    'success': judged['success'],
  }


if __name__ == '__main__':
  launch(read_inversions, run, ['table.md'], resolve_inversions)
