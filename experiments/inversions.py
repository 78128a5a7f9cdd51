"""Compares the inversion methods: how near the reconstruction comes, what it costs, and what edits
make of it.

  python -m experiments.inversions --config=configs/sprites_inversions.py --workdir=out/sprites_inversions

The workdir gets results.csv (a row a method and edit) and table.md.
"""

import functools
import time

from etils import epath

from experiments import progress, stages
from experiments.launch import launch
from experiments.requests.sprites import read_benchmark, resolve_benchmark
from uniedit_jax.method import inversion
from uniedit_jax.metrics import pixel
from uniedit_jax.pipeline.model import decode_clip, encode_clip
from uniedit_jax.reports import tables
from uniedit_jax.runtime.faults import Faults
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


def read_inversions(config):
  """Checks the config: {method: `benchmark_request.Request`}.

  Raises:
    ValueError: lists all faults.
  """
  faults, requests = Faults(), {}
  for method in config.methods:
    with config.unlocked():
      config.motion.inversion.method = config.appearance.inversion.method = method
    requests[method] = faults.attempt(read_benchmark, config)
  faults.stop()
  return requests


def resolve_inversions(config, requests):
  """The config as a dict for config.json."""
  return {method: resolve_benchmark(config, request) for method, request in requests.items()}


def run(config, requests, workdir):
  """Inverts and edits every clip with every method."""
  log = RunLog(announce=progress.announce)
  workdir, dtype = epath.Path(workdir), next(iter(requests.values())).dtype
  model = stages.load(config, dtype, log)
  edits = draw_edits(scoring.SPLITS[config.split], config.per_kind)
  rows = []
  for method, request in requests.items():
    with log.phase(method):
      make = functools.partial(_measure, model, request, dtype, workdir / 'inversions')
      make(edits[0])  # compiles
      for i, edit in enumerate(progress.steps(method, log)(edits)):
        rows.append({'method': method, 'edit': i, 'kind': edit.kind, **make(edit)})
        tables.write_csv(workdir / 'results.csv', rows)
  tables.write_means(workdir / 'table.md', rows, ('method',), HEADINGS)
  write_json(workdir / 'run.json', log.as_dict())


def _measure(model, request, dtype, cache, edit):
  """The measures of an edit by one method."""
  task = request.tasks[scoring.task_of(edit.kind)].full
  source, target = (
    render(scene, model.config.height, model.config.frames) for scene in (edit.source, edit.target)
  )
  latents = encode_clip(model, source.frames, dtype)
  if cache.exists():
    cache.rmtree()
  began = time.monotonic()
  texts, inverted = scoring.invert(model, task, edit, latents, dtype, cache)
  seconds = time.monotonic() - began
  clips = scoring.make_clips(model, task, texts, inverted, target.frames, dtype)
  all_of_them = scoring.judge(edit, source, target, {'all': clips['all']})[0]
  free = clips['reconstruction']
  if inverted.free is not None:
    free = decode_clip(model, inverted.free, dtype)
  return {
    'floor_psnr': pixel.psnr(source.frames, decode_clip(model, latents, dtype)),
    'free_psnr': pixel.psnr(source.frames, free),
    'calls': inversion.unet_calls(task.inversion.method, task.steps, task.inversion.repetitions),
    'seconds': seconds,
    'changed': all_of_them['changed'],
    'success': all_of_them['success'],
  }


if __name__ == '__main__':
  launch(read_inversions, run, ['table.md'], resolve_inversions)
