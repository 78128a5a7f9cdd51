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
  """The result of `make(*args, **kwargs)`, or what the file at `path` keeps under the same key.

  The result is what json can hold; `key` is a str of everything that it depends on.
  """
  if path.exists() and (found := json.loads(path.read_text()))['key'] == key:
    return found['result']
  result = json.loads(json.dumps(make(*args, **kwargs)))
  write_json(path, {'key': key, 'result': result})
  return result


def begin(workdir, config):
  """Writes config.json, all that the results depend on, unless the run is already finished.

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
