"""Checkpoints with random parameters and a byte tokenizer, to try programs without weights."""

import json
import zlib

import numpy as np
from flax import traverse_util

from uniedit_jax.models.config import PARTS, abstract_params
from uniedit_jax.runtime.checkpoint import creating, save_params


def init_random(folder, config, seed=0, progress=iter):
  """Writes a checkpoint with random parameters and a byte tokenizer.

  Activations, latents, frames and predicted noise are of order one. The numbers depend on nothing
  but the seed and the path of a leaf, and are the same on every machine.

  Args:
    folder: path.
    config: `ModelConfig`.
    seed: int.
    progress: wraps the iterable of leaves to show progress, such as `tqdm.tqdm`.

  Raises:
    FileExistsError: the folder exists and is not empty.
  """
  with creating(folder, config, byte_tokenizer(config.text)) as staging:
    for part in PARTS:
      params = random_params(abstract_params(config, part), seed, part, progress)
      # The latents are the output of this layer times config.vae.scale.
      if part == 'vae':
        params['quant_conv']['kernel'] /= config.vae.scale
      save_params(staging, part, params, source=f'random, seed {seed}')


def random_params(abstract, seed=0, part='', progress=iter):
  """Draws a tree of np.float32 with the shapes of `abstract`; `part` is mixed into the seed.

  Kernels are N(0, 1 / fan_in), embeddings N(0, 1), scales N(1, 0.1^2), biases N(0, 0.1^2).
  `progress` wraps the iterable of leaves.
  """
  params = {}
  for path, leaf in progress(traverse_util.flatten_dict(abstract, sep='/').items()):
    rng = np.random.default_rng([seed, zlib.crc32(f'{part}/{path}'.encode())])
    x = rng.standard_normal(leaf.shape, np.float32)
    kind = path.rpartition('/')[2]
    # Embeddings keep unit variance: their readers normalise first, or are a softmax.
    x *= {'kernel': np.prod(leaf.shape[:-1]) ** -0.5, 'embedding': 1.0}.get(kind, 0.1)
    params[path] = x + np.float32(1) if kind == 'scale' else x
  return traverse_util.unflatten_dict(params, sep='/')


def byte_tokenizer(config):
  """Files {'vocab.json': text, 'merges.txt': text} of a tokenizer in CLIP's format on bytes.

  The `TextConfig` must have room for 512 bytes (inside and at the end of words) and the two special
  tokens; raises ValueError otherwise.
  """
  if config.vocabulary < 514 or min(config.bos, config.eos) < 512:
    accepted = 'accepted: a vocabulary of at least 514, bos and eos at least 512'
    raise ValueError(f'text is {config}; {accepted}')
  # Byte-level BPE writes printable bytes as themselves and all others as code points from 256 on.
  printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
  others = iter(range(256, 512))
  symbols = [chr(byte if byte in printable else next(others)) for byte in range(256)]
  tokens = [*symbols, *(f'{symbol}</w>' for symbol in symbols)]
  vocabulary = {token: i for i, token in enumerate(tokens)}
  vocabulary |= {'<|startoftext|>': config.bos, '<|endoftext|>': config.eos}
  return {'vocab.json': json.dumps(vocabulary), 'merges.txt': '#version: 0.2\n'}
