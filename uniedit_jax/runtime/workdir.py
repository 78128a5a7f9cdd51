"""Workdir protocol: config.json first, finished parts kept, DONE last, every file atomic."""

import json
import pathlib
import re

from absl import logging
from etils import epath

from uniedit_jax.runtime.files import atomic_file, is_remote, read_json, remove, sweep

# What edits, generations and sweeps leave; anything else in a workdir is somebody else's.
LEFT = re.compile(
  r'((source|reconstruction|motion_reference|edit|plain|generated)(_\d+)?|side_by_side)\.(mp4|gif)|'
  r'frames(_\d+)?|masks|inspect|settings|sources|passes|(metrics|run|error)\.json|'
  r'report\.html|index\.html|results\.csv|DONE'
)


def write_json(path, value):
  """Writes json atomically."""
  with atomic_file(path) as name:
    pathlib.Path(name).write_text(json.dumps(value, indent=2) + '\n')


def once(path, make, *args, key, **kwargs):
  """The result of `make(*args, **kwargs)`, or what the file at `path` keeps under the same key.

  The result is what json can hold; `key` is a str of everything that it depends on.
  """
  try:
    found = read_json(path) if path.exists() else {}
  except ValueError as error:
    logging.warning('%s; it is made again', error)
    found = {}
  if found.get('key') == key:
    return found['result']
  result = json.loads(json.dumps(make(*args, **kwargs)))
  write_json(path, {'key': key, 'result': result})
  return result


def begin(workdir, config, inputs=None, clears=True):
  """Writes config.json and inputs.json, all that the results depend on, unless the run is finished.

  An unfinished run of another config, or of inputs that have changed, leaves nothing behind.

  Args:
    workdir: path.
    config: dict. Where its caches lie changes no result.
    inputs: {name of an input in `config`: digest of its content}.
    clears: False refuses instead of clearing away an unfinished run.

  Returns:
    False if the folder holds the finished run of the same config and inputs, else True.

  Raises:
    ValueError: the folder holds the finished run of another config or of other inputs, or one that
      cannot be read.
  """
  workdir, inputs = epath.Path(workdir), inputs or {}
  config = json.loads(json.dumps(config))
  paths = workdir / 'config.json', workdir / 'inputs.json'
  finished = (workdir / 'DONE').exists()
  try:
    old = read_json(paths[0]) if finished or paths[0].exists() else None
    # Runs of before there were digests have none.
    old_inputs = read_json(paths[1]) if paths[1].exists() else {}
  except (OSError, ValueError) as error:
    if finished:
      fault = f'workdir {workdir} holds a finished run that cannot be compared ({error})'
      raise ValueError(f'{fault}; accepted: another folder') from error
    old, old_inputs = {}, {}
  if old is not None:
    reasons, unknown = _changes(old, config, old_inputs, inputs)
    if reasons and (finished or not clears):
      state = 'a finished' if finished else 'an unfinished'
      fault = f'workdir {workdir} holds {state} run {", ".join(reasons)}'
      raise ValueError(f'{fault}; accepted: another folder, or remove this one')
    if unknown and (finished or not clears):
      logging.warning('%s is of another version: it does not say %s', workdir, ', '.join(unknown))
    elif reasons or unknown:
      clear(workdir)
    if finished:
      return False
  if not is_remote(workdir):
    sweep(workdir, below=True)
  write_json(paths[1], inputs)
  write_json(paths[0], config)
  return True


def clear(workdir):
  """Removes what an edit, a generation or a sweep has left in a folder."""
  workdir = epath.Path(workdir)
  for path in list(workdir.iterdir()) if workdir.exists() else ():
    if LEFT.fullmatch(path.name):
      remove(path)


def mark_done(workdir):
  """Writes DONE, the last file of a run."""
  write_json(epath.Path(workdir) / 'DONE', True)


def without_cache(tree):
  """A tree of a config without its caches, which change no result."""
  if isinstance(tree, dict):
    return {name: without_cache(value) for name, value in tree.items() if name != 'cache'}
  return [without_cache(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _changes(old, new, old_inputs, inputs):
  """(list of what differs, in words; list of the fields that one of the runs does not know)."""
  differing, unknown = [], []
  _compare(without_cache(old), without_cache(new), '', differing, unknown)
  reasons = [f'that differs in {", ".join(differing)}'] if differing else []
  known = sorted({*old_inputs} & {*inputs})
  reasons += [f'but the {n} has changed since' for n in known if old_inputs[n] != inputs[n]]
  return reasons, unknown


def _compare(old, new, name, differing, unknown):
  """Adds the names of fields that differ, and of those that one version of the program has."""
  if isinstance(old, dict) and isinstance(new, dict):
    for key in sorted({*old, *new}):
      field = f'{name}.{key}'.lstrip('.')
      if key in old and key in new:
        _compare(old[key], new[key], field, differing, unknown)
      elif field not in unknown:
        unknown.append(field)
  elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
    for one, other in zip(old, new, strict=True):
      _compare(one, other, name, differing, unknown)
  elif old != new and name not in differing:
    differing.append(name)
