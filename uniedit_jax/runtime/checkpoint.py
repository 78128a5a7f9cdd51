"""Checkpoint folders: the config of a model, its parameters and its tokenizer.

    <folder>/config.json                      ModelConfig
    <folder>/manifest.json                    per part: parameters, their sha256, their source
    <folder>/unet/  vae/  text/               one float32 orbax tree each; or, for small models,
    <folder>/unet.safetensors  ...            one float16 file each
    <folder>/tokenizer/vocab.json merges.txt  or words.txt

A folder appears whole or not at all: it is written under another name and renamed at the end. The
models in `SHIPPED` come with the package and are loaded by name.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import threading
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from absl import logging
from etils import epath
from flax import traverse_util

from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params
from uniedit_jax.models.tokenizers import CLIPTokenizer, WordTokenizer
from uniedit_jax.runtime.files import absolute, local_copy

WORDS_FILE = 'words.txt'
# Orbax reads the arrays of a tree in parallel, and holds a gigabyte of them.
_ONE_AT_A_TIME = threading.Lock()
SHIPPED = {'sprites': epath.Path(__file__).parents[1] / 'sprites' / 'checkpoint'}


class Model(NamedTuple):
  """A loaded checkpoint.

  Attributes:
    config: the model's sizes and schedule.
    params: {part: parameter tree} of the loaded parts.
    tokenizer: None without the part 'text'.
    hash: changes with any parameter of any part and with the config.
  """

  config: ModelConfig
  params: dict[str, Any]
  tokenizer: CLIPTokenizer | WordTokenizer | None
  hash: str


@contextlib.contextmanager
def creating(folder, config, tokenizer_files):
  """Yields a folder for `save_params`; it becomes `folder` at the end unless the block raises.

  Args:
    folder: path of the new checkpoint.
    config: `ModelConfig`.
    tokenizer_files: {name: text}, vocab.json and merges.txt or words.txt; {} for a checkpoint
      without a text tower.

  Raises:
    FileExistsError: the folder exists and is not empty.
  """
  folder = absolute(folder)
  refuse_to_overwrite(folder)
  staging = folder.parent / f'{folder.name}.partial'
  if staging.exists():
    logging.warning('removing %s, left over from an interrupted run', staging)
    staging.rmtree()
  (staging / 'tokenizer').mkdir(parents=True)
  try:
    (staging / 'config.json').write_text(config.to_json())
    for name, text in tokenizer_files.items():
      (staging / 'tokenizer' / name).write_text(text)
    yield staging
    if folder.exists():
      folder.rmdir()
    staging.rename(folder)
  except BaseException:
    staging.rmtree()
    raise


def refuse_to_overwrite(folder):
  """Raises FileExistsError if the folder exists and is not empty."""
  folder = absolute(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    what = 'a checkpoint' if (folder / 'manifest.json').exists() else 'something else'
    advice = 'remove it first, or choose another folder'
    raise FileExistsError(f'{folder} already holds {what}; {advice}')


def save_params(folder, part, params, source='', compact=False):
  """Writes the parameters of one part into a folder from `creating`.

  Args:
    folder: path.
    part: name, one of `PARTS` in the checkpoint of a model.
    params: tree of arrays. Numpy float32 arrays are written without a copy.
    source: origin of the parameters, for the manifest.
    compact: write a float16 safetensors file instead of a float32 orbax tree.

  Returns:
    The entry of the manifest: dict with 'parameters', 'tensors', 'sha256', 'source'.
  """
  folder = absolute(folder)
  flat = traverse_util.flatten_dict(params, sep='/')
  dtype = np.float16 if compact else np.float32
  flat = {path: np.asarray(leaf, dtype, order='C') for path, leaf in flat.items()}
  digest = hashlib.sha256()
  for path in sorted(flat):
    digest.update(f'{path} {flat[path].shape}\n'.encode())
    digest.update(flat[path])
  if compact:
    _file(folder, part).write_bytes(safetensors.numpy.save(flat))
  else:
    with _checkpointer() as checkpointer:
      checkpointer.save(folder / part, traverse_util.unflatten_dict(flat, sep='/'))
  entry = {
    'parameters': sum(leaf.size for leaf in flat.values()),
    'tensors': len(flat),
    'sha256': digest.hexdigest(),
    'source': source,
  }
  manifest = _read_manifest(folder) | {part: entry}
  (folder / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n')
  return entry


def locate(checkpoint):
  """The folder of a path or of a name in `SHIPPED` (./name is the local folder of that name)."""
  return SHIPPED[str(checkpoint)] if str(checkpoint) in SHIPPED else absolute(checkpoint)


def read_tokenizer(folder, config):
  """The tokenizer in a checkpoint folder, of the kind of its files.

  Raises:
    FileNotFoundError, ValueError: it is missing, or does not fit the text tower.
  """
  folder = locate(folder) / 'tokenizer'
  if (path := folder / WORDS_FILE).exists():
    return WordTokenizer(path.read_text().split(), config.text)
  return CLIPTokenizer(folder, config.text)


def count_parameters(folder):
  """Number of parameters of all parts according to the manifest; None if it lacks a part."""
  manifest = _read_manifest(locate(folder))
  if not set(PARTS) <= set(manifest):
    return None
  return sum(manifest[part]['parameters'] for part in PARTS)


def load(folder, dtype='float32', parts=PARTS):
  """Loads a `Model`, its parts in parallel, onto the first local device.

  Args:
    folder: path, local or remote, or a name in `SHIPPED`.
    dtype: every floating-point parameter is cast to it while it is read.
    parts: which of `PARTS` to load.

  Raises:
    FileNotFoundError: the folder is no checkpoint; lists what is missing and how to make one.
    ValueError: the config or a parameter tree does not fit the model; lists both sides.
  """
  folder = locate(folder)
  missing = [name for name in ('config.json', 'manifest.json') if not (folder / name).exists()]
  exists = lambda part: (folder / part).exists() or _file(folder, part).exists()
  missing += [part for part in parts if not exists(part)]
  if missing:
    raise FileNotFoundError(
      f'{folder} is no checkpoint, it lacks: {", ".join(missing)}. Convert the released weights '
      'with `python -m convert.lavie --help`, or name a model that comes with the package: '
      f'{", ".join(SHIPPED)}'
    )
  config = ModelConfig.from_json((folder / 'config.json').read_text())
  tokenizer = read_tokenizer(folder, config) if 'text' in parts else None
  # Tests compare shipped parameters with the model, and tracing it for its shapes takes seconds.
  shipped = folder in SHIPPED.values()
  abstract = [None if shipped else abstract_params(config, part) for part in parts]
  with concurrent.futures.ThreadPoolExecutor() as threads:
    read = threads.map(functools.partial(restore, folder, dtype=dtype), parts, abstract)
    params = dict(zip(parts, read, strict=True))
  return Model(config, params, tokenizer, read_hash(folder))


def read_hash(folder):
  """`Model.hash` of a checkpoint, from its two small files."""
  folder = locate(folder)
  config = ModelConfig.from_json((folder / 'config.json').read_text()).to_json()
  manifest = _read_manifest(folder)
  # The config counts twice; hashes of existing caches depend on it.
  digests = [config, config, *(manifest[part]['sha256'] for part in sorted(manifest))]
  return hashlib.sha256('\n'.join(digests).encode()).hexdigest()


def restore(folder, part, abstract, dtype='float32'):
  """Reads the parameters of one part onto the first local device.

  Args:
    folder: `epath.Path` of a checkpoint.
    part: name.
    abstract: tree of the required shapes; None skips the check of a safetensors file.
    dtype: every floating-point parameter is cast to it while it is read.

  Raises:
    ValueError: the tree is another one (both sides are listed), or the file is damaged.
  """
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  if (path := _file(folder, part)).exists():
    try:
      return traverse_util.unflatten_dict(_read_file(path, abstract, dtype, device), sep='/')
    except safetensors.SafetensorError as error:
      fault = f'{path} cannot be read ({error}); accepted: a file of `save_params`'
      raise ValueError(fault) from error
  # The import takes a third of a second, and shipped models do without.
  import orbax.checkpoint as ocp

  def placed(leaf):
    kind = dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype
    return jax.ShapeDtypeStruct(leaf.shape, kind, sharding=device)

  folder /= part
  with _checkpointer() as checkpointer:
    _compare(folder, _shapes(checkpointer.metadata(folder).item_metadata.tree), _shapes(abstract))
    target = jax.tree.map(placed, abstract)
    args = ocp.checkpoint_utils.construct_restore_args(target)
    return checkpointer.restore(folder, args=ocp.args.PyTreeRestore(item=target, restore_args=args))


def _read_file(path, abstract, dtype, device):
  """{path: tensor} of a memory-mapped safetensors file, cast one by one; arguments of `restore`."""
  with local_copy(path) as name, safetensors.safe_open(name, framework='numpy') as file:
    paths = list(file.keys())
    if abstract is not None:
      found = {f'{key} {tuple(file.get_slice(key).get_shape())}' for key in paths}
      _compare(path, found, _shapes(abstract))
    return {key: jax.device_put(file.get_tensor(key).astype(dtype), device) for key in paths}


@contextlib.contextmanager
def _checkpointer():
  """A quiet orbax checkpointer whose memory stays near that of the parameters; one at a time."""
  import orbax.checkpoint as ocp

  with _ONE_AT_A_TIME:
    verbosity = logging.get_verbosity()
    # Orbax logs a page for every tree.
    logging.set_verbosity(logging.WARNING)
    try:
      handlers = ocp.type_handlers.create_type_handler_registry(
        # The arrays do not change while they are written, so no copy is needed.
        (np.ndarray, ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)),
        (jax.Array, ocp.type_handlers.ArrayHandler()),
      )
      handler = ocp.PyTreeCheckpointHandler(
        type_handler_registry=handlers,
        use_compression=False,
        save_concurrent_gb=1,
        restore_concurrent_gb=1,
      )
      # Every process reads and writes independently of the others.
      alone = ocp.options.MultiprocessingOptions(
        primary_host=None, active_processes={jax.process_index()}
      )
      with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        yield checkpointer
    finally:
      logging.set_verbosity(verbosity)


def _read_manifest(folder):
  path = folder / 'manifest.json'
  return json.loads(path.read_text()) if path.exists() else {}


def _file(folder, part):
  return folder / f'{part}.safetensors'


def _compare(path, found, wanted):
  """Raises ValueError unless the parameters found at `path` are those wanted, both of `_shapes`."""
  if found != wanted:
    raise ValueError(
      f'{path} does not match its config.json\n'
      f'  only in the checkpoint: {", ".join(sorted(found - wanted)) or "nothing"}\n'
      f'  only in the model: {", ".join(sorted(wanted - found)) or "nothing"}'
    )


def _shapes(tree):
  flat = traverse_util.flatten_dict(tree, sep='/')
  return {f'{path} {tuple(leaf.shape)}' for path, leaf in flat.items()}
