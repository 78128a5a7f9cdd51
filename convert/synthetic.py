"""Writes random weights in the published formats, to test and measure the converters.

    python -m convert.synthetic --size=lavie --out=synthetic

`--size` is a name of `presets.MODELS`. LaVie's become `sd` (Stable Diffusion in the diffusers
layout, with the attention names of 2022) and `lavie_base.pt` ({'ema': ...}); ModelScope's and
ZeroScope's a folder `source` in the diffusers layout; VideoCrafter2's `model.ckpt` and `tokenizer`;
AnimateDiff's `sd` and `motion.ckpt`. 4 to 7 GB in full size. Needs PyTorch, but not with `--safe`,
which makes .safetensors.
"""

import json
import re

import numpy as np
import safetensors.numpy
from absl import app, flags, logging
from etils import epath
from flax import traverse_util

from convert import diffusers_folder, published, published_names, videocrafter
from uniedit_jax.models.config import abstract_params
from uniedit_jax.models.presets import MODELS
from uniedit_jax.runtime import random_init


def torch_state(params):
  """{torch name: array} of a parameter tree: the inverse of `rules.convert`."""
  state = {}
  for path, x in traverse_util.flatten_dict(params, sep='/').items():
    parent, _, leaf = path.rpartition('/')
    # `.N` of a torch name is `_N` in ours; names like `linear_1` have the underscore in both.
    name = re.sub(r'(?<!linear)_(\d+)(?=/|$)', r'.\1', parent).replace('/', '.')
    if leaf == 'kernel':
      x = x.T if x.ndim == 2 else np.moveaxis(x, (-1, -2), (0, 1))
      if re.search(r'(quant_conv|conv_shortcut|(?<!temp_)attentions\.\d+\.proj_(in|out))$', name):
        x = x[:, :, None, None]
      if 'temp_convs' in name:
        name = re.sub(r'_(\d)$', r'.\1', name)
        x = x[..., None, None]
    leaf = leaf if leaf in ('bias', 'frame_positions') else 'weight'
    state[f'{name}.{leaf}'] = np.ascontiguousarray(x)
  return state


def old_attention_names(state):
  """The state dict of a VAE with the names that Stable Diffusion 1.4 was published with."""
  old = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
  pattern = r'(?<=attentions\.0\.)(to_q|to_k|to_v|to_out\.0)(?=\.)'
  return {re.sub(pattern, lambda match: old[match[0]], name): x for name, x in state.items()}


def write(out, config, seed=0, safe=False):
  """Writes the files of a model as its authors publish them.

  Args:
    out: path of a folder.
    config: `ModelConfig` of the sizes; the kind is the beginning of its name, else LaVie.
    seed: int.
    safe: whether to write .safetensors, which needs no PyTorch.

  Returns:
    The names of what is in `out`.
  """
  out, kind = epath.Path(out), re.match(r'[a-z]*', config.name)[0]
  draw = lambda part: torch_state(
    random_init.random_params(abstract_params(config, part), seed, part)
  )
  if kind == 'videocrafter':
    return _write_videocrafter(out, config, draw, safe)
  is_modelscope = kind in ('modelscope', 'zeroscope')
  folder = out / ('source' if is_modelscope else 'sd')
  for name in ('vae', 'text_encoder', 'tokenizer', 'scheduler', 'unet'):
    (folder / name).mkdir(parents=True, exist_ok=True)
  unet = draw('unet')
  if is_modelscope:
    _save(unet, folder / 'unet/diffusion_pytorch_model.bin', safe)
    names = ['source']
  elif kind == 'animatediff':
    motion = {name: x for name, x in unet.items() if '.temp_attentions.' in name}
    image = {name: x for name, x in unet.items() if name not in motion}
    _save(image, folder / 'unet/diffusion_pytorch_model.bin', safe)
    _save(
      published_names.of_motion_modules(motion, config.unet.frame_positions),
      out / 'motion.ckpt',
      safe,
    )
    names = ['sd', 'motion.ckpt']
  else:
    frequencies = 10000.0 ** (-np.arange(0, config.unet.rotary_dim, 2) / config.unet.rotary_dim)
    for name in [name for name in unet if name.endswith('attn_temp.to_q.weight')]:
      unet[name.replace('to_q.weight', 'rotary_emb.freqs')] = frequencies.astype(np.float32)
    _save(unet, out / 'lavie_base.pt', safe, wrapper='ema')
    names = ['sd', 'lavie_base.pt']
  del unet
  vae = draw('vae')
  _save(
    vae if is_modelscope else old_attention_names(vae),
    folder / 'vae/diffusion_pytorch_model.bin',
    safe,
  )
  text = draw('text')
  text['text_model.embeddings.position_ids'] = np.arange(config.text.positions)[None]
  _save(text, folder / 'text_encoder/pytorch_model.bin', safe)
  _write_configs(folder, config)
  _write_tokenizer(folder / 'tokenizer', config.text)
  return names


def _write_configs(folder, config):
  """The config files of a folder in the diffusers layout."""
  unet, vae, text, schedule = config.unet, config.vae, config.text, config.schedule
  of = lambda part, names: {theirs: getattr(part, ours) for ours, theirs in names.items()}
  configs = {
    'vae/config.json': of(vae, diffusers_folder.VAE_SIZES) | {'act_fn': 'silu', 'in_channels': 3},
    'text_encoder/config.json': of(text, published.TOWER_SIZES)
    | {
      'vocab_size': text.vocabulary,
      'max_position_embeddings': text.positions,
      'hidden_act': text.activation,
    },
    'unet/config.json': of(unet, diffusers_folder.UNET_SIZES)
    | {
      '_class_name': 'UNet3DConditionModel' if unet.head_dim else 'UNet2DConditionModel',
      'attention_head_dim': unet.head_dim or unet.heads,
      'act_fn': 'silu',
      'out_channels': unet.latent_channels,
    },
    'scheduler/scheduler_config.json': of(schedule, diffusers_folder.SCHEDULE)
    | {'prediction_type': 'epsilon'},
  }
  for name, content in configs.items():
    (folder / name).write_text(json.dumps(content))


def _write_tokenizer(folder, text):
  folder.mkdir(parents=True, exist_ok=True)
  files = random_init.byte_tokenizer(text)
  for name, content in files.items():
    (folder / name).write_text(content)
  if text.pad >= 0:
    token = [*json.loads(files['vocab.json'])][text.pad]
    (folder / published.PADDING[1]).write_text(json.dumps({'pad_token': token}))


def _write_videocrafter(out, config, draw, safe):
  schedule, prefixes = config.schedule, videocrafter.PREFIXES
  state = {
    'alphas_cumprod': schedule.alphas_cumprod,
    # The released file's is longer than the training.
    'scale_arr': np.float32([*schedule.signal_scale, *[schedule.signal_end] * 400]),
  }
  for part, rename in (
    ('unet', published_names.of_videocrafter_unet),
    ('vae', published_names.of_latent_diffusion_vae),
    ('text', published_names.of_open_clip),
  ):
    state |= {prefixes[part] + name: x for name, x in rename(draw(part)).items()}
  out.mkdir(parents=True, exist_ok=True)
  _save(state, out / 'model.ckpt', safe, wrapper='state_dict')
  _write_tokenizer(out / 'tokenizer', config.text)
  return ['model.ckpt', 'tokenizer']


def _save(state, path, safe, wrapper=''):
  """Writes a state dict to a path, or with `safe` to that with the ending .safetensors."""
  if safe:
    contiguous = {name: np.ascontiguousarray(x) for name, x in state.items()}
    safetensors.numpy.save_file(contiguous, path.with_suffix('.safetensors'))
    return
  import torch

  state = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in state.items()}
  torch.save({wrapper: state} if wrapper else state, path)


def main(_):
  """Writes the files that the flags name."""
  given = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  for name in write(given.out, MODELS[given.size], given.seed, given.safe):
    print(f'wrote {given.out}/{name}')


if __name__ == '__main__':
  flags.DEFINE_enum('size', 'small', list(MODELS), 'Whose files, in which size.')
  flags.DEFINE_string('out', None, 'Folder to write into.', required=True)
  flags.DEFINE_integer('seed', 0, 'Seed of the weights.')
  flags.DEFINE_bool('safe', False, 'Write .safetensors instead of pickles.')
  app.run(main)
