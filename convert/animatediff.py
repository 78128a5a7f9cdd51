"""Converts Stable Diffusion 1.5, or a finetune of it, with AnimateDiff's motion modules.

    python -m convert.animatediff --sd=stable-diffusion-v1-5/stable-diffusion-v1-5 \
      --motion=guoyww/animatediff/v3_sd15_mm.ckpt --version=3 --out=checkpoints/animatediff

`--sd` is the diffusers layout, a hub id or a local folder, of which unet/, vae/, text_encoder/ and
tokenizer/ are read. `--motion` is the original's file, or diffusers' form as a file or a folder,
here or on the hub. Not every file shows its version, so `--version` says it. The group norms of the
motion modules span one frame in AnimateDiff's code and all frames in diffusers: `--norms` chooses.
Needs PyTorch (`pip install -e '.[convert]'`) unless every file is a .safetensors.
"""

import dataclasses
import re

import numpy as np
from absl import app, flags, logging

from convert import assemble, diffusers_folder, kinds, published, rules, weight_files
from uniedit_jax.models import presets
from uniedit_jax.runtime import checkpoint, hub
from uniedit_jax.runtime.faults import Faults

VERSIONS = {
  '1': presets.ANIMATEDIFF_V1_UNET,
  '2': presets.ANIMATEDIFF_V2_UNET,
  '3': presets.ANIMATEDIFF_UNET,
}
NORMS = 'original', 'diffusers'
PARTS = {'vae': diffusers_folder.VAE, 'text': diffusers_folder.TEXT}
MOTION_WEIGHTS = ('diffusion_pytorch_model',)
# (pattern, replacement), all applied in this order; diffusers' form needs the first alone.
NAMES = (
  (r'\.motion_modules\.', '.temp_attentions.'),
  (r'\.temporal_transformer\.', '.'),
  (r'\.attention_blocks\.0\.', '.attn1.'),
  (r'\.attention_blocks\.1\.', '.attn2.'),
  (r'\.norms\.0\.', '.norm1.'),
  (r'\.norms\.1\.', '.norm2.'),
  (r'\.ff_norm\.', '.norm3.'),
)
# A table of positions f[1, F, C] of a module, or of each of its SA-T.
TABLE = r'\.pos_(embed|encoder)\.pe$'
ATTENTION = r'(.*\.temp_attentions\.\d+\.transformer_blocks\.0\.attn[12])\.to_q\.weight'
MIDDLE = 'mid_block.motion_modules.'


def rename(name):
  """The canonical name of a tensor of AnimateDiff's UNet or of a motion module."""
  return rules.rename(name, NAMES)


def sinusoids(frames, width):
  """The table of positions f32[frames, width]: sines in even channels, cosines in odd ones."""
  angles = np.arange(frames)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
  table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
  return table.reshape(frames, width).astype(np.float32)


def canonical(state, frames):
  """A state dict with canonical names and a table of positions for every SA-T.

  Args:
    state: dict of torch name to array, with or without tables of positions.
    frames: rows of the tables.

  Returns:
    A new dict of the same arrays.

  Raises:
    ValueError: a table that is no sinusoid or has another number of rows.
  """
  renamed = {}
  for name, x in state.items():
    if not re.search(TABLE, name):
      renamed[rename(name)] = x
    # Half-precision files round them.
    elif x.shape[1] != frames or not np.allclose(x[0], sinusoids(*x.shape[1:]), atol=4e-3):
      raise ValueError(f'{name} is no table of sinusoids of {frames} frames: {tuple(x.shape)}')
  attentions = [match for name in renamed if (match := re.fullmatch(ATTENTION, name))]
  for match in attentions:
    width = renamed[match[0]].shape[1]
    renamed[f'{match[1]}.frame_positions'] = sinusoids(frames, width)
  return renamed


def find_motion(where):
  """(place of the folder, names of the files) of motion modules; raises as `find_weights`."""
  is_file = str(where).partition('@')[0].endswith(weight_files.ENDINGS)
  if not is_file:
    return where, weight_files.find_weights(where, MOTION_WEIGHTS)
  weight_files.find_file(where)
  folder, name = hub.split(where)
  return folder, (name,)


def motion_modules(state, config, version):
  """The tensors of motion modules of a state dict, checked.

  Args:
    state: {name: array}; other tensors are left out with a warning, as in AnimateDiff's code.
    config: `UNetConfig` of the whole.
    version: of `VERSIONS`.

  Raises:
    ValueError: there are none, or those of another version or of another Stable Diffusion.
  """
  kinds.refuse_other(state, 'convert.animatediff')
  modules = {name: x for name, x in state.items() if '.motion_modules.' in name}
  if len(modules) < len(state):
    others = sorted(set(state) - set(modules))
    logging.warning('--motion: tensors of no motion module are left out: %s', hub.some(others))
  found = {
    int(match[1]): x.shape[0]
    for name, x in modules.items()
    if (
      match := re.fullmatch(r'down_blocks\.(\d+)\.temp_attentions\.0\.norm\.weight', rename(name))
    )
  }
  widths = tuple(found[level] for level in sorted(found))
  if widths != config.channels:
    of = ', as for Stable Diffusion XL' if len(widths) == 3 else ''
    raise ValueError(
      f'its motion modules are for a UNet of {widths} channels{of}; accepted: those for --sd, of '
      f'{config.channels}'
    )
  middle = any(name.startswith(MIDDLE) for name in modules)
  if middle != (version == '2'):
    has = 'a' if middle else 'no'
    raise ValueError(
      f'it has {has} module in the middle, and --version is {version}; version 2 alone has one'
    )
  return modules


def convert(sd, motion, out, version, norms=NORMS[0]):
  """Converts everything; arguments as the flags.

  Returns:
    [(part, entry of the manifest, seconds)].

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  sd, motion, out = published.places_of(sd=sd, motion=motion, out=out)
  faults = Faults()
  known = VERSIONS[version]
  if norms == 'diffusers':
    known = dataclasses.replace(known, clip_norms=('module',))
  unet = diffusers_folder.unet_part(known, 'UNet2DConditionModel')
  found = diffusers_folder.look(sd, '--sd', {'unet': unet, **PARTS}, faults)
  place, names = faults.attempt(find_motion, motion, field='--motion') or (motion, ())
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  faults += weight_files.lacking_torch([*found.pickles, *names])
  faults.stop()
  config = faults.attempt(dataclasses.replace, presets.ANIMATEDIFF, **found.configs, field='--sd')
  local = faults.attempt(hub.fetch, place, names, field='--motion')
  faults.stop()
  modules = weight_files.read_tensors(local / names[0])
  modules = faults.attempt(
    motion_modules, modules, config.unet, version, field=f'--motion: {names[0]}'
  )
  faults.stop()
  fetched = faults.attempt(found.fetch, field='--sd')
  faults.stop()
  folder, paths = fetched

  def unet_state():
    image = weight_files.read_tensors(paths['unet'])
    return canonical(image | modules, config.unet.frame_positions)

  tokenizer = diffusers_folder.tokenizer(folder)
  return assemble.write(out, config, tokenizer, paths, {'unet': unet_state})


if __name__ == '__main__':
  assemble.define(
    sd='Stable Diffusion 1.5 or a finetune in the diffusers layout: a folder or a hub id.',
    motion="Motion modules, AnimateDiff's or diffusers': a file, a folder, or a place on the hub.",
  )
  flags.DEFINE_enum('version', None, list(VERSIONS), 'Of the motion modules.', required=True)
  flags.DEFINE_enum('norms', NORMS[0], NORMS, 'Whose code the group norms are as in.')
  settings = 'sd', 'motion', 'version', 'norms'
  app.run(lambda argv: assemble.run(argv, 'convert.animatediff', convert, *settings))
