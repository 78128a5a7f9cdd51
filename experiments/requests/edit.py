"""From the config of an edit or a generation to a checked dataclass."""

import dataclasses

from uniedit_jax.baselines.comparison import read_method
from uniedit_jax.pipeline.check import check_edit, check_generation
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.runtime import fields


def request_of(config, own=()):
  """The `EditRequest` of a ConfigDict, of whose fields those in `own` are not the edit's.

  Raises:
    FaultsError: fields that no edit has, values of another type.
  """
  tree = {name: value for name, value in config.to_dict().items() if name not in own}
  return fields.of_tree(EditRequest, tree)


def read_edit(config):
  """Checks the config of an edit: `CheckedEdit`; raises FaultsError that lists all faults."""
  return check_request(request_of(config))


def check_request(request):
  """`check.check_edit` of a request by any method."""
  return check_edit(request, read_method(request))


def read_generation(config):
  """Checks the config of a generation: `CheckedEdit`; raises FaultsError that lists all faults."""
  request = request_of(config, own=('prompt',))
  prompts = {'generated': True, 'source_prompt': config.prompt}
  return check_generation(dataclasses.replace(request, **prompts))


def resolve_generation(edit):
  """The config of a generation as a dict for config.json."""
  names = ('checkpoint', 'dtype', 'seed', 'cache', 'clip', 'window', 'quick', 'steps', 'guidance')
  tree = edit.as_tree()
  kept = {name: tree[name] for name in (*names, 'schedule')}
  return kept | {'prompt': edit.request.source_prompt}
