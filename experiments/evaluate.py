"""Scores the sprites model and its edits against rendered answers; resumes when it is run again.

  python -m experiments.evaluate --config=configs/sprites_benchmark.py \
    --workdir=out/sprites_benchmark

The workdir gets text_to_video/ and edits/ (what each batch and edit came to, and the clips of each
edit), results.csv (a row an edit and method), summary.json, and index.html, which shows all of it.
Sets of real videos, whose answers are not known, are measured by experiments.batch_edit and
experiments.evaluate_set.
"""

import functools
import hashlib
import json

from experiments.launch import launch
from experiments.requests.sprites import read_scoring, resolve_scoring
from uniedit_jax.pipeline.edit import load
from uniedit_jax.reports import tables
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import once, write_json
from uniedit_jax.sprites import report, scores, scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import draw_edits


def run(request, workdir):
  """Runs the scoring; what a killed run with the same request and weights has finished is kept.

  Args:
    request: `ScoringRequest`.
    workdir: path.

  Raises:
    RuntimeError: the reader misreads the exact clips.
  """
  log = progress.shown_log()
  videos = request.text_to_video
  model = load(request.checkpoint, request.dtype, request.cache, log)
  facts = json.dumps([resolve_scoring(request), model.hash])
  keep = functools.partial(once, key=hashlib.sha256(facts.encode()).hexdigest())
  edits = draw_edits(scoring.SPLITS[request.split], request.per_kind)
  with log.phase('check the reader'):
    size = model.config.height, model.config.frames
    checked = scoring.check_reader(edits, *size, log.steps('check'))

  readings = {group: [] for group in scoring.GROUPS if videos.clips}
  with log.phase('text to video'):
    batches = [(group, i) for group in readings for i in range(0, videos.clips, videos.batch)]
    options = {'seed': request.seed, 'options': videos, 'dtype': request.dtype}
    for group, start in log.steps('text to video')(batches):
      path = workdir / 'text_to_video' / f'{group.replace(" ", "_")}_{start:03d}.json'
      numbers = range(start, min(start + videos.batch, videos.clips))
      readings[group] += keep(
        path, scoring.read_text_to_video, model, request.split, group, numbers, **options
      )

  rows = []
  with log.phase('score'):
    for i, edit in enumerate(log.steps('edit')(edits)):
      path = workdir / 'edits' / f'{i:03d}.json'
      task = request.tasks[scoring.task_of(edit.kind)]
      rows += [{'edit': i, **row} for row in keep(path, _edit, path, model, task, edit)]

  with log.phase('write'):
    methods = {
      name: {method: scoring.parts(injections) for method, injections in task.methods.items()}
      for name, task in request.tasks.items()
    }
    groups = {group: scores.summarise_captions(found) for group, found in readings.items()}
    summary = {
      'split': request.split,
      'edits': len(edits),
      'methods': methods,
      'reader_check': checked,
      'text_to_video': groups,
      'kinds': scores.summarise(rows),
    }
    write_json(workdir / 'summary.json', summary)
    tables.write_csv(workdir / 'results.csv', rows)
    report.write_page(workdir / 'index.html', summary, rows, workdir / 'edits')
    rates = {kind: found['all']['success']['rate'] for kind, found in summary['kinds'].items()}
    shown = ', '.join(f'{kind} {rate:.0%}' for kind, rate in rates.items())
    progress.announce(f'success: {shown}')
  log.facts |= {'seed': request.seed, 'dtype': request.dtype, 'checkpoint_hash': model.hash}
  log.facts['phases'] = {name: task.phases for name, task in request.tasks.items()}
  write_json(workdir / 'run.json', log.as_dict())


def _edit(path, model, task, edit):
  """Makes, shows and judges an edit."""
  size = model.config.height, model.config.frames
  source, target = (render(scene, *size) for scene in (edit.source, edit.target))
  clips = scoring.make_clips(model, task, edit, target.frames, RunLog())[0]
  shown = {'source': source.frames, 'exact target': target.frames, **clips}
  report.write_clips(path.with_suffix('.mp4'), shown, model.config.fps)
  return scoring.judge(edit, source, target, clips)


if __name__ == '__main__':
  launch(read_scoring, run, ['index.html', 'summary.json'], resolve_scoring)
