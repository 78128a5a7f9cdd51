"""From the config of a comparison of inversion methods to a checked dataclass."""

from experiments.requests.sprites import read_scoring, resolve_scoring
from uniedit_jax.runtime.faults import Faults


def read_inversions(config):
  """Checks the config: {method: `ScoringRequest`}; raises FaultsError that lists all faults."""
  faults, requests = Faults(), {}
  for method in config.methods:
    with config.unlocked():
      config.motion.inversion.method = config.appearance.inversion.method = method
    requests[method] = faults.attempt(read_scoring, config)
  faults.stop()
  return requests


def resolve_inversions(requests):
  """The requests as a dict for config.json."""
  return {method: resolve_scoring(request) for method, request in requests.items()}
