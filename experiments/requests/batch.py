"""From a manifest to checked items, and which of them share programs."""

import concurrent.futures
import dataclasses
import functools
from typing import Any, NamedTuple

from experiments.requests.edit import request_of
from experiments.requests.manifest import read_manifest
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline.check import READERS, Readers, check_edit
from uniedit_jax.pipeline.checked_edit import CheckedEdit
from uniedit_jax.pipeline.model_defaults import clip_of
from uniedit_jax.pipeline.passes import refuse_comparison
from uniedit_jax.pipeline.sources import check_source
from uniedit_jax.pipeline.values import check_values
from uniedit_jax.runtime import fields
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
    faulty: {id, or 'line <number>': its faults} of those that `skip_faulty` leaves out.
  """

  items: list[Item]
  faulty: dict[str, str]
  skip_faulty: bool
  cache: str
  per_device: int
  coordinator: str
  processes: int
  process: int


def read_batch(config):
  """Checks all lines of a manifest: `BatchRequest`; raises FaultsError of all faults by line."""
  faults, items, faulty = Faults(), [], {}
  bounds = {'per_device': (1, 10**4), 'processes': (1, 10**6)}
  bounds |= {'process': (0, max(config.processes, 1) - 1)}
  faults += fields.bound_faults({name: config[name] for name in bounds}, bounds).values()
  base = faults.attempt(request_of, config, own=OWN)
  lines = faults.attempt(read_manifest, config.manifest) or []
  requests = [_request(base, line) for line in lines] if base else []
  readers = _readers([request for request, _ in requests if request])
  for line, (request, wrong) in zip(lines, requests, strict=False):
    own = Faults()
    edit = request and own.attempt(check_edit, request, readers=readers)
    wrong += own
    if edit:
      items.append(Item(line.id, dataclasses.replace(edit, masks={}), edit.as_tree()))
    elif config.skip_faulty:
      faulty[line.id] = f'line {line.number}: ' + '; '.join(wrong)
    else:
      faults += [f'{line.name}: {fault}' for fault in wrong]
  faults.stop(f'the batch cannot start (lines of {config.manifest})')
  values = {name: config[name] for name in BatchRequest._fields[2:]}
  return BatchRequest(items, faulty, **values)


def _request(base, line):
  """The `EditRequest` of a line, or None, and its faults."""
  faults = Faults(line.faults)
  if fixed := [name for name in line.fields if name in COMMON]:
    faults.append(
      f'{", ".join(fixed)} cannot differ from edit to edit; accepted: --config.{fixed[0]}'
    )
  request = None if faults else faults.attempt(base.replace, line.fields)
  if request:
    faults.attempt(refuse_comparison, request)
  return (None if faults else request), faults


def _readers(requests):
  """The `Readers` of many edits, which read each file once, and distinct sources in parallel."""
  once = Readers(*map(functools.cache, READERS))
  found = {}
  for request in requests:
    faults = Faults()
    request = faults.attempt(check_values, request, faults)
    if request and not request.generated:
      request = request.shortened
      clip = clip_of(request, once.model_config(request.checkpoint)[0] or ModelConfig())
      found.setdefault(_source_key(request, clip), (request, clip))
  with concurrent.futures.ThreadPoolExecutor() as pool:
    checked = dict(zip(found, pool.map(_check_source, found.values()), strict=True))

  def source(request, clip):
    key = _source_key(request, clip)
    return checked[key] if key in checked else _check_source((request, clip))

  return once._replace(source=source)


def _source_key(request, clip):
  return request.video, request.image, request.move, clip


def _check_source(given):
  request, _ = given
  faults, field = Faults(), 'image' if request.image else 'video'
  found = faults.attempt(check_source, *given, field=field)
  return (faults, [], None) if found is None else found
