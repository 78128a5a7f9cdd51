"""What a text-to-video model is: `ModelConfig`, its JSON form, its networks and their parameter
trees.
"""

import dataclasses
import json
import typing

import jax
import jax.numpy as jnp

from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models.clip_text import TextConfig, TextEncoder
from uniedit_jax.models.unet import UNet, UNetConfig
from uniedit_jax.models.vae import VAE, VAEConfig

PARTS = ('unet', 'vae', 'text')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A text-to-video model; the defaults are LaVie's.

  Attributes:
    name: for reports.
    unet, vae, text: sizes of the networks.
    schedule: the noise schedule the UNet was trained with.
    frames, height, width, fps: the clips it was trained on (height and width in pixels).
  """

  name: str = 'lavie'
  unet: UNetConfig = dataclasses.field(default_factory=UNetConfig)
  vae: VAEConfig = dataclasses.field(default_factory=VAEConfig)
  text: TextConfig = dataclasses.field(default_factory=TextConfig)
  schedule: NoiseSchedule = dataclasses.field(default_factory=NoiseSchedule)
  frames: int = 16
  height: int = 320
  width: int = 512
  fps: int = 8

  def __post_init__(self):
    faults = []
    if self.unet.text_width != self.text.width:
      faults.append(f'unet.text_width is {self.unet.text_width}, text.width is {self.text.width}')
    if self.unet.latent_channels != self.vae.latent_channels:
      faults.append(
        f'unet.latent_channels is {self.unet.latent_channels}, vae.latent_channels is {self.vae.latent_channels}'
      )
    if self.height % self.vae.factor or self.width % self.vae.factor:
      faults.append(
        f'{self.height} x {self.width} pixels; accepted: multiples of {self.vae.factor}'
      )
    if faults:
      raise ValueError('the parts do not fit together: ' + '; '.join(faults))

  def to_json(self):
    """The config as JSON text."""
    return json.dumps(dataclasses.asdict(self), indent=2) + '\n'

  @classmethod
  def from_json(cls, text):
    """Reads what `to_json` wrote.

    Raises:
      ValueError: fields are unknown, missing or of another type (all are named), or do not fit
        together.
    """
    return read_json(cls, text)


# fields that files of earlier versions lack, and what these mean
LATER = {'unet.frame_positions': 0}


def read_json(cls, text):
  """A dataclass of sizes from the JSON of its fields; raises as `ModelConfig.from_json`."""
  faults = []
  values = _read_fields(cls, json.loads(text), '', faults)
  if faults:
    raise ValueError('config: ' + '; '.join(faults))
  return _construct(cls, values)


def network(config, part, dtype=jnp.float32):
  """The linen module of a part of a `ModelConfig`: 'unet', 'vae' or 'text'."""
  kind = {'unet': UNet, 'vae': VAE, 'text': TextEncoder}[part]
  return kind(getattr(config, part), dtype=dtype)


def abstract_params(config, part):
  """The parameter tree of a part as `jax.ShapeDtypeStruct`s; nothing is computed."""
  side = config.vae.factor  # any size would do: no parameter depends on it
  inputs = {
    'unet': lambda: (
      jnp.zeros((1, side, side, config.unet.latent_channels)),
      jnp.zeros((), jnp.int32),
      jnp.zeros((1, config.unet.text_width)),
    ),
    'vae': lambda: (jnp.zeros((1, side, side, 3)),),
    'text': lambda: (jnp.zeros(1, jnp.int32),),
  }[part]
  init = lambda key: network(config, part).init(key, *inputs())['params']
  return jax.eval_shape(init, jax.random.key(0))


def _read_fields(cls, data, prefix, faults):
  """Checks the fields of nested dataclasses; returns values by name, dicts for nested ones."""
  kinds = _kinds(cls)
  faults += [f'unknown field {prefix}{name}' for name in data if name not in kinds]
  data = {name: LATER[prefix + name] for name in kinds if prefix + name in LATER} | data
  faults += [f'missing field {prefix}{name}' for name in kinds if name not in data]
  values = {}
  for name, kind in kinds.items():
    value = data.get(name)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
      value = _read_fields(kind, value, f'{prefix}{name}.', faults)
    elif name in data:
      value = tuple(value) if isinstance(value, list) else value
      value = float(value) if kind is float and type(value) is int else value
      if type(value) is not kind:
        faults.append(f'{prefix}{name} is {value!r}; accepted: {kind.__name__}')
    values[name] = value
  return values


def _construct(cls, values):
  kinds = _kinds(cls)
  return cls(
    **{k: _construct(kinds[k], v) if isinstance(v, dict) else v for k, v in values.items()}
  )


def _kinds(cls):
  return {
    field.name: typing.get_origin(field.type) or field.type for field in dataclasses.fields(cls)
  }
