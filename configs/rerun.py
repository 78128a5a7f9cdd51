"""Repeats an edit or a generation from the config.json that it left behind.

  python -m experiments.edit --config=configs/rerun.py:out/motion/config.json --workdir=out/again

Nothing is left to presets or the checkpoint there, so the same machine and versions make the same
bits. Further flags change single fields: `--config.guidance=5.0`.
"""

import json
import pathlib

from configs import common, generate


def get_config(path):
  """The config of a run.

  Args:
    path: of a config.json.

  Raises:
    ValueError: it is not that of an edit or a generation.
  """
  values = json.loads(pathlib.Path(path).expanduser().read_text())
  if 'task' in values:
    config = common.edit(values['task'], values['preset'])
  elif 'prompt' in values:
    config = generate.get_config()
  else:
    raise ValueError(
      f'{path} is the config of another kind of run; accepted: of experiments.edit or .generate'
    )
  config.update(_with_tuples(values))
  return config.lock()


def _with_tuples(value):
  """JSON has no tuples, and the configs no lists."""
  if isinstance(value, dict):
    return {name: _with_tuples(part) for name, part in value.items()}
  return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
