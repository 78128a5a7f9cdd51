"""From a manifest to checked items, and which of them share programs."""

import json
from typing import Any, NamedTuple

import ml_collections

from experiments.requests import baseline
from experiments.requests.edit import Request, read_edit, resolve
from experiments.requests.manifest import read_manifest
from experiments.requests.sweep import apply_setting
from uniedit_jax.runtime.faults import Faults

# Fields of the batch and not of its edits.
OWN = ('manifest', 'per_device', 'skip_faulty', 'coordinator', 'processes', 'process')
COMMON = (*OWN, 'checkpoint', 'dtype', 'cache')  # what a line cannot set


class Item(NamedTuple):
  """One edit.

  Attributes:
    id: its name, and that of its folder.
    line: of the manifest.
    config, request: as `read_edit` has them, but for masks from files: there may be many, so they
      are read again.
    resolved: the whole config as a dict.
  """

  id: str
  line: int
  config: ml_collections.ConfigDict
  request: Request
  resolved: dict[str, Any]

  @property
  def alone(self):
    """Whether it is made by itself: what it needs first depends on more than its own arrays."""
    config, request = self.config, self.request
    return bool(
      request.search or request.inspected or request.inversion.method == 'null_text' or config.generated
      or len(request.targets) > 1
    )  # fmt: skip

  @property
  def bucket(self):
    """What items share that are made side by side, as a string: all that a program depends on, and
    the sampler.
    """
    config, request = self.config, self.request
    layout, first = request.layout, request.layout.plan.steps[0].passes[0].routes
    return json.dumps(
      [
        *(request.clip['frames'], request.clip['height'], request.clip['width'], request.window),
        *(
          config.steps,
          [str(branch.kind) for branch in layout.branches],
          layout.wanted,
          layout.plan.phases,
        ),
        *(
          repr(request.schedule),
          request.inversion.method,
          request.inversion.repetitions,
          request.inversion.guidance,
        ),
        *(
          bool(config.mask.source),
          request.settings[0].guided.on,
          first.first_frame is None,
          config.source_prompt == '',
        ),
      ]
    )


def read_batch(config):
  """Checks all lines of a manifest.

  Args:
    config: ConfigDict of configs/batch.py.

  Returns:
    (list of `Item`, dict {id: its faults} of those that `skip_faulty` leaves out).

  Raises:
    ValueError: lists all faults with their lines.
  """
  faults, items, faulty = Faults(), [], {}
  faults.unless(config.per_device > 0, f'per_device is {config.per_device}; accepted: at least 1')
  faults.unless(
    0 <= config.process < config.processes,
    f'process is {config.process} of processes={config.processes}; accepted: 0 to {config.processes - 1}',
  )
  lines = faults.attempt(read_manifest, config.manifest)
  for number, fields in lines or ():
    changes = {name: value for name, value in fields.items() if name != 'id'}
    if fixed := [name for name in changes if name in COMMON]:
      faults.append(
        f'line {number}: {", ".join(fixed)} cannot differ from edit to edit; accepted: --config.{fixed[0]}'
      )
      continue
    own = Faults()
    edit = own.attempt(apply_setting, config, changes, field=f'line {number}')
    if edit:
      own.attempt(baseline.refuse, edit, field=f'line {number}')
    request = edit and own.attempt(read_edit, edit, field=f'line {number} ({fields["id"]})')
    # What `read_edit` lists is one line here.
    own = Faults(
      fault.replace('the run cannot start:\n  - ', '').replace('\n  - ', '; ') for fault in own
    )
    if own and config.skip_faulty:
      faulty[fields['id']] = '; '.join(own)
    faults += own if not config.skip_faulty else ()
    if request:
      resolved = {name: value for name, value in resolve(edit, request).items() if name not in OWN}
      items.append(Item(fields['id'], number, edit, request._replace(masks={}), resolved))
  faults.stop()
  return items, faulty
