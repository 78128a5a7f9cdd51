"""Devices: the processes of a run, the mesh that batches of edits are sharded over, programs that
are kept.
"""

import jax
import numpy as np
from etils import epath


def data_mesh(devices=None):
  """A mesh with the one axis 'data' over the given devices; by default over this process's own.

  Edits are sharded and rows never are, so hosts do not wait for each other.
  """
  devices = jax.local_devices() if devices is None else devices
  return jax.sharding.Mesh(np.asarray(devices), ('data',))


def meet(coordinator, processes, process):
  """Lets the processes of a run find out who they are, for `jax.process_index`; before anything
  asks for devices.

  Then each goes its own way, as they share nothing: none waits for another, and none ends because
  another did.

  Args:
    coordinator: host:port of process 0, or 'auto' where JAX finds the others by itself (TPU slices,
      Slurm, ...).
    processes, process: how many there are, and which this is; not read with 'auto'.
  """
  jax.distributed.initialize(*(() if coordinator == 'auto' else (coordinator, processes, process)))
  jax.devices()
  jax.distributed.shutdown()


def replicate(tree, mesh):
  """A copy of all arrays on every device of the mesh."""
  return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def on_first(tree):
  """The copies on the first device of what `replicate` made; nothing is copied."""
  return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def set_up_programs(cache, dtype):
  """Settles how programs are compiled: kept from run to run, and true to their dtype.

  Args:
    cache: path of a folder for compiled programs, so that the next run starts without compiling.
      Small ones are kept too: there are many, and together they take longer than the large ones do
      to be read.
    dtype: compute dtype. float32 then means it: GPUs and TPUs would otherwise multiply in fewer
      bits.
  """
  cache = epath.Path(cache).expanduser()
  cache.mkdir(parents=True, exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', str(cache))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_default_matmul_precision', 'highest' if dtype == 'float32' else None)
