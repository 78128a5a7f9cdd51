"""The memory that sampling needs, and the memory that the device has."""

import functools

import jax
import jax.numpy as jnp
from etils import epath

from uniedit_jax.models import attention_kernels
from uniedit_jax.models.config import PARTS, abstract_params

# Memory of one row during sampling, in units of f[F, H, W, channels[0]]; from the process peaks of
# LaVie with three and with six rows a pass in docs/performance.md.
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
    parameters: number of parameters, if known; counting them takes a second or two.
  """
  item, side = jnp.dtype(dtype).itemsize, config.vae.factor
  weights = (parameters or parameter_count(config)) * item
  unit = frames * (height // side) * (width // side) * config.unet.channels[0] * item
  return weights + rows * ROW_UNITS * unit + 2 * attention_kernels.LOGITS_BYTES


def available():
  """Bytes that the first local device has available, or None if it does not report them."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  meminfo = epath.Path('/proc/meminfo')
  if jax.default_backend() == 'cpu' and meminfo.exists():
    lines = dict(line.split(':') for line in meminfo.read_text().splitlines())
    return int(lines['MemAvailable'].split()[0]) * 1024
  return None
