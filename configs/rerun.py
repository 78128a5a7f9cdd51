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
  accepted = 'accepted: the config.json of experiments.edit or .generate'
  try:
    values = _with_tuples(json.loads(pathlib.Path(path).expanduser().read_text(encoding='utf-8')))
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f'{path} cannot be read ({error}); {accepted}') from error
  if not isinstance(values, dict):
    raise ValueError(f'{path} holds no object; {accepted}')
  if {'task', 'preset'} <= set(values):
    config = common.edit(values['task'], values['preset'])
    if 'baseline' in values:
      config.baseline = values.pop('baseline')
  elif 'prompt' in values:
    config = generate.get_config()
  else:
    raise ValueError(f'{path} is the config of another kind of run; {accepted}')
  config.lock()
  for name, value in values.items():
    try:
      config.update({name: value})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(f'{path}: {name}: {error}; {accepted}') from error
  return config


def _with_tuples(value):
  """JSON has no tuples, and the configs no lists."""
  if isinstance(value, dict):
    return {name: _with_tuples(part) for name, part in value.items()}
  return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
