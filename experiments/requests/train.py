"""From the config of a training to a checked dataclass."""

from typing import Any, NamedTuple

import jax

from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.faults import Faults

PARTS = {'vae': ('vae',), 'model': ('unet', 'text')}
LOOKS = 12  # clips in a validation picture
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
  faults.unless(config.part in PARTS, f"part is {config.part!r}; accepted: 'vae', 'model'")

  # Stages and data.
  stages = [config[name].to_dict() for name in sorted(config) if name.startswith('stage')]
  devices = jax.device_count()
  for i, stage in enumerate(stages, 1):
    for name in ('images', 'clips'):
      sound = stage[name] >= 0 and stage[name] % devices == 0
      accepted = f'multiples of the {devices} devices'
      faults.unless(sound, f'stage{i}.{name} is {stage[name]}; accepted: {accepted}')
    sound = stage['steps'] >= 1 and stage['images'] + stage['clips']
    faults.unless(sound, f'stage{i} is {stage}; accepted: at least one step, and images or clips')
  faults.unless(
    config.data.clips >= 1 and config.data.validation >= LOOKS,
    f'data is {config.data.to_dict()}; accepted: clips and at least {LOOKS} for validation',
  )

  # The model.
  sources = {'init': (config.init, PARTS.get(config.part, ()))}
  if config.part == 'model':
    sound = config.localization >= 0
    faults.unless(sound, f'localization is {config.localization}; accepted: 0 or more')
    sources['vae'] = config.vae, PARTS['vae']
  accepted = f'{", ".join(checkpoint.SHIPPED)}, a folder'
  for name, (source, parts) in sources.items():
    if source and not (checkpoint.locate(source) / 'config.json').exists():
      faults.append(f'{name} is {source!r}, which is no checkpoint; accepted: {accepted}')
    elif source:
      faults.attempt(checkpoint.check, source, parts, field=name)
  dtype = faults.attempt(resolve_dtype, config.dtype)
  faults.stop()
  fields = {name: config[name] for name in TrainingRequest._fields if name in config}
  fields |= {'dtype': dtype, 'stages': stages}
  return TrainingRequest(clips=config.data.clips, validation=config.data.validation, **fields)


def resolve_training(request):
  """The request as a dict for config.json, without the fields that do not change the result."""
  return {name: value for name, value in request._asdict().items() if name not in ASIDE}
