"""From the config of an edit and the name of a sweep to checked passes."""

import importlib.util
from typing import NamedTuple

from experiments.requests.edit import request_of
from uniedit_jax.pipeline.passes import SettingsPass, plan_passes


class SweepRequest(NamedTuple):
  """The `SettingsPass`es of a sweep."""

  passes: list[SettingsPass]


def read_sweep(config, settings):
  """Checks all settings: `SweepRequest`; arguments and faults as of `passes.plan_passes`."""
  return SweepRequest(plan_passes(request_of(config), settings))


def resolve_sweep(sweep):
  """The settings as a dict for config.json."""
  return {'passes': [list(one.resolved.items()) for one in sweep.passes]}


def read_settings(path, name, config):
  """The settings of a sweep.

  Args:
    path: of the config's file.
    name: of a function in it, without its "sweep_".
    config: ConfigDict, for the function.

  Returns:
    list of dicts {field: value}.

  Raises:
    ValueError: the file has no such function.
  """
  spec = importlib.util.spec_from_file_location('swept_config', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  names = [key.removeprefix('sweep_') for key in vars(module) if key.startswith('sweep_')]
  if name not in names:
    raise ValueError(f'sweep is {name!r}; accepted with {path}: {", ".join(names) or "none"}')
  return list(getattr(module, f'sweep_{name}')(config))
