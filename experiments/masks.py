"""Scores masks found from cross-attention, and edits without masks, with these and with the true.

  python -m experiments.masks --config=configs/sprites_masks.py --workdir=out/sprites_masks

The workdir gets results.csv (a row an edit and kind of masks), table.md, and masks/: every source
with its found mask next to the true one, in motion editing the exact target as well.
"""

import numpy as np
from etils import epath

from experiments.launch import launch
from experiments.requests.masks import read_masks, resolve_masks
from uniedit_jax.media import masks
from uniedit_jax.media.grids import contact_sheet, write_png
from uniedit_jax.pipeline.edit import load
from uniedit_jax.pipeline.found_masks import differing_words
from uniedit_jax.reports import tables
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import draw_edits

HEADINGS = {
  'source_iou': 'source IoU',
  'target_iou': 'target IoU',
  'changed': 'changed',
  'success': 'success',
  'background_psnr': 'background, dB',
  'psnr': 'to the exact target, dB',
}


def run(request, workdir):
  """Finds masks for every edit, and makes it without masks, with the found and the true ones."""
  log, workdir, plain = progress.shown_log(), epath.Path(workdir), request.plain
  model = load(plain.checkpoint, plain.dtype, plain.cache, log)
  edits, rows = draw_edits(scoring.SPLITS[plain.split], plain.per_kind), []
  size = model.config.height, model.config.frames
  with log.phase('score'):
    for i, edit in enumerate(log.steps('edit')(edits)):
      name = scoring.task_of(edit.kind)
      source, target = (render(scene, *size) for scene in (edit.source, edit.target))
      true = {'source': source.masks} | ({'target': target.masks} if name == 'motion' else {})
      kinds = {
        'none': (plain.tasks[name], {}),
        'found': (request.masked[name], _search(request, edit, true)),
        'true': (request.masked[name], {f'mask.{side}': mask for side, mask in true.items()}),
      }
      judged, found = {}, {}
      for label, (task, changes) in kinds.items():
        own = {'cache': str(workdir)} | changes
        clips, _, made = scoring.make_clips(model, task, edit, target.frames, RunLog(), own)
        (judged[label],) = scoring.judge(edit, source, target, {'all': clips['all']})
        found = made if label == 'found' else found
      frames = {'source': source.frames, 'target': target.frames}
      _draw(workdir / 'masks' / f'{i:03d}.png', frames, true, found)
      overlaps = {
        f'{side}_iou': _overlap(found.get(side), true.get(side)) for side in ('source', 'target')
      }
      for label, row in judged.items():
        measures = {measure: row[measure] for measure in HEADINGS if measure in row}
        rows.append({'edit': i, 'kind': edit.kind, 'masks': label, **overlaps, **measures})
      tables.write_csv(workdir / 'results.csv', rows)
  tables.write_means(workdir / 'table.md', rows, ('kind', 'masks'), HEADINGS)
  write_json(workdir / 'run.json', log.as_dict())


def _overlap(a, b):
  """Intersection over union of masks bool[F, H, W], or None where there are none."""
  return None if a is None else float((a & b).sum() / (a | b).sum())


def _search(request, edit, sides):
  """The changes of a request whose masks are found from attention."""
  scenes = {'source': edit.source, 'target': edit.target}
  changes = {'mask.source_prompt': edit.source.caption}
  for side in sides:
    other = scenes['target' if side == 'source' else 'source']
    words = [scenes[side].colour, scenes[side].shape]
    if request.words == 'differing':
      words = differing_words(scenes[side].caption, other.caption)
    changes |= {f'mask.{side}': 'auto', f'mask.{side}_words': tuple(words)}
  return changes


def _draw(path, frames, true, found):
  """Every other frame of the clips, under the true and the found masks."""
  shown = [
    masks.overlay(frames[side], mask)[::2] for side in true for mask in (true[side], found[side])
  ]
  sheet = contact_sheet(np.concatenate(shown).repeat(3, 1).repeat(3, 2), columns=len(shown[0]))
  write_png(path, sheet)


if __name__ == '__main__':
  launch(read_masks, run, ['table.md'], resolve_masks)
