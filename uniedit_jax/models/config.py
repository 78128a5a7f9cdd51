"""`ModelConfig`: sizes of a text-to-video model, as JSON, as networks and as parameter trees."""

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
# Defaults for fields missing from older config.json files.
LATER = {'unet.frame_positions': 0}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A text-to-video model; the defaults are LaVie's, as in `presets.LAVIE`.

  Attributes:
    name: for reports.
    unet, vae, text: sizes of the networks.
    schedule: noise schedule of the UNet's training.
    frames, height, width, fps: clips of the training (height and width in pixels).
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
    faults, unet, factor = [], self.unet, self.vae.factor
    if unet.text_width != self.text.width:
      faults.append(f'unet.text_width is {unet.text_width}, text.width is {self.text.width}')
    if unet.latent_channels != self.vae.latent_channels:
      vae = f'vae.latent_channels is {self.vae.latent_channels}'
      faults.append(f'unet.latent_channels is {unet.latent_channels}, {vae}')
    if self.height % factor or self.width % factor:
      faults.append(f'{self.height} x {self.width} pixels; accepted: multiples of {factor}')
    if faults:
      raise ValueError('the parts do not fit together: ' + '; '.join(faults))

  def to_json(self):
    return json.dumps(dataclasses.asdict(self), indent=2) + '\n'

  @classmethod
  def from_json(cls, text):
    """Reads what `to_json` wrote; raises ValueError that names all faults.

    Fields may be unknown, missing or of another type, or not fit together.
    """
    return read_json(cls, text)


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
  # No parameter depends on the number of frames, pixels and tokens.
  side, unet = config.vae.factor, config.unet
  floats = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
  ids = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)
  inputs = {
    'unet': (floats(1, side, side, unet.latent_channels), ids(), floats(1, unet.text_width)),
    'vae': (floats(1, side, side, 3),),
    'text': (ids(1),),
  }
  return jax.eval_shape(network(config, part).init, jax.random.key(0), *inputs[part])['params']


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
  build = lambda kind, value: _construct(kind, value) if isinstance(value, dict) else value
  fields = {name: build(kind, values[name]) for name, kind in _kinds(cls).items()}
  return cls(**fields)


def _kinds(cls):
  fields = dataclasses.fields(cls)
  return {field.name: typing.get_origin(field.type) or field.type for field in fields}
