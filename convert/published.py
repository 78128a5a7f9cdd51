"""Reads published state dicts and the configs of transformers."""

import importlib.util
import pickle
import re
import zipfile

from uniedit_jax.models import clip_text

ENDINGS = ('.safetensors', '.bin', '.pt', '.pth', '.ckpt')
# Fields of `TextConfig` and their names in the configs of transformers.
TOWER_SIZES = {
  'width': 'hidden_size',
  'layers': 'num_hidden_layers',
  'heads': 'num_attention_heads',
  'mlp_width': 'intermediate_size',
}


def accept(data, key, value):
  """Raises ValueError if a config has another value for a key; a missing key means this value."""
  if data.get(key, value) != value:
    raise ValueError(f'{key} is {data[key]!r}; accepted: {value!r}')


def text_config(data, vocabulary):
  """`TextConfig` of a text tower.

  Args:
    data: dict, its config.
    vocabulary: dict {token: id}; bos_token_id and eos_token_id are wrong in many configs of 2022.

  Raises:
    KeyError, ValueError: a size is missing, or the tower is of another kind.
  """
  accept(data, 'hidden_act', 'quick_gelu')
  return clip_text.TextConfig(
    vocabulary=data['vocab_size'],
    positions=data['max_position_embeddings'],
    **tower_sizes(data),
    bos=vocabulary['<|startoftext|>'],
    eos=vocabulary['<|endoftext|>'],
  )


def tower_sizes(data):
  """The sizes that text and image towers share, by the names of `TextConfig`."""
  return {ours: data[theirs] for ours, theirs in TOWER_SIZES.items()}


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
  content = _read_pickle(path)
  for key in ('ema', 'state_dict'):
    if isinstance(content, dict) and isinstance(content.get(key), dict):
      content = content[key]
  others = _not_tensors(content)
  if others:
    raise ValueError(f'{path} is no dict of tensors; it holds {", ".join(others[:5])}')
  return {name: _as_numpy(x) for name, x in content.items()}


def _read_safetensors(path):
  import safetensors.numpy

  try:
    return safetensors.numpy.load_file(path)
  except Exception as error:
    raise ValueError(f'{path} is no readable .safetensors file: {error}') from error


def _read_pickle(path):
  import torch

  try:
    # Only the zip format of torch >= 1.6 can be mapped instead of read into memory.
    mapped = zipfile.is_zipfile(path)
    return torch.load(path, map_location='cpu', weights_only=True, mmap=mapped)
  except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
    forbidden = re.search(r'GLOBAL (\S+)', str(error))
    if not forbidden:
      raise ValueError(f'{path} is damaged or no PyTorch file') from error
    raise ValueError(
      f'{path} is not read: it holds more than tensors ({forbidden[1]}), and loading that would '
      'run code of whoever wrote the file. If you trust it, save its state dict alone first.'
    ) from error


def _not_tensors(content):
  import torch

  if not isinstance(content, dict):
    return [type(content).__name__]
  others = {key: x for key, x in content.items() if not isinstance(x, torch.Tensor)}
  return [f'{key}: {type(x).__name__}' for key, x in others.items()]


def _as_numpy(tensor):
  import torch

  return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
