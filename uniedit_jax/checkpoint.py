"""Checkpoint folders: what a model is (config.json), its parameters (orbax, float32) and its tokenizer.

    <folder>/config.json                      ModelConfig
    <folder>/manifest.json                    per part: parameters, sha256 of them, where they came from
    <folder>/unet/  vae/  text/               one orbax tree each
    <folder>/tokenizer/vocab.json merges.txt

A folder appears whole or not at all: it is written beside its place and renamed at the end.
"""

import contextlib
import hashlib
import json
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from flax import traverse_util

from uniedit_jax.model_config import PARTS, SMALL, ModelConfig, abstract_params, network
from uniedit_jax.models import clip

__all__ = [
  'PARTS',
  'SMALL',
  'Model',
  'ModelConfig',
  'abstract_params',
  'byte_tokenizer',
  'creating',
  'init_random',
  'load',
  'network',
  'random_params',
  'refuse_to_overwrite',
  'save_params',
]


class Model(NamedTuple):
  """A loaded checkpoint.

  Attributes:
    config: `ModelConfig`.
    params: {part: parameter tree} of the parts asked for.
    tokenizer: `clip.Tokenizer`, or None without the part 'text'.
    hash: str, changes with any parameter of any part and with the config.
  """

  config: ModelConfig
  params: dict[str, Any]
  tokenizer: clip.Tokenizer | None
  hash: str


@contextlib.contextmanager
def creating(folder, config, tokenizer_files):
  """Context in which a checkpoint is written; yields the folder for `save_params`.

  Args:
    folder: path of the checkpoint to be.
    config: `ModelConfig`.
    tokenizer_files: {'vocab.json': text, 'merges.txt': text}.

  Yields:
    The path to write into; it becomes `folder` at the end, and is removed when the block raises.

  Raises:
    FileExistsError: the folder exists and is not empty.
  """
  folder = _absolute(folder)
  refuse_to_overwrite(folder)
  staging = folder.parent / f'{folder.name}.partial'
  if staging.exists():
    logging.warning('removing %s, left over from an interrupted run', staging)
    staging.rmtree()
  (staging / 'tokenizer').mkdir(parents=True)
  try:
    (staging / 'config.json').write_text(config.to_json())
    for name in clip.TOKENIZER_FILES:
      (staging / 'tokenizer' / name).write_text(tokenizer_files[name])
    yield staging
    if folder.exists():
      folder.rmdir()
    staging.rename(folder)
  except BaseException:
    staging.rmtree()
    raise


def refuse_to_overwrite(folder):
  """Raises FileExistsError if the folder exists and is not empty."""
  folder = _absolute(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    what = 'a checkpoint' if (folder / 'manifest.json').exists() else 'something else'
    raise FileExistsError(f'{folder} already holds {what}; remove it first, or choose another folder')


def save_params(folder, part, params, source=''):
  """Writes the parameters of one part, float32, into a folder from `creating`.

  Args:
    folder: path.
    part: one of `PARTS`.
    params: tree of arrays. Numpy float32 arrays are written without a copy.
    source: where they came from, for the manifest.

  Returns:
    The entry of the manifest: dict with 'parameters', 'tensors', 'sha256', 'source'.
  """
  folder = _absolute(folder)
  flat = traverse_util.flatten_dict(params, sep='/')
  flat = {path: np.ascontiguousarray(leaf, np.float32) for path, leaf in flat.items()}
  digest = hashlib.sha256()
  for path in sorted(flat):
    digest.update(f'{path} {flat[path].shape}\n'.encode())
    digest.update(flat[path])
  with _checkpointer() as checkpointer:
    checkpointer.save(folder / part, traverse_util.unflatten_dict(flat, sep='/'))
  entry = {
    'parameters': sum(leaf.size for leaf in flat.values()),
    'tensors': len(flat),
    'sha256': digest.hexdigest(),
    'source': source,
  }
  path = folder / 'manifest.json'
  manifest = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps({**manifest, part: entry}, indent=2) + '\n')
  return entry


def load(folder, dtype='float32', parts=PARTS):
  """Loads a checkpoint, one part after the other, onto the first local device.

  Args:
    folder: path, local or remote.
    dtype: every floating-point parameter is cast to it while it is read.
    parts: which of `PARTS` to load.

  Returns:
    `Model`.

  Raises:
    FileNotFoundError: the folder is no checkpoint; says what is missing and how to make one.
    ValueError: the config or a parameter tree is not what the model needs; lists both sides.
  """
  folder = _absolute(folder)
  files = ['config.json', 'manifest.json', *parts]
  files += [f'tokenizer/{name}' for name in clip.TOKENIZER_FILES if 'text' in parts]
  missing = [name for name in files if not (folder / name).exists()]
  if missing:
    raise FileNotFoundError(
      f'{folder} is no checkpoint, it lacks: {", ".join(missing)}. Convert the released weights with '
      '`python -m convert.lavie --help`, or write a random small model with '
      f'`python -m experiments.random_checkpoint --size=small --out={folder}`'
    )
  config = ModelConfig.from_json((folder / 'config.json').read_text())
  manifest = json.loads((folder / 'manifest.json').read_text())
  digests = [config.to_json(), *(manifest[part]['sha256'] for part in sorted(manifest))]
  tokenizer = clip.Tokenizer(folder / 'tokenizer', config.text) if 'text' in parts else None
  params = {part: _restore(folder / part, abstract_params(config, part), dtype) for part in parts}
  return Model(config, params, tokenizer, hashlib.sha256('\n'.join([config.to_json(), *digests]).encode()).hexdigest())


def init_random(folder, config, seed=0, progress=iter):
  """Writes a checkpoint with random parameters and a byte tokenizer, to try programs without weights.

  Activations, latents, frames and predicted noise come out of order one. The numbers are the same on every
  machine and for every leaf on its own: they depend on the seed and the path only.

  Args:
    folder: path.
    config: `ModelConfig`.
    seed: int.
    progress: wraps an iterable of leaves to show progress, such as `tqdm.tqdm`.

  Raises:
    FileExistsError: the folder exists and is not empty.
  """
  with creating(folder, config, byte_tokenizer(config.text)) as staging:
    for part in PARTS:
      params = random_params(abstract_params(config, part), seed, part, progress)
      if part == 'vae':  # the latents are this times config.vae.scale
        params['quant_conv']['kernel'] /= config.vae.scale
      save_params(staging, part, params, source=f'random, seed {seed}')


def random_params(abstract, seed=0, part='', progress=iter):
  """Draws a parameter tree in numpy.

  Args:
    abstract: tree of shapes.
    seed: int.
    part: name that is mixed into the seed.
    progress: wraps the iterable of leaves.

  Returns:
    Tree of np.float32: kernels N(0, 1 / fan_in), embeddings N(0, 1), scales N(1, 0.1^2), biases N(0, 0.1^2).
  """
  params = {}
  for path, leaf in progress(traverse_util.flatten_dict(abstract, sep='/').items()):
    rng = np.random.default_rng([seed, zlib.crc32(f'{part}/{path}'.encode())])
    x = rng.standard_normal(leaf.shape, np.float32)
    kind = path.rpartition('/')[2]
    # Embeddings keep unit variance: what reads them normalises first, or is a softmax.
    x *= {'kernel': np.prod(leaf.shape[:-1]) ** -0.5, 'embedding': 1.0}.get(kind, 0.1)
    params[path] = x + np.float32(1) if kind == 'scale' else x
  return traverse_util.unflatten_dict(params, sep='/')


def byte_tokenizer(config):
  """Files of a tokenizer in CLIP's format whose tokens are bytes.

  Args:
    config: `TextConfig` with room for 512 bytes (inside and at the end of words) and the two special tokens.

  Returns:
    {'vocab.json': text, 'merges.txt': text}.

  Raises:
    ValueError: the vocabulary is too small.
  """
  if config.vocabulary < 514 or min(config.bos, config.eos) < 512:
    raise ValueError(f'text is {config}; accepted: a vocabulary of at least 514, bos and eos at least 512')
  # Byte-level BPE writes printable bytes as themselves and all others as code points from 256 on.
  printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
  others = iter(range(256, 512))
  symbols = [chr(byte if byte in printable else next(others)) for byte in range(256)]
  tokens = [*symbols, *(f'{symbol}</w>' for symbol in symbols)]
  vocabulary = {token: i for i, token in enumerate(tokens)}
  vocabulary |= {'<|startoftext|>': config.bos, '<|endoftext|>': config.eos}
  return {'vocab.json': json.dumps(vocabulary), 'merges.txt': '#version: 0.2\n'}


@contextlib.contextmanager
def _checkpointer():
  """An orbax checkpointer that is quiet and whose memory stays near that of the parameters."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.WARNING)  # orbax logs a page a tree
  try:
    handlers = ocp.type_handlers.create_type_handler_registry(
      # The arrays do not change while they are written: no defensive copy of all of them.
      (np.ndarray, ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)),
      (jax.Array, ocp.type_handlers.ArrayHandler()),
    )
    handler = ocp.PyTreeCheckpointHandler(
      type_handler_registry=handlers, use_compression=False, save_concurrent_gb=1, restore_concurrent_gb=1
    )
    with ocp.Checkpointer(handler) as checkpointer:
      yield checkpointer
  finally:
    logging.set_verbosity(verbosity)


def _restore(folder, abstract, dtype):
  with _checkpointer() as checkpointer:
    stored = checkpointer.metadata(folder).item_metadata.tree
    found, wanted = (_shapes(tree) for tree in (stored, abstract))
    if found != wanted:
      raise ValueError(
        f'{folder} does not match its config.json\n'
        f'  only in the checkpoint: {", ".join(sorted(found - wanted)) or "nothing"}\n'
        f'  only in the model: {", ".join(sorted(wanted - found)) or "nothing"}'
      )
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape, dtype if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype, sharding=device
      ),
      abstract,
    )
    args = ocp.checkpoint_utils.construct_restore_args(target)
    return checkpointer.restore(folder, args=ocp.args.PyTreeRestore(item=target, restore_args=args))


def _shapes(tree):
  return {f'{path} {tuple(x.shape)}' for path, x in traverse_util.flatten_dict(tree, sep='/').items()}


def _absolute(folder):
  return epath.Path(folder).expanduser().resolve()  # orbax takes no relative paths
