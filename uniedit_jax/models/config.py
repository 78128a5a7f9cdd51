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
LATER = {
  'unet.frame_positions': 0,
  'text.activation': 'quick_gelu',
  'text.pad': -1,
  'schedule.signal_end': 1.0,
  'schedule.signal_steps': 400,
  'schedule.set_alpha_to_one': False,
  'unet.head_dim': 0,
  'unet.temporal': ('block',),
  'unet.clip_norms': ('resnet',),
  'unet.fps': 0,
  'guidance': 7.5,
}
# Least and most of the numbers of a field, of each in a tuple; beyond them no model of the kind is.
# A name with its class goes before.
ACCEPTED = {
  'channels': (1, 8192),
  'heads': (1, 256),
  'groups': (1, 1024),
  'layers_per_block': (1, 16),
  'layers': (1, 64),
  'latent_channels': (1, 256),
  'text_width': (1, 16384),
  'rotary_dim': (0, 512),
  'relative_buckets': (0, 1024),
  'relative_max_distance': (2, 65536),
  'frame_positions': (0, 4096),
  'head_dim': (0, 512),
  'UNetConfig.fps': (0, 240),
  'scale': (1e-4, 1e4),
  'vocabulary': (1, 10**6),
  'positions': (2, 4096),
  'width': (1, 16384),
  'mlp_width': (1, 65536),
  'bos': (0, 10**6),
  'eos': (0, 10**6),
  'pad': (-1, 10**6),
  'beta_start': (1e-8, 1.0),
  'beta_end': (1e-8, 1.0),
  'train_steps': (2, 10**5),
  # Even with as many steps as there are, the noisiest is one of the training's.
  'offset': (0, 1),
  'signal_end': (1e-3, 1.0),
  'signal_steps': (2, 10**5),
  'frames': (1, 4096),
  'height': (1, 16384),
  'fps': (1, 240),
  'guidance': (-100, 100),
  'size': (1, 4096),
  'patch': (1, 4096),
}
MOST_LEVELS = 8  # of a network: the entries of a tuple


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A text-to-video model; the defaults are LaVie's, as in `presets.LAVIE`.

  Attributes:
    name: for reports.
    unet, vae, text: sizes of the networks.
    schedule: noise schedule of the UNet's training.
    frames, height, width, fps: clips of the training (height and width in pixels).
    guidance: the usual scale of classifier-free guidance.
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
  guidance: float = 7.5

  def __post_init__(self):
    faults, unet, factor = [], self.unet, self.vae.factor
    if unet.text_width != self.text.width:
      faults.append(f'unet.text_width is {unet.text_width}, text.width is {self.text.width}')
    if unet.latent_channels != self.vae.latent_channels:
      vae = f'vae.latent_channels is {self.vae.latent_channels}'
      faults.append(f'unet.latent_channels is {unet.latent_channels}, {vae}')
    if self.height % factor or self.width % factor:
      faults.append(f'{self.height} x {self.width} pixels; accepted: multiples of {factor}')
    if 0 < unet.frame_positions < self.frames:
      positions = f'unet.frame_positions is {unet.frame_positions}'
      faults.append(f'{positions} of {self.frames} frames; accepted: 0, or at least as many')
    if max(self.text.bos, self.text.eos, self.text.pad) >= self.text.vocabulary:
      tokens = f'text.bos is {self.text.bos}, text.eos is {self.text.eos}'
      tokens += f', text.pad is {self.text.pad}' if self.text.pad >= 0 else ''
      faults.append(f'{tokens}; accepted: less than text.vocabulary, {self.text.vocabulary}')
    if faults:
      raise ValueError('the parts do not fit together: ' + '; '.join(faults))

  def to_json(self):
    return json.dumps(dataclasses.asdict(self), indent=2) + '\n'

  @classmethod
  def from_json(cls, text):
    """Reads what `to_json` wrote; raises ValueError as `of_fields`."""
    return of_fields(cls, json.loads(text))


def of_fields(cls, data, names=()):
  """A dataclass of sizes from a dict of its fields, with dicts for nested ones; lists are tuples.

  Args:
    cls: the dataclass.
    data: what JSON can hold.
    names: {field: what it is called where it comes from}, for the faults.

  Raises:
    ValueError: names all faults: fields that are unknown, missing, of another type or outside of
      `ACCEPTED`, or that do not fit together.
  """
  faults = []
  values = _read_fields(cls, data, '', faults, dict(names))
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


def _read_fields(cls, data, prefix, faults, names):
  """Checks the fields of nested dataclasses; returns values by name, dicts for nested ones."""
  if not isinstance(data, dict):
    faults.append(f'{prefix.rstrip(".") or "it"} is {data!r:.80}; accepted: {cls.__name__}')
    return {}
  kinds = {field.name: field.type for field in dataclasses.fields(cls)}
  faults += [f'unknown field {prefix}{name}' for name in data if name not in kinds]
  data = {name: LATER[prefix + name] for name in kinds if prefix + name in LATER} | data
  values = {}
  for name, kind in kinds.items():
    shown = names.get(prefix + name, prefix + name)
    if name not in data:
      faults.append(f'missing field {shown}')
    elif dataclasses.is_dataclass(kind):
      values[name] = _read_fields(kind, data[name], f'{prefix}{name}.', faults, names)
    else:
      value = tuple(data[name]) if isinstance(data[name], list) else data[name]
      values[name] = float(value) if kind is float and type(value) is int else value
      limits = ACCEPTED.get(f'{cls.__name__}.{name}') or ACCEPTED.get(name, (None, None))
      if accepted := _refused(values[name], kind, limits):
        faults.append(f'{shown} is {value!r:.80}; accepted: {accepted}')
  return values


def _refused(value, kind, limits):
  """What is accepted for a field, if the value is something else; else None."""
  many = typing.get_origin(kind) is tuple
  inner = typing.get_args(kind)[0] if many else kind
  numbers = value if many and type(value) is tuple else (value,)
  least, most = limits
  # Words may all be absent, levels may not.
  fewest = 0 if inner is str else 1
  counted = not many or (type(value) is tuple and fewest <= len(value) <= MOST_LEVELS)
  if counted and all(type(x) is inner and (least is None or least <= x <= most) for x in numbers):
    return None
  shown = '' if least is None else f' from {least} to {most}'
  return f'{f"{fewest} to {MOST_LEVELS} times " if many else ""}{inner.__name__}{shown}'


def _construct(cls, values):
  kinds = {field.name: field.type for field in dataclasses.fields(cls)}
  build = lambda kind, value: _construct(kind, value) if isinstance(value, dict) else value
  return cls(**{name: build(kinds[name], value) for name, value in values.items()})
