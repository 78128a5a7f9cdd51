"""From a config and the settings of a sweep to checked passes, in each of which the settings of one
clip are made.
"""

import difflib
import json
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from experiments.requests import baseline, memory
from experiments.requests.edit import Request, join, read_edit, resolve
from uniedit_jax.runtime.faults import Faults

SIDE_BY_SIDE = 8  # settings of a pass at most: what an interruption may cost
# What settings of one pass may differ in: data of the same program.
FREE = (
  'target_prompt',
  'preset',
  'structure',
  'content',
  'motion',
  'motion_query',
  'background',
  'guided',
)


class Pass(NamedTuple):
  """Settings of one source clip, made side by side.

  Attributes:
    config: ConfigDict of the first of them.
    request: `Request` of all of them.
    settings: {number of the setting: {swept field: value}}.
    resolved: {number of the setting: its whole config as a dict}.
  """

  config: ml_collections.ConfigDict
  request: Request
  settings: dict[int, dict[str, Any]]
  resolved: dict[int, dict[str, Any]]


def read_sweep(config, settings):
  """Checks all settings.

  Args:
    config: ConfigDict of an edit.
    settings: list of dicts {field, dotted: value}.

  Returns:
    list of `Pass`.

  Raises:
    ValueError: lists all faults, with the settings that have them.
  """
  faults, edits = Faults(), []
  faults.unless(
    not config.more_target_prompts,
    'more_target_prompts is set; accepted: (), as a sweep has settings',
  )
  faults.unless(
    not config.inspect.steps,
    f'inspect.steps is {config.inspect.steps}; accepted in a sweep: (); rerun one of its settings with it',
  )
  faults.unless(settings, 'the sweep has no settings; accepted: at least one')
  for number, overrides in enumerate(settings):
    edit = faults.attempt(apply_setting, config, overrides, field=f'setting {number}')
    if edit:
      faults.attempt(baseline.refuse, edit, field=f'setting {number} {overrides}')
    request = edit and faults.attempt(read_edit, edit, field=f'setting {number} {overrides}')
    edits.append((edit, request))
  faults.stop()
  swept = list(dict.fromkeys(field for overrides in settings for field in overrides))
  resolved = [resolve(*edit) for edit in edits]
  values = [{field: _value(one, field) for field in swept} for one in resolved]
  pick = lambda rows, numbers: {number: rows[number] for number in numbers}
  sources = {}
  for number, (edit, one) in enumerate(zip(edits, resolved, strict=True)):
    sources.setdefault(source_of(edit[1], one), []).append(number)
  passes = []
  for numbers in sources.values():
    for together in _split(edits, numbers):
      chosen = [edits[number] for number in together]
      joined = join(chosen[0][0], [request for _, request in chosen])
      passes.append(Pass(chosen[0][0], joined, pick(values, together), pick(resolved, together)))
  return passes


def resolve_sweep(config, passes):
  """The config as a dict for config.json."""
  del config  # every setting has its own
  return {'passes': [list(one.resolved.items()) for one in passes]}


def apply_setting(config, overrides):
  """The config with the fields of a setting, a dict {dotted field: value}.

  Raises:
    ValueError: a field that the config has not, or a value of another kind.
  """
  config, known = config.copy_and_resolve_references(), set(_fields(config.to_dict()))
  for field in overrides:
    if field not in known:
      near = difflib.get_close_matches(field, known, n=1)
      raise ValueError(
        f'{field!r} is no field of the config' + (f'; did you mean {near[0]!r}?' if near else '')
      )
  try:
    config.update_from_flattened_dict(overrides)
  except TypeError as error:
    raise ValueError(str(error)) from error
  return config


def _fields(tree, prefix=''):
  """The dotted names of all fields."""
  for name, value in tree.items():
    yield prefix + name
    if isinstance(value, dict):
      yield from _fields(value, f'{prefix}{name}.')


def _value(resolved, field):
  """The value of a dotted field."""
  for name in field.split('.'):
    resolved = resolved[name]
  return resolved


def source_of(request, resolved):
  """What settings must share to be made in one pass, as a string."""
  kept = {name: value for name, value in resolved.items() if name not in FREE}
  if request.search:  # these masks depend on how the motion reference is made
    kept |= {name: resolved[name] for name in ('target_prompt', 'structure')}
  return json.dumps(kept, sort_keys=True)


def _split(edits, numbers):
  """Settings of one clip in groups of about the same size that fit memory."""
  size = min(len(numbers), SIDE_BY_SIDE)
  config = edits[numbers[0]][0]
  while size > 1 and not memory.fits(join(config, [edits[number][1] for number in numbers[:size]])):
    size -= 1
  passes = -(-len(numbers) // size)
  return [part.tolist() for part in np.array_split(numbers, passes)]
