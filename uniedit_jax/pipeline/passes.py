"""Many settings of one clip: which are sampled side by side, in passes that fit memory."""

from typing import Any, NamedTuple

import numpy as np

from uniedit_jax.metrics.measures import edits_of
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.check import INJECTIONS, check_edit
from uniedit_jax.pipeline.checked_edit import CheckedEdit, join
from uniedit_jax.runtime import fields
from uniedit_jax.runtime.faults import Faults

SIDE_BY_SIDE = 8  # settings of a pass at most: what an interruption may cost
SHARED = 'source', 'reconstruction'  # clips of all settings of a pass


class SettingsPass(NamedTuple):
  """Settings of one source clip, sampled side by side; `edit` is the `CheckedEdit` of all.

  By number of the setting, `settings` has its {swept field: value}, `resolved` its whole request as
  a nested dict.
  """

  edit: CheckedEdit
  settings: dict[int, dict[str, Any]]
  resolved: dict[int, dict[str, Any]]


def plan_passes(request, settings):
  """Checks all settings, and plans their passes: list of `SettingsPass`.

  Args:
    request: `EditRequest`.
    settings: list of dicts {dotted field: value} of what differs from it.

  Raises:
    FaultsError: lists all faults, with the settings that have them.
  """
  faults, edits = Faults(), []
  faults.unless(
    not request.more_target_prompts,
    'more_target_prompts is set; accepted: (), as a sweep has settings',
  )
  faults.unless(
    not request.inspect.steps,
    f'inspect.steps is {request.inspect.steps}; accepted in a sweep: (); rerun one of its settings '
    'with it',
  )
  faults.unless(settings, 'the sweep has no settings; accepted: at least one')
  for number, changes in enumerate(settings):
    changed = faults.attempt(request.replace, changes, field=f'setting {number}')
    field = f'setting {number} {changes}'
    if changed and faults.attempt(refuse_comparison, changed, field=field):
      edits.append(faults.attempt(check_edit, changed, field=field))
  faults.stop()
  swept = list(dict.fromkeys(field for changes in settings for field in changes))
  resolved = [edit.as_tree() for edit in edits]
  flat = [fields.flatten(one) for one in resolved]
  values = [{field: one[field] for field in swept} for one in flat]
  sources = {}
  for number, edit in enumerate(edits):
    sources.setdefault(edit.source_key, []).append(number)
  passes = []
  for numbers in sources.values():
    for chosen in _split(edits, numbers):
      joined = join([edits[number] for number in chosen])
      pick = lambda rows, chosen=chosen: {number: rows[number] for number in chosen}
      passes.append(SettingsPass(joined, pick(values), pick(resolved)))
  return passes


def refuse_comparison(request):
  """Raises ValueError for comparison methods, which cannot share a pass; returns True otherwise."""
  if request.method != INJECTIONS:
    raise ValueError(
      f'method is {request.method!r}; accepted here: {INJECTIONS!r}, others by experiments.edit'
    )
  return True


def make_settings(one, model, prepared, log, judge=None):
  """Makes the settings of a `SettingsPass`; other arguments as of `edit.make_one`.

  Yields:
    (number of the setting; its clips 'source', 'reconstruction', 'motion_reference', 'edit' and
    'plain', as far as they are made; their measures).
  """
  clips, masks = pipeline_edit.make_one(model, one.edit, prepared, log)
  shared = {name: clip for name, clip in clips.items() if name in SHARED}
  for setting, name, target in zip(one.settings, edits_of(clips), one.edit.targets, strict=True):
    number = name.removeprefix('edit')
    own = {kind: clips.get(kind + number) for kind in ('motion_reference', 'edit', 'plain')}
    made = pipeline_edit.EditedClips(
      shared | {kind: clip for kind, clip in own.items() if clip is not None}, masks
    )
    measures = pipeline_edit.measure_edit(one.edit, prepared, made, [target], judge)
    yield setting, made.clips, measures


def _split(edits, numbers):
  """Settings of one clip in groups of about the same size that fit memory."""
  size = min(len(numbers), SIDE_BY_SIDE)
  while size > 1 and not join([edits[number] for number in numbers[:size]]).fits:
    size -= 1
  passes = -(-len(numbers) // size)
  return [part.tolist() for part in np.array_split(numbers, passes)]
