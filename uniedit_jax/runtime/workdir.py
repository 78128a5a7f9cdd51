"""The protocol of a workdir: config.json first, finished parts kept, DONE last, every file whole or
absent.
"""

import json
import pathlib

from etils import epath

from uniedit_jax.runtime.files import atomic_file


def write_json(path, value):
  """Writes json atomically."""
  with atomic_file(path) as name:
    pathlib.Path(name).write_text(json.dumps(value, indent=2) + '\n')


def once(path, make, *args, key, **kwargs):
  """What a finished part of a run came to, so that it is not made again.

  Args:
    path: of the file that keeps it.
    make: function whose result json can hold.
    *args, **kwargs: of `make`.
    key: str, of everything that the result depends on.

  Returns:
    make(*args, **kwargs) as json gives it back, or what that came to before: the file at `path`,
    where that has the same key.
  """
  if path.exists() and (found := json.loads(path.read_text()))['key'] == key:
    return found['result']
  result = json.loads(json.dumps(make(*args, **kwargs)))
  write_json(path, {'key': key, 'result': result})
  return result


def begin(workdir, config):
  """Starts a run, or tells that it has been finished before.

  Args:
    workdir: path.
    config: dict, everything that the results depend on; written to config.json.

  Returns:
    False if the folder holds the finished run of this very config.

  Raises:
    ValueError: it holds the finished run of another config.
  """
  config, path = json.loads(json.dumps(config)), epath.Path(workdir) / 'config.json'
  if (epath.Path(workdir) / 'DONE').exists():
    old = json.loads(path.read_text())
    changed = sorted(key for key in {*config, *old} if config.get(key) != old.get(key))
    if changed:
      raise ValueError(
        f'workdir {workdir} holds a finished run that differs in {", ".join(changed)}; accepted: another folder'
      )
    return False
  write_json(path, config)
  return True


def mark_done(workdir):
  """Declares a run finished; the last thing that is written."""
  write_json(epath.Path(workdir) / 'DONE', True)
