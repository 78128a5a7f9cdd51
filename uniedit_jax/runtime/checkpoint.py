"""Checkpoint folders: the config of a model, its parameters and its tokenizer.

    <folder>/config.json                      ModelConfig
    <folder>/manifest.json                    per part: parameters, their sha256, files, source
    <folder>/unet/  vae/  text/               one float32 orbax tree each; or, for small models,
    <folder>/unet.safetensors  ...            one float16 file each
    <folder>/tokenizer/vocab.json merges.txt  or words.txt

A folder appears whole or not at all: it is written under another name and renamed at the end. The
models in `SHIPPED` come with the package and are loaded by name, those on the hub by their hub id.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import pathlib
import re
from typing import Any, NamedTuple

from absl import logging
from etils import epath

from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params, of_fields
from uniedit_jax.models.tokenizers import CLIPTokenizer, WordTokenizer
from uniedit_jax.runtime import digests, hub, hub_checkpoint, weights
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.files import (
  absolute,
  is_left_over,
  is_remote,
  read_json,
  remove,
  sync,
  unfinished_name,
)

WORDS_FILE = 'words.txt'
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
  # Other conversions into this folder have names of their own; the first to end has it.
  ours = re.compile(re.escape(folder.name) + r'\.(\w+-\d+-[0-9a-f]{32}\.)?partial')
  for other in folder.parent.glob('*.partial'):
    if ours.fullmatch(other.name) and is_left_over(other):
      logging.warning('removing %s, left over from an interrupted run', other)
      remove(other)
  staging = folder.parent / f'{unfinished_name(folder.name)}.partial'
  (staging / 'tokenizer').mkdir(parents=True)
  try:
    (staging / 'config.json').write_text(config.to_json())
    for name, text in tokenizer_files.items():
      (staging / 'tokenizer' / name).write_text(text)
    yield staging
    for path in () if is_remote(staging) else [*pathlib.Path(staging).rglob('*'), staging]:
      sync(path)
    refuse_to_overwrite(folder)
    if folder.exists():
      folder.rmdir()
    try:
      staging.rename(folder)
    except OSError:  # another was faster
      refuse_to_overwrite(folder)
      raise
  except BaseException:
    remove(staging)
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
    The entry of the manifest: dict with 'parameters', 'tensors', 'sha256', 'files', 'source'.

  Raises:
    ValueError: parameters that are not finite floating-point numbers.
  """
  folder = absolute(folder)
  entry = {**weights.write(folder, part, params, compact), 'source': source}
  path = folder / 'manifest.json'
  manifest = (read_json(path) if path.exists() else {}) | {part: entry}
  path.write_text(json.dumps(manifest, indent=2) + '\n')
  return entry


def locate(checkpoint, parts=()):
  """The local folder of a path, of a name in `SHIPPED` (./name is a local folder) or of a hub id.

  Args:
    checkpoint: path, name or id.
    parts: names of parts whose parameters are fetched too, where it is on the hub.

  Raises:
    ValueError: a hub id that names no checkpoint, or cannot be fetched, in one line.
  """
  if str(checkpoint) in SHIPPED:
    return SHIPPED[str(checkpoint)]
  where = hub.hub_id(checkpoint)
  return hub_checkpoint.folder_of(where, tuple(parts)) if where else absolute(checkpoint)


def read_tokenizer(folder, config):
  """The tokenizer in a checkpoint folder, of the kind of its files.

  Raises:
    FileNotFoundError, ValueError: it is missing, or does not fit the text tower.
  """
  folder = locate(folder) / 'tokenizer'
  if (path := folder / WORDS_FILE).exists():
    return WordTokenizer(path.read_text().split(), config.text)
  return CLIPTokenizer(folder, config.text)


def check(folder, parts=PARTS):
  """Checks that a checkpoint is whole, without reading its parameters: its `ModelConfig`.

  Of one on the hub, the parameters are not fetched for that.

  Raises:
    FileNotFoundError: the folder is no checkpoint; lists what is missing and how to make one.
    FaultsError: lists damaged files, and what the config has that no model has.
  """
  where = None if str(folder) in SHIPPED else hub.hub_id(folder)
  folder = locate(folder)
  if where:
    faults = Faults()
    config = faults.attempt(read_config, folder)
    manifest = faults.attempt(read_manifest, folder, parts)
    faults += hub_checkpoint.lacking(where, parts) if manifest else []
    faults.stop(f'{where} is no whole checkpoint')
    return config
  files = [folder / name for name in ('config.json', 'manifest.json')]
  files = [path for path in files if path.exists()]
  files += [path for part in parts for path in weights.part_files(folder, part)]
  return _check(folder, tuple(parts), digests.facts(files))


# A batch asks for every line.
@functools.lru_cache(maxsize=4)
def _check(folder, parts, _):
  faults = Faults()
  missing = [name for name in ('config.json', 'manifest.json') if not (folder / name).exists()]
  missing += [part for part in parts if not weights.part_files(folder, part)]
  if missing:
    raise FileNotFoundError(
      f'{folder} is no checkpoint, it lacks: {", ".join(missing)}. Convert the released weights '
      'with `python -m convert.lavie --help`, or name a model that comes with the package: '
      f'{", ".join(SHIPPED)}'
    )
  config = faults.attempt(read_config, folder)
  manifest = faults.attempt(read_manifest, folder, parts)
  for part in parts if manifest else ():
    faults.attempt(weights.check_files, folder, part, manifest[part])
  faults.stop(f'{folder} is no whole checkpoint')
  return config


def read_config(folder, kind=ModelConfig):
  """The `ModelConfig`, or that of another kind, of a checkpoint.

  Raises:
    OSError, ValueError: the file is missing or damaged, or no model has such fields.
  """
  path = locate(folder) / 'config.json'
  try:
    return of_fields(kind, read_json(path))
  except ValueError as error:
    raise ValueError(str(error) if str(path) in str(error) else f'{path}: {error}') from error


def read_manifest(folder, parts=()):
  """{part: entry of `save_params`} of the file manifest.json; {} if there is none.

  Raises:
    ValueError: the file is damaged, or one of the `parts` is not as `save_params` writes it.
  """
  path = locate(folder) / 'manifest.json'
  manifest, faults = read_json(path) if path.exists() else {}, Faults()
  for part in {*parts, *manifest}:
    entry = manifest.get(part)
    sound = (
      isinstance(entry, dict)
      and type(entry.get('parameters')) is int
      and re.fullmatch('[0-9a-f]{64}', str(entry.get('sha256')))
      and isinstance(entry.get('files', {}), dict)
    )
    accepted = "accepted: a dict with 'parameters' and 'sha256', as `save_params` writes it"
    faults.unless(sound, f'{path}: {part} is {str(entry)[:80]}; {accepted}')
  faults.stop(f'{path} is damaged')
  return manifest


def count_parameters(folder):
  """Number of parameters of all parts according to the manifest; None if it lacks a part."""
  manifest = read_manifest(folder)
  if not set(PARTS) <= set(manifest):
    return None
  return sum(manifest[part]['parameters'] for part in PARTS)


def load(folder, dtype='float32', parts=PARTS, cache=None):
  """Loads a `Model`, its parts in parallel, onto the first local device.

  Args:
    folder: path, local or remote, a name in `SHIPPED`, or a hub id.
    dtype: every floating-point parameter is cast to it while it is read.
    parts: which of `PARTS` to load.
    cache: folder that remembers which files are as the manifest says; None reads them each time.

  Raises:
    FileNotFoundError: the folder is no checkpoint; lists what is missing and how to make one.
    ValueError: the config or a parameter tree does not fit the model (lists both sides), or the
      parameters are others than those that were written, or not finite.
  """
  # Of a checkpoint on the hub, before and after its parameters are fetched.
  check(folder, parts)
  folder = locate(folder, parts)
  config = check(folder, parts)
  tokenizer = read_tokenizer(folder, config) if 'text' in parts else None
  # Tests compare shipped parameters with the model, and tracing it for its shapes takes seconds.
  shipped = folder in SHIPPED.values()
  abstract = [None if shipped else abstract_params(config, part) for part in parts]
  with concurrent.futures.ThreadPoolExecutor() as threads:
    read = threads.map(
      functools.partial(restore, folder, dtype=dtype, cache=cache), parts, abstract
    )
    params = dict(zip(parts, read, strict=True))
  return Model(config, params, tokenizer, read_hash(folder))


def restore(folder, part, abstract, dtype='float32', cache=None):
  """`weights.restore` of a part, if its parameters are those of the manifest; as `load`."""
  sha256 = read_manifest(folder, [part])[part]['sha256']
  weights.verify(folder, part, sha256, cache)
  return weights.restore(folder, part, abstract, dtype)


def read_hash(folder):
  """`Model.hash` of a checkpoint, from its two small files."""
  config, manifest = read_config(folder).to_json(), read_manifest(folder)
  # The config counts twice; hashes of existing caches depend on it.
  parts = [config, config, *(manifest[part]['sha256'] for part in sorted(manifest))]
  return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def fingerprint(folder, cache=None):
  """A digest of what the manifest of a checkpoint says, after the parameters are compared with it.

  Raises:
    ValueError: they are others.
  """
  manifest = read_manifest(folder)
  folder = locate(folder, manifest)
  for part in manifest:
    weights.verify(folder, part, manifest[part]['sha256'], cache)
  facts = read_json(folder / 'config.json'), {p: manifest[p]['sha256'] for p in sorted(manifest)}
  return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
