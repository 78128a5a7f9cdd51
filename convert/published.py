"""Reads published state dicts and the configs of transformers."""

import importlib.util
import os
import re
import zipfile
import zlib

from etils import epath

from uniedit_jax.models import clip_text
from uniedit_jax.models.config import of_fields
from uniedit_jax.runtime import files, weights
from uniedit_jax.runtime.faults import Faults

ENDINGS = ('.safetensors', '.bin', '.pt', '.pth', '.ckpt')
# Fields of `TextConfig` and their names in the configs of transformers.
TOWER_SIZES = {
  'width': 'hidden_size',
  'layers': 'num_hidden_layers',
  'heads': 'num_attention_heads',
  'mlp_width': 'intermediate_size',
}
TEXT_SIZES = {
  **TOWER_SIZES,
  'vocabulary': 'vocab_size',
  'positions': 'max_position_embeddings',
  'bos': '<|startoftext|>',
  'eos': '<|endoftext|>',
  'activation': 'hidden_act',
}
INTEGERS = ('I64', 'I32', 'I16', 'I8', 'U8', 'BOOL')  # of constants, such as ids of positions


def paths_of(**given):
  """The `epath.Path` of each flag; raises `FaultsError` of those that name no folder or file."""
  faults = Faults()
  for name, path in given.items():
    wrong = files.path_fault(path) if os.fspath(path).strip() else "''; accepted: a path"
    faults.unless(not wrong, f'--{name} is {wrong}')
  faults.stop()
  return [epath.Path(path).expanduser() for path in given.values()]


def accept(data, key, value):
  """Raises ValueError if a config has another value for a key; a missing key means this value."""
  if data.get(key, value) != value:
    raise ValueError(f'{key} is {data[key]!r}; accepted: {value!r}')


def text_config(data, vocabulary, pad=-1):
  """`TextConfig` of a text tower.

  Args:
    data: dict, its config.
    vocabulary: dict {token: id}; the ids of special tokens are wrong in many configs of 2022.
    pad: as in `TextConfig`; see `pad_id`.

  Raises:
    ValueError: a size is missing, or the tower is of another kind.
  """
  defaults = {'activation': 'quick_gelu', 'pad': pad}
  return read_sizes(clip_text.TextConfig, vocabulary | data, TEXT_SIZES, defaults)


def pad_id(tokenizer, vocabulary):
  """`TextConfig.pad` of a tokenizer's folder, as transformers reads it.

  Args:
    tokenizer: `epath.Path` of the folder; without settings, the end token pads.
    vocabulary: dict {token: id}.

  Raises:
    ValueError: the token is not in the vocabulary.
  """
  names = ('tokenizer_config.json', 'special_tokens_map.json')
  settings, tokens = (
    files.read_json(tokenizer / name) if (tokenizer / name).exists() else {} for name in names
  )
  # Stable Diffusion 2's two files differ. Newer ones say everything in the first.
  token = (settings if 'added_tokens_decoder' in settings else settings | tokens).get('pad_token')
  token = token.get('content') if isinstance(token, dict) else token
  if token in (None, TEXT_SIZES['eos']):
    return -1
  if token not in vocabulary:
    raise ValueError(f'pad_token is {token!r}; accepted: a token of vocab.json')
  return vocabulary[token]


def read_sizes(cls, data, names, defaults=()):
  """A dataclass of sizes from a dict, for `names` {our field: theirs}; raises as `of_fields`."""
  found = {ours: data[theirs] for ours, theirs in names.items() if theirs in data}
  return of_fields(cls, dict(defaults) | found, names)


def find_weights(folder, names):
  """The first file of a folder that has one of the names, whole and none of Git LFS's pointers.

  Raises:
    ValueError: there is none; says what else the folder has.
  """
  path = next((folder / name for name in names if (folder / name).exists()), None)
  if path is None:
    inside = (folder / names[0]).parent
    others = sorted(child.name for child in inside.iterdir()) if inside.is_dir() else []
    what = f'it has {", ".join(others[:10]) or "nothing"}' if inside.is_dir() else 'no such folder'
    advice = ''
    if any('.fp16.' in name for name in others):
      advice = '; files of half precision are read if ".fp16" is left out of their names'
    if any('-of-0' in name for name in others):
      advice += '; the parts of a file in several must be put together first'
    raise ValueError(f'{folder} has none of {", ".join(names)}; in {inside}: {what}{advice}')
  files.refuse_pointer(path)
  return path


def lacking_torch(paths):
  """A list with the fault that PyTorch is missing, if one of the files needs it."""
  pickles = [str(path) for path in paths if not path.name.endswith('.safetensors')]
  if not pickles or importlib.util.find_spec('torch'):
    return []
  return [f"PyTorch is needed to read {', '.join(pickles)}: pip install -e '.[convert]'"]


def read_tensors(path):
  """Reads a state dict.

  Args:
    path: `epath.Path` of a .safetensors file or of a pickle by torch.save: a dict of tensors, or a
      dict with one under 'ema' or 'state_dict'.

  Returns:
    {name: array}; arrays of a .bin or .pt file are views of the file where the format allows it.

  Raises:
    ValueError: the file is damaged, or is not a dict of tensors.
  """
  if path.name.endswith('.safetensors'):
    return _read_safetensors(path)
  files.refuse_pointer(path)
  content = _read_pickle(path)
  for key in ('ema', 'state_dict'):
    if isinstance(content, dict) and isinstance(content.get(key), dict):
      content = content[key]
  others = _not_tensors(content)
  if others:
    raise ValueError(f'{path} is no dict of tensors; it holds {", ".join(others[:5])}')
  odd = [f'{name} is {kind}' for name, x in content.items() if (kind := _odd_kind(x))]
  if odd:
    accepted = 'accepted: dense tensors of float16, bfloat16, float32 or float64'
    raise ValueError(f'{path}: {", ".join(odd[:5])}; {accepted}')
  return {name: _as_numpy(x) for name, x in content.items()}


def _read_safetensors(path):
  import safetensors.numpy

  kinds = {name: about['dtype'] for name, about in weights.read_header(path).items()}
  weights.refuse_other_types(path, {n: kind for n, kind in kinds.items() if kind not in INTEGERS})
  try:
    return safetensors.numpy.load_file(path)
  except Exception as error:
    raise ValueError(f'{path} is no readable .safetensors file: {error}') from error


def _read_pickle(path):
  import torch

  try:
    # Only the zip format of torch >= 1.6 can be mapped instead of read into memory.
    mapped = zipfile.is_zipfile(path)
    # A mapped file is read without its checksums.
    bad = zipfile.ZipFile(path).testzip() if mapped else None
    content = torch.load(path, map_location='cpu', weights_only=True, mmap=mapped)
  except (zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(f'{path} is damaged ({error})') from error
  except Exception as error:  # unpickling a file that is no pickle may end in any
    forbidden = re.search(r'GLOBAL (\S+)', str(error))
    if not forbidden:
      raise ValueError(f'{path} is damaged or no PyTorch file') from error
    raise ValueError(
      f'{path} is not read: it holds more than tensors ({forbidden[1]}), and loading that would '
      'run code of whoever wrote the file. If you trust it, save its state dict alone first.'
    ) from error
  if bad:
    raise ValueError(f'{path} is damaged: {bad} has another checksum than when it was saved')
  return content


def _not_tensors(content):
  import torch

  if not isinstance(content, dict):
    return [type(content).__name__]
  others = {key: x for key, x in content.items() if not isinstance(x, torch.Tensor)}
  return [f'{key}: {type(x).__name__}' for key, x in others.items()]


def _odd_kind(tensor):
  """The kind of a tensor that numpy cannot hold (meta, sparse, 8-bit floats, ...), or None."""
  import torch

  if tensor.is_meta:
    return 'a meta tensor, without numbers'
  if tensor.is_quantized or tensor.layout != torch.strided:
    return f'{tensor.dtype}, {tensor.layout}'
  small = tensor.dtype.is_floating_point and tensor.dtype.itemsize < 2
  return str(tensor.dtype) if small or tensor.dtype.is_complex else None


def _as_numpy(tensor):
  import torch

  return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
