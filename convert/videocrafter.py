"""Converts VideoCrafter2's model.ckpt into a checkpoint folder.

    python -m convert.videocrafter --ckpt=VideoCrafter/VideoCrafter2/model.ckpt \
      --tokenizer=openai/clip-vit-large-patch14 --out=checkpoints/videocrafter2

`--ckpt` holds UNet, VAE and text tower under the names of Latent Diffusion and open_clip, as
Lightning or DeepSpeed wrote them. The tokenizer is not in it: `--tokenizer` is a folder with CLIP's
vocab.json and merges.txt. Both are local or on the hub, owner/repo[/path/in/repo][@revision]. Sizes
come from shapes, so a smaller model of the family converts as well. Needs PyTorch
(`pip install -e '.[convert]'`) unless `--ckpt` is a .safetensors.

The UNet is ModelScope's with a second embedding, of the frames a second, so its names become those
of diffusers' `UNet3DConditionModel`.
"""

import dataclasses
import re

import numpy as np
from absl import app, flags, logging

from convert import assemble, kinds, open_clip, published, rules, weight_files
from uniedit_jax.models import presets
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import of_fields
from uniedit_jax.models.tokenizers import TOKENIZER_FILES
from uniedit_jax.models.unet import INPUT_HEADS, UNetConfig
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.runtime import checkpoint, files, hub
from uniedit_jax.runtime.faults import Faults

LAYER_PARTS = 'resnets', 'attentions', 'temp_attentions'  # of a layer, in execution order
MIDDLE = 'resnets.0', 'attentions.0', 'temp_attentions.0', 'resnets.1'
LAYERS = 3  # of a level: two, and a downsampler; going up, three


def _level_and_layer(number):
  return number // LAYERS, number % LAYERS


def _down(match):
  level, layer = _level_and_layer(int(match[1]) - 1)
  return f'down_blocks.{level}.{LAYER_PARTS[int(match[2])]}.{layer}.'


def _up(match):
  level, layer = _level_and_layer(int(match[1]))
  return f'up_blocks.{level}.{LAYER_PARTS[int(match[2])]}.{layer}.'


# (pattern, replacement), all applied in this order. The temporal convolutions are misspelt there.
NAMES = (
  (r'^(time|fps)_embed(ding)?\.0\.', r'\1_embedding.linear_1.'),
  (r'^(time|fps)_embed(ding)?\.2\.', r'\1_embedding.linear_2.'),
  (r'^input_blocks\.0\.0\.', 'conv_in.'),
  (r'^init_attn\.0\.', 'transformer_in.'),
  (r'^out\.0\.', 'conv_norm_out.'),
  (r'^out\.2\.', 'conv_out.'),
  (
    r'^input_blocks\.(\d+)\.0\.op\.',
    lambda m: f'down_blocks.{int(m[1]) // LAYERS - 1}.downsamplers.0.conv.',
  ),
  (r'^input_blocks\.(\d+)\.(\d)\.', _down),
  (r'^middle_block\.(\d)\.', lambda m: f'mid_block.{MIDDLE[int(m[1])]}.'),
  (
    r'^output_blocks\.(\d+)\.\d\.conv\.',
    lambda m: f'up_blocks.{int(m[1]) // LAYERS}.upsamplers.0.conv.',
  ),
  (r'^output_blocks\.(\d+)\.(\d)\.', _up),
  (r'\.in_layers\.0\.', '.norm1.'),
  (r'\.in_layers\.2\.', '.conv1.'),
  (r'\.emb_layers\.1\.', '.time_emb_proj.'),
  (r'\.out_layers\.0\.', '.norm2.'),
  (r'\.out_layers\.3\.', '.conv2.'),
  (r'\.skip_connection\.', '.conv_shortcut.'),
  (r'resnets\.(\d)\.temopral_conv\.', r'temp_convs.\1.'),
)


# The VAE of Latent Diffusion. Its decoder counts the levels from the output, see `vae_state`.
VAE_NAMES = (
  (r'\.(down|up)\.(\d+)\.block\.(\d+)\.', r'.\1_blocks.\2.resnets.\3.'),
  (r'\.(down|up)\.(\d+)\.(down|up)sample\.', r'.\1_blocks.\2.\3samplers.0.'),
  (r'\.mid\.block_1\.', '.mid_block.resnets.0.'),
  (r'\.mid\.block_2\.', '.mid_block.resnets.1.'),
  (r'\.mid\.attn_1\.norm\.', '.mid_block.attentions.0.group_norm.'),
  (r'\.mid\.attn_1\.([qkv])\.', r'.mid_block.attentions.0.to_\1.'),
  (r'\.mid\.attn_1\.proj_out\.', '.mid_block.attentions.0.to_out.0.'),
  (r'\.nin_shortcut\.', '.conv_shortcut.'),
  (r'\.norm_out\.', '.conv_norm_out.'),
)
PREFIXES = {
  'unet': 'model.diffusion_model.',
  'vae': 'first_stage_model.',
  'text': 'cond_stage_model.model.',
}
# Tensors that are computed from the schedule.
BUFFERS = re.compile(
  r'betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_alphas_cumprod|posterior_\w+|scale_arr'
)
HEAD_DIM = 64  # of every OpenCLIP text tower


def rename(name):
  """The name in diffusers of a tensor of VideoCrafter2's UNet."""
  return rules.rename(name, NAMES)


def vae_state(state, levels):
  """The VAE's state dict of `levels` resolution levels under the names of diffusers."""
  renamed = {rules.rename(f'.{name}', VAE_NAMES)[1:]: x for name, x in state.items()}
  flip = lambda match: f'.up_blocks.{levels - 1 - int(match[1])}.'
  return {re.sub(r'\.up_blocks\.(\d+)\.', flip, name): x for name, x in renamed.items()}


def split(state):
  """The state dicts {'unet', 'vae', 'text', 'buffers'} of a checkpoint, without their prefixes.

  Raises:
    ValueError: it is of another kind, a part is missing, or tensors belong to none.
  """
  kinds.refuse_other(state, 'convert.videocrafter')
  parts = {part: {} for part in (*PREFIXES, 'buffers')}
  unknown = []
  for name, x in state.items():
    part = next((part for part, prefix in PREFIXES.items() if name.startswith(prefix)), None)
    if part:
      parts[part][name.removeprefix(PREFIXES[part])] = x
    elif BUFFERS.fullmatch(name):
      parts['buffers'][name] = x
    else:
      unknown.append(name)
  if unknown:
    raise ValueError(f'tensors of no part of VideoCrafter2: {hub.some(sorted(unknown))}')
  missing = [PREFIXES[part] for part in PREFIXES if not parts[part]]
  if missing:
    raise ValueError(f'it has no tensors under {", ".join(missing)}; accepted: the whole model')
  return parts


def infer_config(parts, vocabulary, groups):
  """{'unet', 'vae', 'text': config} from the shapes of the state dicts of `split`.

  Args:
    parts: of `split`.
    vocabulary: {token: id} of the tokenizer.
    groups: of all group norms.

  Raises:
    ValueError: a tensor that shows a size is missing, as in VideoCrafter1.
  """
  unet, vae, text = ({name: x.shape for name, x in parts[part].items()} for part in PREFIXES)
  count = lambda shapes, pattern: sum(re.fullmatch(pattern, name) is not None for name in shapes)
  try:
    unet = {rename(name): shape for name, shape in unet.items()}
    levels = range(count(unet, r'down_blocks\.\d+\.resnets\.0\.conv1\.weight'))
    sizes = {
      'channels': tuple(unet[f'down_blocks.{i}.resnets.0.conv1.weight'][0] for i in levels),
      'head_dim': unet['transformer_in.proj_in.weight'][0] // INPUT_HEADS,
      'groups': groups,
      'latent_channels': unet['conv_in.weight'][1],
      'text_width': unet['down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight'][1],
    }
    if not any(name.startswith('fps_embedding.') for name in unet):
      raise ValueError('it has no fps_embedding, as VideoCrafter2 has; VideoCrafter1 is not known')
    levels = range(count(vae, r'encoder\.down\.\d+\.block\.0\.conv1\.weight'))
    vae_sizes = {
      'channels': tuple(vae[f'encoder.down.{i}.block.0.conv1.weight'][0] for i in levels),
      'layers': count(vae, r'encoder\.down\.0\.block\.\d+\.conv1\.weight'),
      'groups': groups,
      'latent_channels': vae['post_quant_conv.weight'][0],
    }
    width = text['ln_final.weight'][0]
    text_sizes = {
      'vocabulary': text['token_embedding.weight'][0],
      'positions': text['positional_embedding'][0],
      'width': width,
      # Features are those before the last layer.
      'layers': count(text, r'transformer\.resblocks\.\d+\.ln_1\.weight') - 1,
      'heads': width // HEAD_DIM,
      'mlp_width': text['transformer.resblocks.0.mlp.c_fc.weight'][0],
      **{name: vocabulary.get(published.TEXT_SIZES[name]) for name in ('bos', 'eos')},
    }
  except KeyError as error:
    raise ValueError(f'no VideoCrafter2: {error} is missing') from error
  known = presets.VIDEOCRAFTER2
  read = lambda cls, part, sizes: of_fields(cls, dataclasses.asdict(part) | sizes)
  return {
    'unet': read(UNetConfig, known.unet, sizes),
    'vae': read(VAEConfig, known.vae, vae_sizes),
    'text': read(TextConfig, known.text, text_sizes),
  }


def check_schedule(buffers, schedule):
  """Compares the schedule that a file holds with the one that is used.

  Args:
    buffers: state dict; `scale_arr` is longer than the training in released files.
    schedule: `NoiseSchedule`.

  Raises:
    ValueError: they differ.
  """
  for name, expected in (
    ('alphas_cumprod', schedule.alphas_cumprod),
    ('scale_arr', schedule.signal_scale),
  ):
    if name not in buffers:
      logging.warning('--ckpt: it has no %s; %s is used', name, schedule)
      continue
    found = np.asarray(buffers[name], np.float32)[: len(expected)]
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-3, atol=1e-5):
      raise ValueError(f'{name} is {found[:2]}..{found[-2:]}; accepted: that of {schedule}')


def check_inputs(ckpt, tokenizer, out):
  """Checks the names of the inputs, and fetches what is on the hub.

  Returns:
    (local path of the checkpoint, {name: text} of the tokenizer, its vocabulary {token: id}).

  Raises:
    FaultsError: lists everything that is wrong.
  """
  faults = Faults()
  faults.attempt(weight_files.find_file, ckpt, field='--ckpt')
  folder, names = published.fetch_small(tokenizer, TOKENIZER_FILES, faults, '--tokenizer')
  read = lambda name: files.read_text(folder / name)
  texts = {name: faults.attempt(read, name, field='--tokenizer') for name in names}
  vocabulary = (
    faults.attempt(files.read_json, folder / 'vocab.json', field='--tokenizer')
    if 'vocab.json' in names
    else {}
  )
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  faults += weight_files.lacking_torch([ckpt])
  faults.stop()
  path = faults.attempt(hub.fetch_file, ckpt, field='--ckpt')
  faults.stop()
  return path, texts, vocabulary


def convert(ckpt, tokenizer, out, fps=presets.VIDEOCRAFTER2.unet.fps, groups=32):
  """Converts everything; arguments as the flags.

  Returns:
    [(part, entry of the manifest, seconds)].

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  ckpt, tokenizer, out = published.places_of(ckpt=ckpt, tokenizer=tokenizer, out=out)
  path, texts, vocabulary = check_inputs(ckpt, tokenizer, out)
  try:
    parts = split(weight_files.read_tensors(path))
    sizes = infer_config(parts, vocabulary, groups)
    check_schedule(parts['buffers'], presets.VIDEOCRAFTER2.schedule)
    sizes['unet'] = dataclasses.replace(sizes['unet'], fps=fps)
    config = dataclasses.replace(presets.VIDEOCRAFTER2, **sizes)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  levels = len(config.vae.channels)
  states = {
    'unet': lambda: {rename(name): parts['unet'].pop(name) for name in [*parts['unet']]},
    'vae': lambda: vae_state(parts.pop('vae'), levels),
    'text': lambda: open_clip.text_tower(parts.pop('text'), config.text.layers),
  }
  return assemble.write(out, config, texts, dict.fromkeys(states, path), states)


if __name__ == '__main__':
  assemble.define(
    ckpt='model.ckpt: a file, or owner/repo/path/in/repo of the hub.',
    tokenizer="Folder or hub id with CLIP's vocab.json and merges.txt.",
  )
  fps = 'Frame rate that the UNet is conditioned on, in frames a second.'
  flags.DEFINE_integer('fps', presets.VIDEOCRAFTER2.unet.fps, fps, lower_bound=1)
  groups = 'Groups of all group norms; the shapes do not show them.'
  flags.DEFINE_integer('groups', 32, groups)
  settings = 'ckpt', 'tokenizer', 'fps', 'groups'
  app.run(lambda argv: assemble.run(argv, 'convert.videocrafter', convert, *settings))
