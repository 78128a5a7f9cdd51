"""From the config of a training to a checked dataclass."""

from typing import Any, NamedTuple

import jax

from uniedit_jax.pipeline import values
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime import checkpoint, fields
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.files import folder_fault

PARTS = {'vae': ('vae',), 'model': ('unet', 'text')}
LOOKS = 12  # clips in a validation picture
# The lowest and highest value of each number, and all values of a name.
BOUNDS = {
  'part': tuple(PARTS),
  'seed': values.BOUNDS['seed'],
  'warmup': (1, 10**6),
  'ema': (0, 1),
  'max_minutes': (0, 10**6),
  'save_minutes': (0, 10**6),
  'look_every': (1, 10**9),
  'data.clips': (1, 10**5),  # 50 kB each
  'data.validation': (LOOKS, 10**4),
  'kl_weight': (0, 10**3),
  'prompt_dropout': (0, 1),
  'localization': (0, 10**3),
}
STAGE_BOUNDS = {
  'steps': (1, 10**7),
  'images': (0, 10**5),
  'clips': (0, 10**4),
  'first_rate': (0, 1),
  'last_rate': (0, 1),
}
ASIDE = ('cache', 'max_minutes', 'save_minutes', 'look_every')  # they do not change the result


class TrainingRequest(NamedTuple):
  """A checked training config; fields are those of configs/sprites_{vae,model}.py.

  Attributes:
    clips, validation: rendered clips to train on and to validate with (`data.` of the config).
    stages: list of dicts with 'steps', 'images', 'clips', 'first_rate' and 'last_rate'.
    kl_weight: of a VAE; vae, prompt_dropout, localization: of a model.
  """

  part: str
  init: str
  dtype: str
  seed: int
  cache: str
  warmup: int
  ema: float
  max_minutes: float | None
  save_minutes: float
  look_every: int
  clips: int
  validation: int
  stages: list[dict[str, Any]]
  kl_weight: float | None = None
  vae: str | None = None
  prompt_dropout: float | None = None
  localization: float | None = None


def read_training(config):
  """Checks the config of a training run.

  Raises:
    FaultsError: lists all faults.
  """
  faults = Faults()
  dtype = faults.attempt(resolve_dtype, config.dtype)
  devices = faults.attempt(jax.device_count) or 1

  # Numbers.
  stages = {name: config[name].to_dict() for name in sorted(config) if name.startswith('stage')}
  bounds = BOUNDS | {
    f'{stage}.{name}': bound for stage in stages for name, bound in STAGE_BOUNDS.items()
  }
  out_of_bounds = fields.bound_faults(fields.flatten(config.to_dict()), bounds)
  faults += out_of_bounds.values()
  for name, stage in stages.items():
    for kind in ('images', 'clips'):
      accepted = f'multiples of the {devices} devices'
      sound = f'{name}.{kind}' in out_of_bounds or stage[kind] % devices == 0
      faults.unless(sound, f'{name}.{kind} is {stage[kind]}; accepted: {accepted}')
    sound = stage['images'] or stage['clips']
    faults.unless(sound, f'{name} is {stage}; accepted: images or clips')
  wrong = folder_fault(config.cache)
  faults.unless(not wrong, f'cache is {wrong}')

  # The model.
  sources = {'init': PARTS.get(config.part, ())}
  sources |= {'vae': PARTS['vae']} if config.part == 'model' else {}
  accepted = f'{", ".join(checkpoint.SHIPPED)}, a folder'
  for name, parts in sources.items():
    source, wrong = config[name], Faults()
    if not source:
      continue
    if wrong.attempt(lambda at=source: (checkpoint.locate(at) / 'config.json').exists()):
      faults.attempt(checkpoint.check, source, parts, field=name)
    else:
      why = f'which is no checkpoint{"".join(f" ({fault})" for fault in wrong)}'
      faults.append(f'{name} is {source!r}, {why}; accepted: {accepted}')
  faults.stop()
  given = {name: config[name] for name in TrainingRequest._fields if name in config}
  given |= {'dtype': dtype, 'stages': list(stages.values())}
  return TrainingRequest(clips=config.data.clips, validation=config.data.validation, **given)


def resolve_training(request):
  """The request as a dict for config.json, without the fields that do not change the result."""
  return {name: value for name, value in request._asdict().items() if name not in ASIDE}
