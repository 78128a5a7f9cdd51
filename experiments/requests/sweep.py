"""From the config of an edit and the name of a sweep to checked passes."""

import importlib.util

from experiments.requests.edit import request_of
from uniedit_jax.pipeline.passes import plan_passes


def read_sweep(config, settings):
  """Checks all settings of the edit of a ConfigDict: the passes of `passes.plan_passes`."""
  return plan_passes(request_of(config), settings)


def resolve_sweep(passes):
  """The settings as a dict for config.json."""
  return {'passes': [list(one.resolved.items()) for one in passes]}


def read_settings(path, name, config):
  """The settings {field: value} of the function sweep_<name> in the config's file at `path`.

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
