"""From a manifest to checked items, and which of them share programs."""

import dataclasses
from typing import Any, NamedTuple

from experiments.requests.edit import request_of
from experiments.requests.manifest import read_manifest
from uniedit_jax.pipeline.check import check_edit
from uniedit_jax.pipeline.checked_edit import CheckedEdit
from uniedit_jax.pipeline.passes import refuse_comparison
from uniedit_jax.runtime.faults import Faults

# Fields of the batch and not of its edits.
OWN = ('manifest', 'per_device', 'skip_faulty', 'coordinator', 'processes', 'process')
COMMON = (*OWN, 'checkpoint', 'dtype', 'cache')  # what a line cannot set


class Item(NamedTuple):
  """One edit.

  Attributes:
    id: its name, and that of its folder.
    edit: `CheckedEdit` without its masks: there may be many, so they are read again.
    resolved: the whole request as a nested dict.
  """

  id: str
  edit: CheckedEdit
  resolved: dict[str, Any]


class BatchRequest(NamedTuple):
  """A batch, checked; other fields are those of configs/batch.py.

  Attributes:
    items: list of `Item`.
    faulty: {id: its faults} of those that `skip_faulty` leaves out.
  """

  items: list[Item]
  faulty: dict[str, str]
  cache: str
  per_device: int
  coordinator: str
  processes: int
  process: int


def read_batch(config):
  """Checks all lines of a manifest: `BatchRequest`; raises FaultsError of all faults by line."""
  faults, items, faulty = Faults(), [], {}
  faults.unless(config.per_device > 0, f'per_device is {config.per_device}; accepted: at least 1')
  faults.unless(
    0 <= config.process < config.processes,
    f'process is {config.process} of processes={config.processes}; accepted: 0 to '
    f'{config.processes - 1}',
  )
  base = faults.attempt(request_of, config, own=OWN)
  lines = faults.attempt(read_manifest, config.manifest)
  for number, line in lines or () if base else ():
    changes = {name: value for name, value in line.items() if name != 'id'}
    if fixed := [name for name in changes if name in COMMON]:
      faults.append(
        f'line {number}: {", ".join(fixed)} cannot differ from edit to edit; accepted: '
        f'--config.{fixed[0]}'
      )
      continue
    own = Faults()
    request = own.attempt(base.replace, changes, field=f'line {number}')
    if request:
      own.attempt(refuse_comparison, request, field=f'line {number}')
    edit = request and own.attempt(check_edit, request, field=f'line {number} ({line["id"]})')
    if own and config.skip_faulty:
      faulty[line['id']] = '; '.join(own)
    faults += own if not config.skip_faulty else ()
    if edit:
      items.append(Item(line['id'], dataclasses.replace(edit, masks={}), edit.as_tree()))
  faults.stop()
  fields = {name: config[name] for name in ('cache', *BatchRequest._fields[3:])}
  return BatchRequest(items, faulty, **fields)
