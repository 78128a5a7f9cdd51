"""Workdir protocol: config.json first, finished parts kept, DONE last, every file atomic."""

import json
import pathlib

from etils import epath

from uniedit_jax.runtime.files import atomic_file


def write_json(path, value):
  """Writes json atomically."""
  with atomic_file(path) as name:
    pathlib.Path(name).write_text(json.dumps(value, indent=2) + '\n')


def once(path, make, *args, key, **kwargs):
  """The result of a part of a run, from a file if the part was finished before.

  Args:
    path: the file that keeps the result.
    make: function whose result json can hold.
    *args, **kwargs: of `make`.
    key: str, of everything that the result depends on.

  Returns:
    The result kept at `path` if its key is the same, else make(*args, **kwargs) after a round trip
    through json.
  """
  if path.exists() and (found := json.loads(path.read_text()))['key'] == key:
    return found['result']
  result = json.loads(json.dumps(make(*args, **kwargs)))
  write_json(path, {'key': key, 'result': result})
  return result


def begin(workdir, config):
  """Starts a run unless it is already finished.

  Args:
    workdir: path.
    config: dict, everything that the results depend on; written to config.json.

  Returns:
    False if the folder holds the finished run of the same config, else True.

  Raises:
    ValueError: the folder holds the finished run of another config.
  """
  config, path = json.loads(json.dumps(config)), epath.Path(workdir) / 'config.json'
  if (epath.Path(workdir) / 'DONE').exists():
    old = json.loads(path.read_text())
    changed = sorted(key for key in {*config, *old} if config.get(key) != old.get(key))
    if changed:
      differs = f'differs in {", ".join(changed)}; accepted: another folder'
      raise ValueError(f'workdir {workdir} holds a finished run that {differs}')
    return False
  write_json(path, config)
  return True


def mark_done(workdir):
  """Writes DONE, the last file of a run."""
  write_json(epath.Path(workdir) / 'DONE', True)
