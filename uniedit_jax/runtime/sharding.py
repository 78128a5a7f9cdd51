"""Devices: processes of a run, the mesh for batches of edits, and the compilation cache."""

import os

import jax
import numpy as np
from absl import logging
from etils import epath
from jax._src import compilation_cache

from uniedit_jax.runtime.faults import line_of


def first_device():
  """The first device of this process.

  Raises:
    ValueError: JAX finds none, for example as JAX_PLATFORMS names what is not installed.
  """
  try:
    return jax.local_devices()[0]
  except (RuntimeError, AssertionError) as error:
    given = os.environ.get('JAX_PLATFORMS', '')
    raise ValueError(
      f'JAX_PLATFORMS is {given!r}, with which JAX finds no device '
      f'({line_of(error)}); accepted: cpu, or cuda, tpu where they are installed (README.md)'
    ) from error


def data_mesh(devices=None):
  """A mesh with the single axis 'data' over the devices; by default those of this process.

  Edits are sharded and rows are not, so hosts never wait for each other.
  """
  devices = jax.local_devices() if devices is None else devices
  return jax.sharding.Mesh(np.asarray(devices), ('data',))


def meet(coordinator, processes, process):
  """Runs `jax.distributed` only until every process knows its index and the number of processes.

  Afterwards the processes are independent: none waits for another or fails with it. It must be
  called before anything asks JAX for devices.

  Args:
    coordinator: host:port of process 0, or 'auto' if JAX can find the processes (TPU slices, Slurm,
      ...), which then ignores the others.
    processes, process: number of processes and index of this one.
  """
  if coordinator == 'auto':
    jax.distributed.initialize()
  else:
    jax.distributed.initialize(coordinator, processes, process)
  jax.devices()
  jax.distributed.shutdown()


def replicate(tree, mesh):
  """Copies all arrays to every device of the mesh."""
  return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def on_first(tree):
  """The arrays of `replicate` on the first device, without a copy."""
  return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


class _Programs(compilation_cache.LRUCache):
  """JAX's cache of programs on disk, without entries that are damaged, which it would keep."""

  def get(self, key):
    """The entry of a key, or None."""
    entry = super().get(key)
    try:
      if entry is not None:
        compilation_cache.decompress_executable(entry)
      return entry
    except Exception as error:  # whatever the decompressor makes of it
      path = self.path / f'{key}-cache'
      logging.warning('removing %s, a damaged program, which is made again (%s)', path, error)
      path.unlink(missing_ok=True)
      return None


# JAX has no public way to say what a cache is made of.
compilation_cache.get_file_cache = lambda path: (
  _Programs(path, max_size=jax.config.jax_compilation_cache_max_size),
  path,
)


def set_up_programs(cache, dtype):
  """Keeps compiled programs in the folder `cache`, and sets the precision of products for `dtype`.

  Small programs are kept too, as together they take longer to compile than the large ones to load.
  With float32, GPUs and TPUs multiply in full float32; they would otherwise use fewer bits.
  """
  cache = epath.Path(cache).expanduser()
  cache.mkdir(parents=True, exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', str(cache))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_default_matmul_precision', 'highest' if dtype == 'float32' else None)
