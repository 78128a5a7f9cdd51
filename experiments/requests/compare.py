"""From the config of a comparison to its edits, each checked for each method."""

import ast
import dataclasses
import importlib
import json
from typing import Any, NamedTuple

from configs.compare import change
from experiments.requests.edit import check_request, request_of
from experiments.requests.manifest import sound_lines
from experiments.requests.sprites import read_world_model
from uniedit_jax.media import video
from uniedit_jax.pipeline.checked_edit import CheckedEdit
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.reports.clips import write_mask
from uniedit_jax.reports.comparison_format import TASKS, Comparison
from uniedit_jax.runtime import fields
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.sprites import scenes, scoring
from uniedit_jax.sprites.render import render

PER_KIND = 20  # edits of a split, of which a comparison has the first
# A line of a manifest says which clip is edited to what, not how.
CLIP_FIELDS = (
  'task', 'seed', 'video', 'image', 'generated', 'source_prompt', 'target_prompt',
)  # fmt: skip
CLIP_PARTS = ('clip', 'window', 'move', 'mask', 'metrics')


class ComparedEdit(NamedTuple):
  """An edit that all methods make.

  Attributes:
    task: 'motion' or 'appearance'.
    kind: of `scenes.KINDS`, or the task.
    fields: {dotted field: value} of every method's request.
    scene: `scenes.Edit`, or None where the right answer is not known.
  """

  task: str
  kind: str
  fields: dict[str, Any]
  scene: scenes.Edit | None = None


class Cell(NamedTuple):
  """An edit by a method.

  Attributes:
    name, method: of the edit and of the method.
    edit: `CheckedEdit`.
    facts: str, all that the result depends on but the weights.
  """

  name: str
  method: str
  edit: CheckedEdit
  facts: str


class CompareRequest(NamedTuple):
  """A comparison, checked; its edits by name, and its cells edit by edit.

  `left_out` names the methods that need masks which not all edits have.
  """

  comparison: Comparison
  edits: dict[str, ComparedEdit]
  cells: list[Cell]
  checkpoint: str
  dtype: str
  cache: str
  left_out: list[str]


def read_compare(config, workdir):
  """Checks a comparison: `CompareRequest`; raises FaultsError that lists all faults.

  The scenes of sprites are rendered into the workdir: their clips are checked like any other.
  """
  faults, known = Faults(), list(config.setups)
  compared = config.compared
  sound = compared and len(set(compared)) == len(compared) and set(compared) <= set(known)
  faults.unless(sound, f'compared is {compared!r}; accepted: some of {", ".join(known)}, each once')
  dtype = faults.attempt(resolve_dtype, config.dtype)
  read_edits = _read_lines if config.manifest else _draw_scenes
  edits = read_edits(config, workdir / 'edits', faults)
  faults.stop()
  masked = all(edit.fields.get('mask.source') for edit in edits.values())
  setups = {name: config.setups[name] for name in compared}
  setups = {name: setup for name, setup in setups.items() if masked or not setup.masked}
  faults.unless(
    setups,
    f'compared is {compared!r}, all with masks, which not all edits have; accepted: others too',
  )
  cells, reported = [], {}
  for name, edit in edits.items():
    for method, setup in setups.items():
      own = Faults()
      cells.append(own.attempt(_read_cell, config, name, edit, method, setup))
      # A fault of a clip is one for every method: it is reported once.
      for fault in own:
        reported.setdefault((name, fault), []).append(method)
  for (name, fault), methods in reported.items():
    by = 'every method' if len(methods) == len(setups) else ', '.join(methods)
    faults.append(f'{name} by {by}: {fault}')
  comparison = Comparison(
    {name: setup.title for name, setup in setups.items()},
    {name: _shown(edit) for name, edit in edits.items()},
  )
  faults += comparison.faults() if not faults else []
  faults.stop()
  left_out = [name for name in compared if name not in setups]
  return CompareRequest(comparison, edits, cells, config.checkpoint, dtype, config.cache, left_out)


def value_of(field, text):
  """The value that the text of a flag says; options of comparison methods have no types here."""
  if not field.startswith('baseline.'):
    return fields.of_text(EditRequest, field, text)
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def set_changes(config, changes):
  """Sets (method, dotted field, value) in `setups.<method>.changes` of a comparison's config.

  Raises:
    FaultsError: methods that the config does not have.
  """
  faults, known = Faults(), list(config.setups)
  for method, field, value in changes:
    if method not in known:
      faults.append(f'setups.{method} has changes; accepted: {", ".join(known)}')
      continue
    with config.unlocked():
      change(config, method, field, value)
  faults.stop()


def _shown(edit):
  prompts = {name: edit.fields.get(name, '') for name in ('source_prompt', 'target_prompt')}
  return {'task': edit.task, **prompts}


def _read_lines(config, _, faults):
  """{name: `ComparedEdit`} of the manifest."""
  edits = {}
  for name, (line, given) in (faults.attempt(sound_lines, config.manifest) or {}).items():
    own = [
      field for field in given if field not in CLIP_FIELDS and field.split('.')[0] not in CLIP_PARTS
    ]
    accepted = f'{", ".join(CLIP_FIELDS)} and those of {", ".join(CLIP_PARTS)}'
    faults.unless(
      not own, f'{line}: {", ".join(own)} would change the methods; accepted: {accepted}'
    )
    task = given.get('task')
    faults.unless(task in TASKS, f'{line}: task is {task!r}; accepted: {", ".join(TASKS)}')
    # A method may come with a clip of its own.
    clip = {'video': '', 'source_prompt': '', 'target_prompt': ''}
    clip |= {field: value for field, value in given.items() if field != 'task'}
    edits[name] = ComparedEdit(task, task, clip)
  return edits


def _draw_scenes(config, folder, faults):
  """{name: `ComparedEdit`} of the sprites world; clips and masks are rendered into the folder."""
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
      write_mask(folder / name / 'masks' / side, mask)
    fields = {f'mask.{side}': str(folder / name / 'masks' / side) for side in masks}
    fields |= {'video': str(folder / name / 'source')}
    fields |= {'source_prompt': scene.source.caption, 'target_prompt': scene.target.caption}
    edits[name] = ComparedEdit(task, scene.kind, fields, scene)
  return edits


def _read_cell(config, name, edit, method, setup):
  """The `Cell` of an edit by a method, with that method's part of the config."""
  file, _, form = setup[edit.task].partition(':')
  module = importlib.import_module(f'configs.{file.replace("/", ".")}')
  request, tree = request_of(module.get_config(form or 'full')), setup.changes.to_dict()
  # The options of a comparison method are one field: those that are not changed are kept.
  options = tree.pop('baseline', {})
  changes = fields.flatten(tree) | (
    {'baseline': (request.baseline or {}) | options} if options else {}
  )
  changes |= {field: config[field] for field in ('checkpoint', 'dtype', 'seed', 'cache')}
  is_ours = lambda field: setup.masked or not field.startswith('mask.')
  changes |= {field: value for field, value in edit.fields.items() if is_ours(field)}
  # Clips that are not compared cost a method time that it does not need.
  unmade = ('reconstruction', 'motion_reference', 'plain', 'gif', 'frames')
  changes |= {f'outputs.{name}': False for name in unmade}
  checked = check_request(request.replace(changes))
  facts = {field: value for field, value in checked.as_tree().items() if field != 'cache'}
  if edit.scene:  # the clips lie in the workdir, which may be moved
    mask = {**facts['mask'], 'source': setup.masked, 'target': ''}
    facts |= {'video': dataclasses.astuple(edit.scene), 'mask': mask}
  return Cell(name, method, checked, json.dumps(facts, sort_keys=True))
