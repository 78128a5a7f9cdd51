"""From the config of a comparison of inversion methods to a checked dataclass."""

from typing import NamedTuple

from experiments.requests.sprites import ScoringRequest, read_scoring, resolve_scoring
from uniedit_jax.runtime.faults import Faults


class InversionsRequest(NamedTuple):
  """{method: `ScoringRequest`}."""

  methods: dict[str, ScoringRequest]


def read_inversions(config):
  """Checks the config: `InversionsRequest`.

  Raises:
    FaultsError: lists all faults.
  """
  faults, requests = Faults(), {}
  for method in config.methods:
    with config.unlocked():
      config.motion.inversion.method = config.appearance.inversion.method = method
    requests[method] = faults.attempt(read_scoring, config)
  faults.stop()
  return InversionsRequest(requests)


def resolve_inversions(inversions):
  """The request as a dict for config.json."""
  return {method: resolve_scoring(request) for method, request in inversions.methods.items()}
