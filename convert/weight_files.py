"""Finds and reads weights in all forms that PyTorch packages write them in.

    model.safetensors, model.bin, .pt, .pth, .ckpt     one file
    model.safetensors.index.json                       parts, and which tensor is in which
    model.fp16.safetensors                             half precision, read where there is no other

Files are those of a `hub.place`, a local folder or one on the hub.
"""

import argparse
import importlib.util
import re
import zipfile
import zlib

from absl import logging

from uniedit_jax.runtime import files, hub, weights

ENDINGS = ('.safetensors', '.bin', '.pt', '.pth', '.ckpt')
INTEGERS = ('I64', 'I32', 'I16', 'I8', 'U8', 'BOOL')  # of constants, such as ids of positions
# What wraps a state dict, and what wrappers of modules put in front of all of its names.
WRAPPERS = ('ema', 'state_dict', 'model', 'module')
PREFIXES = ('module.', '_forward_module.', '_orig_mod.', 'unet.', 'model.')
SETTINGS = ('animatediff_config',)  # that lie among the tensors of a state dict
INDEX = '.index.json'
_DEEPEST = 4  # wrappers around a state dict


def candidates(names, stems):
  """The files among `names` that hold weights: list of tuples of names, the best first.

  Args:
    names: of files.
    stems: names without ending, such as 'vae/diffusion_pytorch_model', the preferred first.

  Returns:
    Tuples whose first name is what `read_tensors` reads, and whose others are the parts that it
    points to.
  """
  found = []
  for mark in ('', '.fp16'):
    for stem, ending in ((stem, ending) for stem in stems for ending in ENDINGS):
      if f'{stem}{mark}{ending}' in names:
        found.append((f'{stem}{mark}{ending}',))
      # Packages have put the mark of half precision in three places.
      for index in dict.fromkeys(
        f'{stem}{end}'
        for end in (
          f'{mark}{ending}{INDEX}',
          f'{ending}{mark}{INDEX}',
          f'{ending}.index{mark}.json',
        )
      ):
        if index in names:
          part = re.compile(rf'{re.escape(stem)}(\.fp16)?-\d+-of-\d+(\.fp16)?{re.escape(ending)}')
          parts = (name for name in names if part.fullmatch(name))
          found.append((index, *sorted(name for name in parts if bool(mark) == ('.fp16' in name))))
  return found


def find_weights(where, stems):
  """The best `candidates` of a place that are whole: a tuple of names.

  A Git LFS pointer, or an index without its parts, is passed over with a warning where there are
  other files.

  Raises:
    ValueError: there are none; says what else there is.
  """
  folders = tuple(dict.fromkeys(stem.rpartition('/')[0] for stem in stems))
  names = hub.names(where, folders)
  passed = []
  for group in candidates(names, stems):
    fault = '' if isinstance(where, hub.HubId) else _fault_of(where / group[0])
    if not fault:
      if passed:
        logging.warning('%s; %s is read instead', '; '.join(passed), group[0])
      return group
    passed.append(fault)
  if passed:
    raise ValueError('; '.join(passed))
  wanted = ', '.join(f'{stem}{ending}' for stem in stems for ending in ENDINGS)
  parts = [name for name in names if '-of-0' in name]
  advice = '; the parts of a file in several need its .index.json' if parts else ''
  raise ValueError(f'{where} has none of {wanted}; it has {hub.some(names)}{advice}')


def find_file(where):
  """Checks the name of a file of weights at a place, and that it is there: the place.

  Raises:
    ValueError: it is no such file.
  """
  accepted = (
    f'accepted: a file that ends in {", ".join(ENDINGS)}, here or as owner/repo/path/in/repo'
  )
  if isinstance(where, hub.HubId):
    folder, name = hub.split(where)
    found = hub.names(folder) if name.endswith(ENDINGS) else ()
    if name not in found:
      there = f'; the hub has {hub.some(found)}' if found else ''
      raise ValueError(f'there is no file {where} here or on the hub{there}; {accepted}')
  elif not where.exists():
    raise ValueError(f'there is no file {where}; {accepted}')
  elif where.is_dir() or not where.name.endswith(ENDINGS):
    raise ValueError(f'it is {where}; {accepted}')
  else:
    files.refuse_pointer(where)
  return where


def lacking_torch(names):
  """A list with the fault that PyTorch is missing, if one of the files needs it."""
  pickles = [str(name) for name in names if '.safetensors' not in str(name)]
  if not pickles or importlib.util.find_spec('torch'):
    return []
  return [f"PyTorch is needed to read {', '.join(pickles)}: pip install -e '.[convert]'"]


def read_tensors(path):
  """Reads a state dict.

  Args:
    path: `epath.Path` of a .safetensors file, of an index of parts, or of a pickle by torch.save: a
      dict of tensors, or a dict with one under one of `WRAPPERS` next to other tensors and plain
      settings. A prefix of `PREFIXES` that all names have is left out.

  Returns:
    {name: array}; arrays of a .bin or .pt file are views of the file where the format allows it.

  Raises:
    ValueError: a file is damaged or missing, or is not a dict of tensors.
  """
  if not path.name.endswith('.json'):
    return without_prefixes(_read_file(path))
  table, state = read_index(path), {}
  for name in sorted(set(table.values())):
    state |= _read_file(path.parent / name)
  if missing := sorted(set(table) - set(state)):
    raise ValueError(f'{path}: its parts lack {hub.some(missing)}; accepted: all that it lists')
  return without_prefixes(state)


def read_index(path):
  """{tensor: name of the part that holds it} of an index.

  Raises:
    ValueError: it is no index, or a part is missing or a Git LFS pointer.
  """
  table = files.read_json(path).get('weight_map')
  is_name = lambda name: isinstance(name, str) and name.endswith(ENDINGS) and '/' not in name
  if not (isinstance(table, dict) and table and all(map(is_name, table.values()))):
    accepted = "accepted: {'weight_map': {tensor: file next to it}}"
    raise ValueError(f'{path}: weight_map is {str(table)[:80]}; {accepted}')
  parts = [path.parent / name for name in sorted(set(table.values()))]
  if missing := [part.name for part in parts if not part.exists()]:
    raise ValueError(f'{path} needs {hub.some(missing)} next to it; accepted: all of its parts')
  for part in parts:
    files.refuse_pointer(part)
  return table


def without_prefixes(state):
  """A state dict without the `PREFIXES` that all of its names begin with."""
  for prefix in PREFIXES * _DEEPEST:
    if state and all(name.startswith(prefix) for name in state):
      state = {name.removeprefix(prefix): x for name, x in state.items()}
  return state


def _fault_of(path):
  """Why a local file or index cannot be read, found without reading weights, or ''."""
  try:
    files.refuse_pointer(path)
    if path.name.endswith('.json'):
      read_index(path)
  except (OSError, ValueError) as error:
    return str(error)
  return ''


def _read_file(path):
  if path.name.endswith('.safetensors'):
    return _read_safetensors(path)
  files.refuse_pointer(path)
  content = _read_pickle(path)
  state = _state_of(content, _DEEPEST)
  if state is None:
    inner = next((content[key] for key in WRAPPERS if _is_dict_of_some(content, key)), content)
    raise ValueError(f'{path} is no dict of tensors; it holds {hub.some(_not_tensors(inner)[:5])}')
  odd = [f'{name} is {kind}' for name, x in state.items() if (kind := _odd_kind(x))]
  if odd:
    accepted = 'accepted: dense tensors of float16, bfloat16, float32 or float64'
    raise ValueError(f'{path}: {", ".join(odd[:5])}; {accepted}')
  return {name: _as_numpy(x) for name, x in state.items()}


def _state_of(content, depth):
  """The dict of tensors that a content is or wraps, or None."""
  if not isinstance(content, dict) or not content:
    return None
  if not _not_tensors(content):
    return {name: x for name, x in content.items() if name not in SETTINGS}
  inner = (_state_of(content.get(key), depth - 1) for key in WRAPPERS if depth)
  return next((state for state in inner if state is not None), None)


def _is_dict_of_some(content, key):
  return isinstance(content, dict) and isinstance(content.get(key), dict) and content[key]


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
    # Settings of a training stand next to its weights; setting attributes of one runs no code.
    with torch.serialization.safe_globals([argparse.Namespace]):
      content = torch.load(path, map_location='cpu', weights_only=True, mmap=mapped)
  except (zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(f'{path} is damaged ({error})') from error
  except Exception as error:  # unpickling a file that is no pickle may end in any
    forbidden = re.search(r'GLOBAL (\S+)', str(error))
    if not forbidden:
      raise ValueError(f'{path} is damaged or no PyTorch file') from error
    raise ValueError(
      f'{path} is not read: it holds more than tensors and plain settings ({forbidden[1]}), and '
      'loading that would run code of whoever wrote the file. If you trust it, save its state dict '
      'alone first.'
    ) from error
  if bad:
    raise ValueError(f'{path} is damaged: {bad} has another checksum than when it was saved')
  return content


def _not_tensors(content):
  """What of a dict is no tensor by a name, in words; of anything else, its type."""
  import torch

  if not isinstance(content, dict):
    return [type(content).__name__]
  is_tensor = lambda key, x: isinstance(key, str) and isinstance(x, torch.Tensor)
  others = {key: x for key, x in content.items() if not is_tensor(key, x) and key not in SETTINGS}
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
