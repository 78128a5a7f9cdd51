"""Reads a model in the diffusers layout: its configs first, its weights once all is right."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from convert import kinds, published, weight_files
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models import vae
from uniedit_jax.models.tokenizers import TOKENIZER_FILES
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.runtime import files, hub

TOKENIZER = tuple(f'tokenizer/{name}' for name in TOKENIZER_FILES)
PADDING = tuple(f'tokenizer/{name}' for name in published.PADDING)
# Fields of ours and their names in the configs of diffusers.
VAE_SIZES = {
  'channels': 'block_out_channels',
  'layers': 'layers_per_block',
  'groups': 'norm_num_groups',
  'latent_channels': 'latent_channels',
  'scale': 'scaling_factor',
}
UNET_SIZES = {
  'channels': 'block_out_channels',
  'layers_per_block': 'layers_per_block',
  'groups': 'norm_num_groups',
  'latent_channels': 'in_channels',
  'text_width': 'cross_attention_dim',
}
SCHEDULE = {
  'beta_schedule': 'beta_schedule',
  'beta_start': 'beta_start',
  'beta_end': 'beta_end',
  'train_steps': 'num_train_timesteps',
  'offset': 'steps_offset',
  'set_alpha_to_one': 'set_alpha_to_one',
}


class Part(NamedTuple):
  """Where a part of the model is.

  Attributes:
    configs: names of the files that its config is read from.
    read: reads the config of a local folder; raises ValueError.
    weights: names of its weights without their endings, the preferred first; () = it has none.
  """

  configs: tuple[str, ...]
  read: Callable
  weights: tuple[str, ...] = ()


class Found(NamedTuple):
  """What `look` found.

  Attributes:
    where: `hub.place` of the folder.
    small: names of the configs and of the tokenizer's files.
    configs: {part: its config}.
    weights: {part: names of its weights, of which the first is read}.
  """

  where: object
  small: list[str]
  configs: dict
  weights: dict

  @property
  def pickles(self):
    """Names of all files of weights, for `weight_files.lacking_torch`."""
    return [name for group in self.weights.values() for name in group]

  def fetch(self):
    """(local folder, {part: local path of its weights}); raises as `hub.fetch`."""
    folder = hub.fetch(self.where, [*self.small, *self.pickles])
    return folder, {part: folder / group[0] for part, group in self.weights.items()}


def look(where, flag, parts, faults):
  """Reads the configs of a folder, which are fetched, and finds its weights, which are not.

  Args:
    where: `hub.place` of the folder.
    flag: which names it.
    parts: {name: `Part`}.
    faults: `Faults`, to which is added what is wrong; nothing of the result may then be used.

  Returns:
    `Found`.
  """
  needed = [*TOKENIZER, *(name for part in parts.values() for name in part.configs)]
  small = tuple(dict.fromkeys(needed))
  folder, names = published.fetch_small(where, small, faults, flag, PADDING)
  found = Found(where, [*names], {}, {})
  for name, part in parts.items() if folder else ():
    if set(part.configs) <= set(names):
      field = f'{flag}: {part.configs[0]}'
      found.configs[name] = faults.attempt(part.read, folder, field=field)
    if part.weights:
      group = faults.attempt(weight_files.find_weights, where, part.weights, field=flag)
      found.weights[name] = group or ()
  if TOKENIZER[-1] in names:
    faults.attempt(files.refuse_pointer, folder / TOKENIZER[-1], field=flag)
  return found


def tokenizer(folder):
  """{name: text} of the tokenizer of a local folder, as a checkpoint keeps it."""
  return {name: files.read_text(folder / 'tokenizer' / name) for name in TOKENIZER_FILES}


def read_vae_config(folder):
  """`VAEConfig` of a local folder."""
  data = files.read_json(folder / 'vae/config.json')
  published.accept(data, 'act_fn', 'silu')
  published.accept(data, 'in_channels', 3)
  # Files of 2022 have no scale.
  defaults = {'groups': 32, 'scale': 0.18215}
  return published.read_sizes(vae.VAEConfig, data, VAE_SIZES, defaults)


def read_text_config(folder):
  """`TextConfig` of a local folder."""
  names = 'text_encoder/config.json', 'tokenizer/vocab.json'
  data, vocabulary = (files.read_json(folder / name) for name in names)
  return published.text_config(data, vocabulary, published.pad_id(folder / 'tokenizer', vocabulary))


def read_unet_config(folder, known, kind):
  """`UNetConfig` of a local folder.

  Args:
    folder: `epath.Path`.
    known: `UNetConfig`, what the config of the folder does not say.
    kind: class of the UNet in diffusers.

  Raises:
    ValueError: it is of another kind; names the converter of that.
  """
  data = files.read_json(folder / 'unet/config.json')
  kinds.refuse_other_class(data.get('_class_name', kind), kind)
  published.accept(data, 'act_fn', 'silu')
  published.accept(data, 'out_channels', data.get('in_channels'))
  heads = data.get('attention_head_dim')
  if isinstance(heads, list):
    accepted = 'one number, as in Stable Diffusion 1.x and ModelScope'
    raise ValueError(f'attention_head_dim is {tuple(heads)}; accepted: {accepted}')
  # diffusers has one name for the number of heads and for the channels of a head.
  names = {**UNET_SIZES, 'head_dim' if known.head_dim else 'heads': 'attention_head_dim'}
  return published.read_sizes(UNetConfig, data, names, dataclasses.asdict(known))


def read_schedule(folder):
  """`NoiseSchedule` of a local folder."""
  data = files.read_json(folder / 'scheduler/scheduler_config.json')
  published.accept(data, 'prediction_type', 'epsilon')
  published.accept(data, 'rescale_betas_zero_snr', False)
  published.accept(data, 'trained_betas', None)
  # What a scheduler of another kind does not say is as in DDIM's of these models.
  defaults = {'offset': 1, 'set_alpha_to_one': False, 'signal_end': 1.0, 'signal_steps': 400}
  return published.read_sizes(NoiseSchedule, data, SCHEDULE, defaults)


def unet_part(known, kind):
  """The `Part` of a UNet; arguments as of `read_unet_config`."""
  read = lambda folder: read_unet_config(folder, known, kind)
  return Part(('unet/config.json',), read, ('unet/diffusion_pytorch_model',))


VAE = Part(('vae/config.json',), read_vae_config, ('vae/diffusion_pytorch_model',))
TEXT = Part(
  ('text_encoder/config.json', 'tokenizer/vocab.json'),
  read_text_config,
  ('text_encoder/model', 'text_encoder/pytorch_model'),
)
