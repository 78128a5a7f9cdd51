"""Scores the sprites model and its edits against rendered answers; goes on where it stopped when it
is run again.

  python -m experiments.evaluate --config=configs/sprites_benchmark.py --workdir=out/sprites_benchmark

The workdir gets text_to_video/ and edits/ (what each batch and edit came to, and the clips of each
edit), results.csv (a row an edit and method), summary.json, and index.html, which shows all of it.
Sets of real videos, whose answers are not known, are measured by experiments.batch_edit and
experiments.evaluate_set.
"""

import functools
import hashlib
import json

from etils import epath

from experiments import progress, stages
from experiments.launch import launch
from experiments.requests.sprites import read_benchmark, resolve_benchmark
from uniedit_jax.pipeline.model import encode_clip
from uniedit_jax.reports import tables
from uniedit_jax.runtime import workdir as record
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.sprites import report, scores, scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import draw_edits


def run(config, request, workdir):
  """Runs the benchmark; what a killed run with the same config and weights has finished is not made
  again.

  Raises:
    RuntimeError: the probe misreads the exact clips.
  """
  log = RunLog(announce=progress.announce)
  bar = functools.partial(progress.steps, record=log)
  cache, dtype, videos = epath.Path(config.cache), request.dtype, config.text_to_video
  model = stages.load(config, dtype, log)
  facts = json.dumps([resolve_benchmark(config, request), model.hash])
  once = functools.partial(record.once, key=hashlib.sha256(facts.encode()).hexdigest())
  edits = draw_edits(scoring.SPLITS[config.split], config.per_kind)
  with log.phase('check the probe'):
    checked = scoring.check_probe(edits, model.config.height, model.config.frames, bar('check'))

  readings = {group: [] for group in scoring.GROUPS if videos.clips}
  with log.phase('text to video'):
    batches = [(group, i) for group in readings for i in range(0, videos.clips, videos.batch)]
    for group, start in bar('text to video')(batches):
      path = workdir / 'text_to_video' / f'{group.replace(" ", "_")}_{start:03d}.json'
      numbers = range(start, min(start + videos.batch, videos.clips))
      options = dict(seed=config.seed, steps=videos.steps, guidance=videos.guidance, dtype=dtype)
      readings[group] += once(
        path, scoring.read_text_to_video, model, config.split, group, numbers, **options
      )

  rows = []
  with log.phase('edit'):
    for i, edit in enumerate(bar('edit')(edits)):
      path, task = workdir / 'edits' / f'{i:03d}.json', request.tasks[scoring.task_of(edit.kind)]
      rows += [
        {'edit': i, **row}
        for row in once(path, _edit, path, model, task, edit, dtype, cache / 'inversions')
      ]

  with log.phase('write'):
    methods = {
      name: {m: scoring.parts(s) for m, s in task.settings.items()}
      for name, task in request.tasks.items()
    }
    summary = {
      **{'split': config.split, 'edits': len(edits), 'methods': methods, 'probe': checked},
      'text_to_video': {
        group: scores.summarise_captions(found) for group, found in readings.items()
      },
      'kinds': scores.summarise(rows),
    }
    record.write_json(workdir / 'summary.json', summary)
    tables.write_csv(workdir / 'results.csv', rows)
    report.write_page(workdir / 'index.html', summary, rows, workdir / 'edits')
    successes = {kind: found['all']['success']['rate'] for kind, found in summary['kinds'].items()}
    progress.announce(
      'success: ' + ', '.join(f'{kind} {share:.0%}' for kind, share in successes.items())
    )
  log.facts |= {'seed': config.seed, 'dtype': dtype, 'checkpoint_hash': model.hash}
  log.facts['phases'] = {name: task.layout.plan.phases for name, task in request.tasks.items()}
  record.write_json(workdir / 'run.json', log.as_dict())


def _edit(path, model, task, edit, dtype, cache):
  """Makes, shows and judges an edit."""
  source, target = (
    render(scene, model.config.height, model.config.frames) for scene in (edit.source, edit.target)
  )
  latents = encode_clip(model, source.frames, dtype)
  inverted = scoring.invert(model, task, edit, latents, dtype, cache)
  clips = scoring.make_clips(model, task, *inverted, target.frames, dtype)
  shown = {'source': source.frames, 'exact target': target.frames, **clips}
  report.write_clips(path.with_suffix('.mp4'), shown, model.config.fps)
  return scoring.judge(edit, source, target, clips)


if __name__ == '__main__':
  launch(read_benchmark, run, ['index.html', 'summary.json'], resolve_benchmark)
