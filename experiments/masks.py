"""Scores the masks that cross-attention gives against the true ones, and edits without masks, with
these, with those.

  python -m experiments.masks --config=configs/sprites_masks.py --workdir=out/sprites_masks

The workdir gets results.csv (a row an edit and kind of masks), table.md, and masks/: every source
with its found mask beside the true one, in motion editing the exact target as well.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from etils import epath

from experiments import progress, stages
from experiments.launch import launch
from experiments.requests.edit import read_injections
from experiments.requests.sprites import read_benchmark, resolve_benchmark
from uniedit_jax.media import masks
from uniedit_jax.media.grids import contact_sheet, write_png
from uniedit_jax.method.injection import Injections
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.tokenizers import word_positions
from uniedit_jax.pipeline import found_masks
from uniedit_jax.pipeline.model import encode_clip, latent_shape, unet_apply
from uniedit_jax.reports import tables
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import draw_edits

WORDS = ('object', 'differing')
HEADINGS = {
  'source_iou': 'source IoU',
  'target_iou': 'target IoU',
  'changed': 'changed',
  'success': 'success',
  'background_psnr': 'background, dB',
  'psnr': 'to the exact target, dB',
}


class Request(NamedTuple):
  """A config, checked.

  Attributes:
    dtype: compute dtype.
    words: one of `WORDS`.
    plain, masked: {task name: `scoring.Task`} with all injections of the preset, without and with
      masks.
    options: {task name: `found_masks.MapOptions`}.
  """

  dtype: str
  words: str
  plain: dict[str, scoring.Task]
  masked: dict[str, scoring.Task]
  options: dict[str, found_masks.MapOptions]


def read_masks(config):
  """Checks the config.

  Raises:
    ValueError: lists all faults.
  """
  dtype, tasks = read_benchmark(config)
  model_config = ModelConfig.from_json(
    (checkpoint.locate(config.checkpoint) / 'config.json').read_text()
  )
  grids = model_config.unet.grids(
    *latent_shape(model_config, 1, model_config.height, model_config.width)[1:3]
  )
  faults = Faults()
  faults.unless(config.words in WORDS, f'words is {config.words!r}; accepted: {WORDS}')
  plain, masked, options = {}, {}, {}
  for name, task in tasks.items():
    fields = [field.name for field in dataclasses.fields(found_masks.MapOptions)]
    options[name] = found_masks.MapOptions(**{field: config[name].mask[field] for field in fields})
    for fault in options[name].faults(grids):
      faults.append(f'{name}.{fault}')
    plain[name] = task.full
    if injections := faults.attempt(read_injections, config[name], True, task.blocks, field=name):
      masked[name] = dataclasses.replace(task, settings={'all': injections}, masked=True)
      faults.attempt(lambda task: task.layout, masked[name], field=name)
  faults.stop()
  return Request(dtype, config.words, plain, masked, options)


def resolve_masks(config, request):
  """The config as a dict for config.json."""
  masked = {name: dataclasses.asdict(task) for name, task in request.masked.items()}
  options = {name: dataclasses.asdict(options) for name, options in request.options.items()}
  resolved = resolve_benchmark(config, (request.dtype, request.plain))
  return {**resolved, 'words': request.words, 'masked': masked, 'mask_options': options}


def run(config, request, workdir):
  """Finds masks for every edit, and makes it without masks, with the found and with the true ones."""
  log = RunLog(announce=progress.announce)
  workdir, dtype = epath.Path(workdir), request.dtype
  model = stages.load(config, dtype, log)
  edits, rows = draw_edits(scoring.SPLITS[config.split], config.per_kind), []
  with log.phase('edit'):
    for i, edit in enumerate(progress.steps('edit', log)(edits)):
      name = scoring.task_of(edit.kind)
      source, target = (
        render(scene, model.config.height, model.config.frames)
        for scene in (edit.source, edit.target)
      )
      true = {'source': source.masks} | ({'target': target.masks} if name == 'motion' else {})
      latents = encode_clip(model, source.frames, dtype)
      inverted = scoring.invert(
        model, request.plain[name], edit, latents, dtype, workdir / 'inversions'
      )
      found = _find(model, request, edit, *inverted, source.frames.shape[1:3])
      _draw(
        workdir / 'masks' / f'{i:03d}.png',
        {'source': source.frames, 'target': target.frames},
        true,
        found,
      )
      overlaps = {
        f'{side}_iou': _overlap(found.get(side), true.get(side)) for side in ('source', 'target')
      }
      for label, given in (('none', None), ('found', found), ('true', true)):
        task = (request.masked if given else request.plain)[name]
        clips = scoring.make_clips(model, task, *inverted, target.frames, dtype, given)
        judged = scoring.judge(edit, source, target, {'all': clips['all']})[0]
        judged = {measure: judged[measure] for measure in HEADINGS if measure in judged}
        rows.append({'edit': i, 'kind': edit.kind, 'masks': label, **overlaps, **judged})
      tables.write_csv(workdir / 'results.csv', rows)
  tables.write_means(workdir / 'table.md', rows, ('kind', 'masks'), HEADINGS)
  write_json(workdir / 'run.json', log.as_dict())


def _overlap(a, b):
  """Intersection over union of masks bool[F, H, W], or None where there are none."""
  return None if a is None else float((a & b).sum() / (a | b).sum())


def _find(model, request, edit, texts, inverted, size):
  """The masks bool[F, H, W] that attention gives of the source, and in motion editing of the motion
  reference.
  """
  name = scoring.task_of(edit.kind)
  task = request.plain[name]
  sides = ('source', 'target') if name == 'motion' else ('source',)
  scenes = {'source': edit.source, 'target': edit.target}
  words = {}
  for side, other in zip(sides, ('target', 'source'), strict=False):
    prompt = scenes[side].caption
    looked_for = [scenes[side].colour, scenes[side].shape]
    if request.words == 'differing':
      looked_for = found_masks.differing_words(prompt, scenes[other].caption)
    number = {'source': scoring.SOURCE, 'target': scoring.TARGET}[side]
    words[side] = number, word_positions(model.tokenizer, prompt, looked_for)
  first = {'first': Injections(structure=task.settings['all'].structure)}
  lay_out = lambda kinds: dataclasses.replace(task, settings=first, wanted=kinds).layout
  grids = model.config.unet.grids(*inverted.trajectory.shape[2:4])
  stored = task.inversion.stored(task.steps) == task.steps
  layout = found_masks.layout_to_search(sides, stored, lay_out)
  return found_masks.find_masks(
    *(
      unet_apply(model.config, request.dtype),
      model.params['unet'],
      inverted.trajectory[-1],
      texts,
    ),
    *(found_masks.Search(layout, words, request.options[name]), grids),
    *(size, task.schedule, task.guidance),
    **dict(progress=lambda _: iter, trajectory=inverted.trajectory, sampler=task.inversion.sampler),
  )


def _draw(path, frames, true, found):
  """Every other frame of the clips, under the true and the found masks."""
  shown = [
    masks.overlay(frames[side], mask)[::2] for side in true for mask in (true[side], found[side])
  ]
  sheet = contact_sheet(np.concatenate(shown).repeat(3, 1).repeat(3, 2), columns=len(shown[0]))
  write_png(path, sheet)


if __name__ == '__main__':
  launch(read_masks, run, ['table.md'], resolve_masks)
