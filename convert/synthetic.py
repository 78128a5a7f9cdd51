"""Writes random weights in the published formats, to test and measure the converter.

    python -m convert.synthetic --size=lavie --out=synthetic

makes `synthetic/sd` (Stable Diffusion in the diffusers layout, pickles with the attention names of
2022) and `synthetic/lavie_base.pt` ({'ema': ...}), 4.1 GB with `--size=lavie`. Needs PyTorch, but
not with `--safe`, which makes .safetensors.
"""

import json
import re

import numpy as np
import safetensors.numpy
from absl import app, flags, logging
from etils import epath
from flax import traverse_util

from convert import published
from uniedit_jax.models.config import abstract_params
from uniedit_jax.models.presets import LAVIE, SMALL
from uniedit_jax.runtime import random_init

SIZES = {'small': SMALL, 'lavie': LAVIE}


def torch_state(params):
  """{torch name: array} of a parameter tree: the inverse of `rules.convert`."""
  state = {}
  for path, x in traverse_util.flatten_dict(params, sep='/').items():
    parent, _, leaf = path.rpartition('/')
    # `.N` of a torch name is `_N` in ours; names like `linear_1` have the underscore in both.
    name = re.sub(r'(?<!linear)_(\d+)(?=/|$)', r'.\1', parent).replace('/', '.')
    if leaf == 'kernel':
      x = x.transpose(3, 2, 0, 1) if x.ndim == 4 else x.T
      if re.search(r'(quant_conv|conv_shortcut|proj_in|proj_out)$', name):
        x = x[:, :, None, None]
    leaf = 'bias' if leaf == 'bias' else 'weight'
    state[f'{name}.{leaf}'] = np.ascontiguousarray(x)
  return state


def old_attention_names(state):
  """The state dict of a VAE with the names that Stable Diffusion 1.4 was published with."""
  old = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
  pattern = r'(?<=attentions\.0\.)(to_q|to_k|to_v|to_out\.0)(?=\.)'
  return {re.sub(pattern, lambda match: old[match[0]], name): x for name, x in state.items()}


def write(out, config, seed=0, safe=False):
  """Writes `out`/sd and `out`/lavie_base.pt, or with `safe` .safetensors.

  Args:
    out: path of a folder.
    config: `ModelConfig` of the sizes.
    seed: int.
    safe: whether to write .safetensors, which needs no PyTorch.
  """
  sd = epath.Path(out) / 'sd'
  for folder in ('vae', 'text_encoder', 'tokenizer'):
    (sd / folder).mkdir(parents=True, exist_ok=True)
  draw = lambda part: random_init.random_params(abstract_params(config, part), seed, part)

  # Weights.
  state = torch_state(draw('unet'))
  frequencies = 10000.0 ** (-np.arange(0, config.unet.rotary_dim, 2) / config.unet.rotary_dim)
  for name in [name for name in state if name.endswith('attn_temp.to_q.weight')]:
    state[name.replace('to_q.weight', 'rotary_emb.freqs')] = frequencies.astype(np.float32)
  _save(state, epath.Path(out) / 'lavie_base.pt', safe, wrapper='ema')
  del state
  state = old_attention_names(torch_state(draw('vae')))
  _save(state, sd / 'vae/diffusion_pytorch_model.bin', safe)
  state = torch_state(draw('text'))
  state['text_model.embeddings.position_ids'] = np.arange(config.text.positions)[None]
  _save(state, sd / 'text_encoder/pytorch_model.bin', safe)

  # Configs and tokenizer.
  vae, text = config.vae, config.text
  vae_config = {
    'block_out_channels': vae.channels,
    'layers_per_block': vae.layers,
    'norm_num_groups': vae.groups,
    'latent_channels': vae.latent_channels,
    'act_fn': 'silu',
    'in_channels': 3,
  }
  text_config = {'vocab_size': text.vocabulary, 'max_position_embeddings': text.positions}
  text_config |= {theirs: getattr(text, ours) for ours, theirs in published.TOWER_SIZES.items()}
  text_config['hidden_act'] = 'quick_gelu'
  (sd / 'vae/config.json').write_text(json.dumps(vae_config))
  (sd / 'text_encoder/config.json').write_text(json.dumps(text_config))
  for name, content in random_init.byte_tokenizer(config.text).items():
    (sd / 'tokenizer' / name).write_text(content)


def _save(state, path, safe, wrapper=''):
  """Writes a state dict to a path, or with `safe` to that with the ending .safetensors."""
  if safe:
    safetensors.numpy.save_file(state, path.with_suffix('.safetensors'))
    return
  import torch

  state = {name: torch.from_numpy(x) for name, x in state.items()}
  torch.save({wrapper: state} if wrapper else state, path)


def main(_):
  """Writes the files that the flags name."""
  given = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  write(given.out, SIZES[given.size], given.seed, given.safe)
  ending = 'safetensors' if given.safe else 'pt'
  print(f'wrote {given.out}/sd and {given.out}/lavie_base.{ending}')


if __name__ == '__main__':
  flags.DEFINE_enum('size', 'small', list(SIZES), 'Size of the model.')
  flags.DEFINE_string('out', None, 'Folder to write into.', required=True)
  flags.DEFINE_integer('seed', 0, 'Seed of the weights.')
  flags.DEFINE_bool('safe', False, 'Write .safetensors instead of pickles.')
  app.run(main)
