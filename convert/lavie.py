"""Converts Stable Diffusion 1.4 and LaVie's base model into a checkpoint folder.

    python -m convert.lavie --sd=CompVis/stable-diffusion-v1-4 \
      --lavie=Vchitect/LaVie/lavie_base.pt --out=checkpoints/lavie

`--sd` is the diffusers layout, of which text_encoder/, vae/ and tokenizer/ are read. Both are hub
ids, owner/repo[/path/in/repo][@revision], of which only the files needed are fetched
(docs/weights.md), or local: a folder and a file. Sizes come from the config.json files and, for the
UNet, from the shapes in `--lavie`, so a smaller model of the family converts as well. Needs PyTorch
(`pip install -e '.[convert]'`) unless every file is a .safetensors.
"""

import dataclasses
import re

from absl import app, flags

from convert import assemble, diffusers_folder, kinds, published, weight_files
from uniedit_jax.models.config import ModelConfig, of_fields
from uniedit_jax.models.presets import LAVIE
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.runtime import checkpoint, hub
from uniedit_jax.runtime.faults import Faults

PARTS = {'vae': diffusers_folder.VAE, 'text': diffusers_folder.TEXT}


def check_inputs(sd, lavie, out):
  """Checks every input without loading weights; files on the hub are fetched once all is right.

  Args:
    sd: `hub.place` of Stable Diffusion in the diffusers layout.
    lavie: `hub.place` of LaVie's weights.
    out: `epath.Path` to write.

  Returns:
    (local folder of `sd`, {part: local path of its weights}, {'vae', 'text': its config}).

  Raises:
    FaultsError: lists everything that is wrong.
  """
  faults = Faults()
  found = diffusers_folder.look(sd, '--sd', PARTS, faults)
  faults.attempt(weight_files.find_file, lavie, field='--lavie')
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  faults += weight_files.lacking_torch([*found.pickles, lavie])
  faults.stop()

  fetched = faults.attempt(found.fetch, field='--sd')
  unet = faults.attempt(hub.fetch_file, lavie, field='--lavie')
  faults.stop()
  folder, weights = fetched
  return folder, weights | {'unet': unet}, found.configs


def infer_unet_config(state, groups):
  """`UNetConfig` from the shapes of a LaVie state dict, which show everything but the groups.

  Raises:
    ValueError: it is of another kind, tensors that every UNet of the family has are missing, or
      sizes that no UNet has.
  """
  kinds.refuse_other(state, 'convert.lavie')
  count = lambda pattern: sum(re.fullmatch(pattern, name) is not None for name in state)
  levels = count(r'down_blocks\.\d+\.resnets\.0\.conv1\.weight')
  block = 'down_blocks.0.attentions.0.transformer_blocks.0'
  bias = f'{block}.attn_temp.time_rel_pos_bias.relative_attention_bias.weight'
  text = f'{block}.attn2.to_k.weight'
  if not levels or any(name not in state for name in (bias, text, 'conv_in.weight')):
    some = ', '.join(sorted(state)[:5])
    missing = f'conv_in, {text} or {bias} is missing'
    raise ValueError(f'no LaVie UNet: {missing}; the file begins with {some}')
  convolutions = [f'down_blocks.{i}.resnets.0.conv1.weight' for i in range(levels)]
  sizes = {
    'channels': tuple(state[name].shape[0] for name in convolutions),
    'heads': state[bias].shape[1],
    'groups': groups,
    'layers_per_block': count(r'down_blocks\.0\.resnets\.\d+\.conv1\.weight'),
    'latent_channels': state['conv_in.weight'].shape[1],
    'text_width': state[text].shape[1],
    'relative_buckets': state[bias].shape[0],
  }
  return of_fields(UNetConfig, dataclasses.asdict(UNetConfig()) | sizes)


def convert(sd, lavie, out, groups=32):
  """Converts everything; arguments as the flags.

  Returns:
    [(part, entry of the manifest, seconds)].

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  sd, lavie, out = published.places_of(sd=sd, lavie=lavie, out=out)
  folder, paths, configs = check_inputs(sd, lavie, out)
  state = weight_files.read_tensors(paths['unet'])
  config = ModelConfig(unet=infer_unet_config(state, groups), schedule=LAVIE.schedule, **configs)
  tokenizer = diffusers_folder.tokenizer(folder)
  return assemble.write(out, config, tokenizer, paths, {'unet': lambda: state})


if __name__ == '__main__':
  assemble.define(
    sd='Stable Diffusion 1.4 in the diffusers layout: a folder or a hub id.',
    lavie="LaVie's base model: a file, or owner/repo/path/in/repo of the hub.",
  )
  groups = 'Groups of the group norms of the UNet; the shapes do not show them.'
  flags.DEFINE_integer('groups', 32, groups)
  app.run(lambda argv: assemble.run(argv, 'convert.lavie', convert, 'sd', 'lavie', 'groups'))
