"""TPUs that are not there: what is published of their chips, and topologies to compile for."""

from typing import NamedTuple

from jax.experimental import topologies


class Chip(NamedTuple):
  """What Google publishes of a chip: bytes of memory, bfloat16 operations a second, bytes of memory
  a second.
  """

  memory: float
  peak: float
  bandwidth: float


CHIPS = {
  'v5e': Chip(16e9, 197e12, 819e9),
  'v5p': Chip(95e9, 459e12, 2765e9),
  'v6e': Chip(32e9, 918e12, 1640e9),
}


def chip_of(topology):
  """The `Chip` of a topology such as 'v5e:4x4'.

  Raises:
    ValueError: an unknown kind, or no shape.
  """
  kind, _, shape = topology.partition(':')
  if kind not in CHIPS or not shape:
    raise ValueError(
      f'topology is {topology!r}; accepted: {", ".join(CHIPS)} with a shape, as v5e:4x4'
    )
  return CHIPS[kind]


def devices_of(topology):
  """The devices of a topology, to compile for and not to run on.

  Raises:
    ValueError: there is none of this name, or libtpu is missing.
  """
  chip_of(topology)
  single = {'chips_per_host_bounds': [1, 1, 1]} if topology.endswith(':1x1') else {}
  try:
    return topologies.get_topology_desc(platform='tpu', topology_name=topology, **single).devices
  except Exception as error:  # libtpu's, of many types
    raise ValueError(
      f'topology is {topology!r}: {error}; accepted: a shape of that kind, with libtpu (pip install -e ".[tpu]")'
    ) from error
