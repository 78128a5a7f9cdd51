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
import time

from absl import app, flags, logging
from tqdm import tqdm

from convert import published, rules, weight_files
from uniedit_jax.method import diffusion
from uniedit_jax.models import unet, vae
from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params, of_fields
from uniedit_jax.models.tokenizers import TOKENIZER_FILES
from uniedit_jax.runtime import checkpoint, files, hub
from uniedit_jax.runtime.faults import Faults, told_in_one_line

# Names of the weights without their endings, the preferred first.
WEIGHTS = {
  'vae': ('vae/diffusion_pytorch_model',),
  'text': ('text_encoder/model', 'text_encoder/pytorch_model'),
}
TOKENIZER = tuple(f'tokenizer/{name}' for name in TOKENIZER_FILES)
# Fields of `VAEConfig` and their names in the configs of diffusers.
VAE_SIZES = {
  'channels': 'block_out_channels',
  'layers': 'layers_per_block',
  'groups': 'norm_num_groups',
  'latent_channels': 'latent_channels',
  'scale': 'scaling_factor',
}


def check_inputs(sd, lavie, out):
  """Checks every input without loading weights; files on the hub are fetched once all is right.

  Args:
    sd: `hub.place` of Stable Diffusion in the diffusers layout.
    lavie: `hub.place` of LaVie's weights.
    out: `epath.Path` to write.

  Returns:
    (local folder of `sd`, {part: local path of its weights}, `VAEConfig`, `TextConfig`).

  Raises:
    FaultsError: lists everything that is wrong.
  """
  # Configs and tokenizer.
  faults, configs = Faults(), []
  needed = {
    read_vae_config: ('vae/config.json',),
    read_text_config: ('text_encoder/config.json', 'tokenizer/vocab.json'),
  }
  small = dict.fromkeys((*TOKENIZER, *(name for names in needed.values() for name in names)))
  folder, found = published.fetch_small(sd, small, faults, '--sd')
  for read, names in needed.items() if folder else ():
    if set(names) <= set(found):
      configs.append(faults.attempt(read, folder, field=f'--sd: {read.__name__}'))
  if TOKENIZER[-1] in found:
    faults.attempt(files.refuse_pointer, folder / TOKENIZER[-1], field='--sd')

  # Names of the weights, output and PyTorch.
  faults.attempt(weight_files.find_file, lavie, field='--lavie')
  groups = {}
  for part, stems in WEIGHTS.items() if folder else ():
    groups[part] = faults.attempt(weight_files.find_weights, sd, stems, field='--sd') or ()
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  names = [name for group in groups.values() for name in group]
  faults += weight_files.lacking_torch([*names, lavie])
  faults.stop()

  folder = faults.attempt(hub.fetch, sd, [*small, *names], field='--sd')
  unet = faults.attempt(hub.fetch_file, lavie, field='--lavie')
  faults.stop()
  return (
    folder,
    {'unet': unet} | {part: folder / group[0] for part, group in groups.items()},
    *configs,
  )


def read_vae_config(sd):
  """`VAEConfig` of a diffusers folder."""
  data = files.read_json(sd / 'vae/config.json')
  published.accept(data, 'act_fn', 'silu')
  published.accept(data, 'in_channels', 3)
  # Files of 2022 have no scale.
  defaults = {'groups': 32, 'scale': 0.18215}
  return published.read_sizes(vae.VAEConfig, data, VAE_SIZES, defaults)


def read_text_config(sd):
  """`TextConfig` of a diffusers folder."""
  names = 'text_encoder/config.json', 'tokenizer/vocab.json'
  data, vocabulary = (files.read_json(sd / name) for name in names)
  return published.text_config(data, vocabulary, published.pad_id(sd / 'tokenizer', vocabulary))


def infer_unet_config(state, groups):
  """`UNetConfig` from the shapes of a LaVie state dict, which show everything but the groups.

  Raises:
    ValueError: tensors that every UNet of the family has are missing, or sizes that no UNet has.
  """
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
  return of_fields(unet.UNetConfig, dataclasses.asdict(unet.UNetConfig()) | sizes)


def convert(sd, lavie, out, groups=32):
  """Converts everything; arguments as the flags.

  Returns:
    [(part, entry of the manifest, seconds)].

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  sd, lavie, out = published.places_of(sd=sd, lavie=lavie, out=out)
  sd, sources, vae_config, text_config = check_inputs(sd, lavie, out)
  rows, started = [], time.monotonic()
  state = weight_files.read_tensors(sources['unet'])
  config = ModelConfig(
    unet=infer_unet_config(state, groups),
    vae=vae_config,
    text=text_config,
    schedule=diffusion.NoiseSchedule('linear', 1e-4, 2e-2),
  )
  tokenizer = {name: files.read_text(sd / 'tokenizer' / name) for name in TOKENIZER_FILES}
  with checkpoint.creating(out, config, tokenizer) as staging:
    for part in tqdm(PARTS, unit='part'):
      state = state if part == 'unet' else weight_files.read_tensors(sources[part])
      try:
        params = rules.convert(state, abstract_params(config, part))
      except ValueError as error:
        raise ValueError(f'{sources[part]}: {error}') from error
      # The file is closed when nothing refers to it.
      state = None
      entry = checkpoint.save_params(staging, part, params, source=hub.origin(sources[part]))
      del params
      rows.append((part, entry, time.monotonic() - started))
      started = time.monotonic()
  return rows


def main(argv):
  """Converts what the flags name and prints a table of the parts."""
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  given = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  with told_in_one_line('convert.lavie'):
    rows = convert(given.sd, given.lavie, given.out, given.groups)
  print(f'{"part":6}{"tensors":>9}{"parameters":>14}{"seconds":>9}  sha256')
  for part, entry, seconds in rows:
    numbers = f'{entry["tensors"]:9}{entry["parameters"]:14,}{seconds:9.1f}'
    print(f'{part:6}{numbers}  {entry["sha256"]}')
  print(f'wrote {given.out}')


if __name__ == '__main__':
  inputs = {
    'sd': 'Stable Diffusion 1.4 in the diffusers layout: a folder or a hub id.',
    'lavie': "LaVie's base model: a file, or owner/repo/path/in/repo of the hub.",
    'out': 'Folder to write; must not exist yet.',
  }
  for name, description in inputs.items():
    flags.DEFINE_string(name, None, description, required=True)
  groups = 'Groups of the group norms of the UNet; the shapes do not show them.'
  flags.DEFINE_integer('groups', 32, groups)
  app.run(main)
