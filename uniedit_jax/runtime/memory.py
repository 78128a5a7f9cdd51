"""How much memory sampling needs, and how much there is."""

import functools

import jax
import jax.numpy as jnp
from etils import epath

from uniedit_jax.models import attention_kernels
from uniedit_jax.models.config import PARTS, abstract_params

# Memory of one row while it is sampled, in units of f[F, H, W, channels[0]]: the difference of the
# process peaks with three and with six rows a pass in docs/performance.md.
ROW_UNITS = 36


@functools.cache
def parameter_count(config):
  """Number of parameters of all parts."""
  return sum(leaf.size for part in PARTS for leaf in jax.tree.leaves(abstract_params(config, part)))


def needed(config, rows, frames, height, width, dtype, parameters=None):
  """Estimates the bytes that sampling needs: weights of all parts and the activations of one pass.

  Args:
    config: `ModelConfig`.
    rows: rows of the largest pass.
    frames, height, width: the clip, in pixels.
    dtype: compute dtype.
    parameters: their number, where it is known; it takes a second or two to count them.
  """
  item = jnp.dtype(dtype).itemsize
  side = config.vae.factor
  unit = frames * (height // side) * (width // side) * config.unet.channels[0] * item
  return (
    (parameters or parameter_count(config)) * item
    + rows * ROW_UNITS * unit
    + 2 * attention_kernels.LOGITS_BYTES
  )


def available():
  """Bytes that the first local device offers, or None where it does not say."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  meminfo = epath.Path('/proc/meminfo')
  if jax.default_backend() == 'cpu' and meminfo.exists():
    lines = dict(line.split(':') for line in meminfo.read_text().splitlines())
    return int(lines['MemAvailable'].split()[0]) * 1024
  return None
