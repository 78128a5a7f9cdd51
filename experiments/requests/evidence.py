"""From the config of a measurement of attention maps to a checked dataclass."""

from typing import NamedTuple

from experiments.requests import sprites
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.fields import bound_faults

BOUNDS = {name: sprites.BOUNDS[name] for name in ('split', 'source_prompt', 'seed')}
BOUNDS |= {'per_motion': (1, 10**4)}


class EvidenceRequest(NamedTuple):
  """A checked config of configs/sprites_evidence.py; timesteps have the least noise first."""

  checkpoint: str
  dtype: str
  cache: str
  seed: int
  split: str
  per_motion: int
  source_prompt: str
  clear: float
  timesteps: list[int]


def read_evidence(config):
  """Checks the config: `EvidenceRequest`; raises FaultsError that lists all faults."""
  faults = Faults()
  model_config = sprites.read_world_model(config.checkpoint, faults)
  faults += bound_faults(config.to_dict(), BOUNDS).values()
  faults.unless(0.5 < config.clear <= 1, f'clear is {config.clear}; accepted: above 0.5, at most 1')
  if model_config:
    last, given = model_config.schedule.train_steps - 1, config.timesteps
    sound = given and all(isinstance(t, int) and 0 <= t <= last for t in given)
    faults.unless(sound, f'timesteps is {given}; accepted: some of 0 to {last}')
  dtype = faults.attempt(resolve_dtype, config.dtype)
  faults.stop()
  fields = {name: config[name] for name in EvidenceRequest._fields}
  fields |= {'dtype': dtype, 'timesteps': sorted(set(config.timesteps))}
  return EvidenceRequest(**fields)


def resolve_evidence(request):
  """The request as a dict for config.json."""
  return {name: value for name, value in request._asdict().items() if name != 'cache'}
