"""TPUs without hardware: published figures of the chips, and topologies to compile for."""

from typing import NamedTuple

from jax.experimental import topologies


class Chip(NamedTuple):
  """Figures of a chip as published by Google."""

  memory: float  # bytes
  peak: float  # bfloat16 operations a second
  bandwidth: float  # bytes a second


CHIPS = {
  'v5e': Chip(16e9, 197e12, 819e9),
  'v5p': Chip(95e9, 459e12, 2765e9),
  'v6e': Chip(32e9, 918e12, 1640e9),
}


def chip_of(topology):
  """The `Chip` of a topology such as 'v5e:4x4'; raises ValueError for unknown ones."""
  kind, _, shape = topology.partition(':')
  if kind not in CHIPS or not shape:
    accepted = f'accepted: {", ".join(CHIPS)} with a shape, as v5e:4x4'
    raise ValueError(f'topology is {topology!r}; {accepted}')
  return CHIPS[kind]


def devices_of(topology):
  """The devices of a topology, which programs are compiled for but do not run on.

  Raises ValueError if the topology is unknown, or libtpu is missing.
  """
  chip_of(topology)
  single = {'chips_per_host_bounds': [1, 1, 1]} if topology.endswith(':1x1') else {}
  try:
    return topologies.get_topology_desc(platform='tpu', topology_name=topology, **single).devices
  # libtpu raises many types.
  except Exception as error:
    accepted = 'accepted: a shape of that kind, with libtpu (pip install -e ".[tpu]")'
    raise ValueError(f'topology is {topology!r}: {error}; {accepted}') from error
