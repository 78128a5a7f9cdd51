"""From the config of a comparison to its edits, each checked for each method, before anything is
loaded.
"""

import dataclasses
import json
from typing import Any, NamedTuple

import ml_collections

from experiments.requests import edit as edit_request
from experiments.requests.edit import read_edit, resolve
from experiments.requests.manifest import read_manifest
from experiments.requests.sprites import read_world_model
from experiments.requests.sweep import apply_setting
from uniedit_jax.media import video
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.reports.comparison_format import TASKS, Comparison
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import scenes, scoring
from uniedit_jax.sprites.render import render

PER_KIND = 20  # edits of the benchmark, of which a comparison has the first
# What a line of a manifest may say: which clip is edited to what, and not how.
CLIP_FIELDS = (
  'id',
  'task',
  'seed',
  'video',
  'image',
  'generated',
  'source_prompt',
  'target_prompt',
)
CLIP_PARTS = ('clip', 'window', 'move', 'mask', 'metrics')


class Edit(NamedTuple):
  """An edit that all methods make.

  Attributes:
    task: 'motion' or 'appearance'.
    kind: of `scenes.KINDS`, or the task.
    fields: {dotted field: value} of every method's config.
    scene: `scenes.Edit`, or None where the right answer is not known.
  """

  task: str
  kind: str
  fields: dict[str, Any]
  scene: scenes.Edit | None = None


class Cell(NamedTuple):
  """An edit by a method.

  Attributes:
    edit, method: their names.
    config, request: as `experiments.edit` has them.
    facts: str, all that the result depends on but the weights.
  """

  edit: str
  method: str
  config: ml_collections.ConfigDict
  request: edit_request.Request
  facts: str


class Request(NamedTuple):
  """A comparison, checked.

  Attributes:
    comparison: `comparison_format.Comparison`.
    edits: {name: `Edit`}.
    cells: list of `Cell`, edit by edit.
    dtype: compute dtype.
    left_out: names of the methods that need masks which not all edits have.
  """

  comparison: Comparison
  edits: dict[str, Edit]
  cells: list[Cell]
  dtype: str
  left_out: list[str]


def read_compare(config, workdir):
  """Checks a comparison. The scenes of sprites are rendered into the workdir: their clips are
  checked like any other.

  Args:
    config: ConfigDict of configs/compare.py.
    workdir: path.

  Returns:
    `Request`.

  Raises:
    ValueError: lists all faults.
  """
  faults, known = Faults(), list(config.setups)
  sound = (
    config.compared
    and len(set(config.compared)) == len(config.compared)
    and set(config.compared) <= set(known)
  )
  faults.unless(
    sound, f'compared is {config.compared!r}; accepted: some of {", ".join(known)}, each once'
  )
  dtype = faults.attempt(resolve_dtype, config.dtype)
  edits = (_read_lines if config.manifest else _draw_scenes)(config, workdir / 'edits', faults)
  faults.stop()
  masked = all(edit.fields.get('mask.source') for edit in edits.values())
  methods = {
    name: config.setups[name]
    for name in config.compared
    if masked or not config.setups[name].masked
  }
  faults.unless(
    methods,
    f'compared is {config.compared!r}, all with masks, which not all edits have; accepted: others too',
  )
  cells, told = [], {}
  for name, edit in edits.items():
    for method, given in methods.items():
      own = Faults()
      cell = own.attempt(_read_cell, config, name, edit, method, given)
      # What is wrong with a clip is so for every method: it is told once.
      for fault in (
        line
        for text in own
        for line in text.removeprefix('the run cannot start:\n  - ').split('\n  - ')
      ):
        told.setdefault((name, fault), []).append(method)
      cells.append(cell)
  every = 'every method'
  for (name, fault), having in told.items():
    faults.append(
      f'{name} by {every if len(having) == len(methods) else ", ".join(having)}: {fault}'
    )
  comparison = Comparison(
    {name: given.title for name, given in methods.items()},
    {
      name: {
        'task': edit.task,
        **{field: edit.fields.get(field, '') for field in ('source_prompt', 'target_prompt')},
      }
      for name, edit in edits.items()
    },
  )
  faults += comparison.faults() if not faults else []
  faults.stop()
  return Request(
    comparison, edits, cells, dtype, [name for name in config.compared if name not in methods]
  )


def _read_lines(config, _, faults):
  """{name: `Edit`} of the manifest."""
  edits = {}
  for number, line in faults.attempt(read_manifest, config.manifest) or ():
    own = [
      name for name in line if name not in CLIP_FIELDS and name.split('.')[0] not in CLIP_PARTS
    ]
    accepted = f'{", ".join(CLIP_FIELDS)} and those of {", ".join(CLIP_PARTS)}'
    faults.unless(
      not own, f'line {number}: {", ".join(own)} would change the methods; accepted: {accepted}'
    )
    task = line.get('task')
    faults.unless(task in TASKS, f'line {number}: task is {task!r}; accepted: {", ".join(TASKS)}')
    # A method may come with a clip of its own.
    fields = {'video': '', 'source_prompt': '', 'target_prompt': ''}
    fields |= {name: value for name, value in line.items() if name not in ('id', 'task')}
    edits[line['id']] = Edit(task, task, fields)
  return edits


def _draw_scenes(config, folder, faults):
  """{name: `Edit`} of the sprites world, their clips and masks rendered into the folder; numbered
  as the benchmark.
  """
  model_config = read_world_model(config.checkpoint, faults)
  faults.unless(
    config.split in scoring.SPLITS, f'split is {config.split!r}; accepted: {tuple(scoring.SPLITS)}'
  )
  for task, count in config.edits.items():
    faults.unless(0 <= count <= PER_KIND, f'edits.{task} is {count}; accepted: 0 to {PER_KIND}')
  faults.unless(any(config.edits.values()), 'edits has none of either task; accepted: at least one')
  if faults:
    return {}
  edits = {}
  for number, scene in enumerate(scenes.draw_edits(scoring.SPLITS[config.split], PER_KIND)):
    task = scoring.task_of(scene.kind)
    if number % PER_KIND >= config.edits[task]:
      continue
    name = f'{number:03d}'
    source, target = (
      render(one, model_config.height, model_config.frames) for one in (scene.source, scene.target)
    )
    masks = {'source': source.masks} | ({'target': target.masks} if task == 'motion' else {})
    video.write_frames(folder / name / 'source', source.frames)
    video.write_mp4(folder / name / 'exact_target.mp4', target.frames, model_config.fps)
    for side, mask in masks.items():
      video.write_frames(
        folder / name / 'masks' / side, mask[..., None].repeat(3, -1).astype('uint8') * 255
      )
    fields = {f'mask.{side}': str(folder / name / 'masks' / side) for side in masks}
    fields |= {'video': str(folder / name / 'source')}
    fields |= {'source_prompt': scene.source.caption, 'target_prompt': scene.target.caption}
    edits[name] = Edit(task, scene.kind, fields, scene)
  return edits


def _read_cell(config, name, edit, method, given):
  """The `Cell` of an edit by a method, with that method's part of the config."""
  fields = {field: config[field] for field in ('checkpoint', 'dtype', 'seed', 'cache')}
  fields |= {
    field: value
    for field, value in edit.fields.items()
    if given.masked or not field.startswith('mask.')
  }
  # Clips that are not compared cost a method time that it does not need.
  fields |= {
    f'outputs.{name}': False for name in ('reconstruction', 'motion_reference', 'gif', 'frames')
  }
  one = apply_setting(given[edit.task], fields)
  request = read_edit(one)
  facts = {field: value for field, value in resolve(one, request).items() if field != 'cache'}
  if edit.scene:  # the clips lie in the workdir, which may be moved
    facts |= {
      'video': dataclasses.astuple(edit.scene),
      'mask': {**facts['mask'], 'source': given.masked, 'target': ''},
    }
  return Cell(name, method, one, request, json.dumps(facts, sort_keys=True))


def write_config(cell, folder):
  """Writes config.json of an edit, as `experiments.edit` does."""
  write_json(folder / 'config.json', resolve(cell.config, cell.request))
