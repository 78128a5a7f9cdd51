"""The parameters of one part of a checkpoint on disk: written, checked and read.

A part is an orbax tree in float32, <folder>/<part>/, or a file in float16, <part>.safetensors.
"""

import contextlib
import hashlib
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from absl import logging
from flax import traverse_util

from uniedit_jax.runtime import digests, files

# Orbax reads the arrays of a tree in parallel, and holds a gigabyte of them.
_ONE_AT_A_TIME = threading.Lock()
FLOATS = {'F16': 2, 'BF16': 2, 'F32': 4, 'F64': 8}  # types of safetensors, and their bytes
TREE_FILES = '_METADATA', 'manifest.ocdbt'  # without which orbax finds nothing
HEADER_BYTES = 10**8  # of a safetensors file, at most


def write(folder, part, params, compact=False):
  """Writes the parameters of a part; arguments as of `checkpoint.save_params`.

  Returns:
    dict with 'parameters', 'tensors', 'sha256' (of the arrays) and 'files' {name: bytes}.

  Raises:
    ValueError: parameters that are no floating-point numbers, or not finite as they are written.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  others = [f'{path} ({x.dtype})' for path, x in flat.items() if not is_float(x)]
  if others:
    raise ValueError(f'{part} has {_some(others)}; accepted: floating-point numbers')
  dtype = np.float16 if compact else np.float32
  with np.errstate(over='ignore'):  # which is told by `_digest`
    flat = {path: np.asarray(leaf, dtype, order='C') for path, leaf in flat.items()}
  digest = _digest(part, flat)
  files.need_room(folder, sum(leaf.nbytes for leaf in flat.values()))
  if compact:
    _file(folder, part).write_bytes(safetensors.numpy.save(flat))
  else:
    with _checkpointer() as checkpointer:
      checkpointer.save(folder / part, traverse_util.unflatten_dict(flat, sep='/'))
  return {
    'parameters': sum(leaf.size for leaf in flat.values()),
    'tensors': len(flat),
    'sha256': digest,
    'files': {
      path.relative_to(folder).as_posix(): path.stat().length for path in part_files(folder, part)
    },
  }


def part_files(folder, part):
  """The files of a part, of which there may be none."""
  path = _path(folder, part)
  return files.files_below(path) if path.exists() else []


def check_files(folder, part, entry):
  """Checks that the files of a part are whole, without reading the parameters.

  Args:
    folder, part: `epath.Path` of a checkpoint, name.
    entry: dict, that of the manifest, from `write`; earlier ones have no 'files'.

  Raises:
    ValueError: a file is missing, cut or a Git LFS pointer, or has other numbers than floats.
  """
  found = part_files(folder, part)
  names = entry.get('files') or dict.fromkeys(f'{part}/{name}' for name in TREE_FILES)
  if not entry.get('files') and found == [_file(folder, part)]:
    names = {found[0].name: None}
  for name, size in names.items():
    if not (folder / name).exists():
      raise ValueError(f'{folder / name} is missing; accepted: all files of a checkpoint')
    files.refuse_pointer(folder / name)
    if size not in (None, length := (folder / name).stat().length):
      raise ValueError(f'{folder / name} has {length} bytes; accepted: {size}, as it was written')
  if found == [_file(folder, part)]:
    header = read_header(found[0])
    refuse_other_types(found[0], {name: about['dtype'] for name, about in header.items()})


def read_header(path):
  """{name: {'dtype', 'shape', 'data_offsets'}} of the tensors of a safetensors file.

  Raises:
    ValueError: it is another file, damaged or cut.
  """
  files.refuse_pointer(path)
  try:
    with path.open('rb') as file:
      size = int.from_bytes(file.read(8), 'little')
      if not 2 <= size <= HEADER_BYTES:
        raise ValueError('it has no header')
      header = json.loads(file.read(size))
    header.pop('__metadata__', None)
    end = max((about['data_offsets'][1] for about in header.values()), default=0)
    if path.stat().length != 8 + size + end:
      raise ValueError(f'{path.stat().length} bytes of {8 + size + end}')
    return {name: {**about, 'dtype': str(about['dtype'])} for name, about in header.items()}
  except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
    fault = f'{path} cannot be read ({type(error).__name__}: {error})'
    raise ValueError(f'{fault}; accepted: a whole .safetensors file') from error


def refuse_other_types(path, dtypes):
  """Raises ValueError unless all {tensor: type in the words of safetensors} are float types."""
  others = [f'{name} is {dtype}' for name, dtype in dtypes.items() if dtype not in FLOATS]
  if others:
    raise ValueError(f'{path}: {_some(others)}; accepted: {", ".join(FLOATS)}')


def verify(folder, part, sha256, cache=None):
  """Checks the parameters of a part against the manifest, unless `cache` knows the files already.

  Raises:
    ValueError: they are others than were written, cannot be read, or are not finite.
  """
  path = _path(folder, part)
  compute = lambda: _digest(path, _read_all(path))
  if (found := digests.remembered(compute, part_files(folder, part), cache)) != sha256:
    fault = f'{path} is damaged or was replaced: its sha256 is {found}'
    raise ValueError(f'{fault}; accepted: that of {folder / "manifest.json"}, {sha256}')


def restore(folder, part, abstract, dtype='float32'):
  """Reads the parameters of one part onto the first local device.

  Args:
    folder: `epath.Path` of a checkpoint.
    part: name.
    abstract: tree of the required shapes; None skips the check of a safetensors file.
    dtype: every floating-point parameter is cast to it while it is read.

  Raises:
    ValueError: the tree is another one (both sides are listed), the file is damaged, or a number is
      too large for `dtype`.
  """
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  path = _path(folder, part)
  if path == _file(folder, part):
    if abstract is not None:
      header = read_header(path)
      found = {f'{name} {tuple(about["shape"])}' for name, about in header.items()}
      _compare(path, found, _shapes(abstract))
    place = lambda leaf: jax.device_put(leaf.astype(dtype), device)
    flat = {name: place(leaf) for name, leaf in _tensors(path)}
    params = traverse_util.unflatten_dict(flat, sep='/')
  else:
    params = _restore_tree(path, abstract, dtype, device)
  if dtype == 'float16':  # which is smaller than what is stored
    _refuse_not_finite(path, traverse_util.flatten_dict(params, sep='/'))
  return params


def is_float(x):
  """Whether an array has floating-point numbers, and of more than 8 bits."""
  return jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize > 1


def _digest(name, flat):
  """The sha256 of {path: array}; raises ValueError for numbers that are not finite."""
  _refuse_not_finite(name, flat)
  digest = hashlib.sha256()
  for path in sorted(flat):
    digest.update(f'{path} {flat[path].shape}\n'.encode())
    digest.update(np.ascontiguousarray(flat[path]))
  return digest.hexdigest()


def _refuse_not_finite(name, flat):
  bad = [path for path, x in flat.items() if not np.isfinite(x).all()]
  if bad:
    raise ValueError(f'{name} has NaN or infinite numbers in {_some(bad)}; accepted: finite ones')


def _some(names, most=5):
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def _read_all(path):
  """{path: numpy array} of a part, as it is stored."""
  if path.is_dir():
    return traverse_util.flatten_dict(_restore_tree(path), sep='/')
  return dict(_tensors(path))


def _tensors(path):
  """Yields (path, array) of a safetensors file, memory-mapped, one by one."""
  refuse_other_types(path, {name: about['dtype'] for name, about in read_header(path).items()})
  with files.local_copy(path) as name, safetensors.safe_open(name, framework='numpy') as file:
    for key in file.keys():  # noqa: SIM118 (it is no dict)
      yield key, file.get_tensor(key)


def _restore_tree(path, abstract=None, dtype=None, device=None):
  """An orbax tree cast and placed on a device, or without `abstract` as stored, in numpy."""
  # The import takes a third of a second, and shipped models do without.
  import orbax.checkpoint as ocp

  with _checkpointer() as checkpointer:
    try:
      stored = checkpointer.metadata(path).item_metadata.tree
    except Exception as error:  # whatever orbax makes of a damaged folder
      raise ValueError(_unreadable(path, error)) from error
    flat = traverse_util.flatten_dict(stored, sep='/')
    others = [f'{name} is {leaf.dtype}' for name, leaf in flat.items() if not is_float(leaf)]
    if others:
      raise ValueError(f'{path}: {_some(others)}; accepted: float32')
    if abstract is None:
      target = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), stored)
      args = ocp.args.PyTreeRestore(restore_args=target)
    else:
      _compare(path, _shapes(stored), _shapes(abstract))
      placed = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=device)
      target = jax.tree.map(placed, abstract)
      restore_args = ocp.checkpoint_utils.construct_restore_args(target)
      args = ocp.args.PyTreeRestore(item=target, restore_args=restore_args)
    try:
      return checkpointer.restore(path, args=args)
    except Exception as error:
      raise ValueError(_unreadable(path, error)) from error


def _unreadable(path, error):
  first = str(error).partition('\n')[0][:200]
  return f'{path} cannot be read ({first}); accepted: a whole folder of `save_params`'


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


def _file(folder, part):
  return folder / f'{part}.safetensors'


def _path(folder, part):
  """The file of a part, or else the folder of its tree."""
  path = _file(folder, part)
  return path if path.exists() else folder / part


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
