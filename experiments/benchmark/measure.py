"""Measures variants of the same work in turn: seconds, compilation, memory."""

import ctypes
import gc
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.timing import fastest, seconds_of
from uniedit_jax.runtime.run_log import RunLog

SIDES = 1024, 2048, 4096  # of the square products by which a machine's rate is measured
STATUS = pathlib.Path('/proc/self/status')
SETTLING = 0.5  # seconds: JAX lets go of a run's buffers a little after the run
# Of glibc's mallopt: from which size on an array is a mapping of its own, which is given back as it
# is let go, and how much free memory a thread keeps. By itself glibc raises both by what it sees,
# to `RAISED` at most.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
FRUGAL, RAISED = (
  {MMAP_THRESHOLD: 2**16, TRIM_THRESHOLD: 0},
  {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26},
)


class Variant(NamedTuple):
  """One way to do a piece of work.

  Attributes:
    side: `speed_sides.Ours` or `Peer`.
    run: () -> its result.
    flops: operations of its products and convolutions.
  """

  side: Any
  run: Callable[[], Any]
  flops: float

  def seconds(self):
    """Seconds of one run."""
    return seconds_of(self.run, self.side.wait)


def measure(variants, repeats, progress=iter):
  """Runs variants in turn, A B A B, so that what else the machine does meets all of them.

  Args:
    variants: {name: `Variant`}.
    repeats: timed runs of each, after those that compile.
    progress: wraps the iterable of repeats.

  Returns:
    {name: dict}: 'seconds' of every repeat; 'compile_cold' and 'compile_warm', seconds without and
    with the programs on disk (PyTorch: what the first run took longer than the median; None);
    'peak' bytes, on a CPU what the process held above what it had held before, on a GPU each
    framework's own (JAX: since the process began).
  """
  found = {name: {'compile_cold': None, 'compile_warm': None} for name in variants}
  for kind in ('compile_cold', 'compile_warm'):
    jax.clear_caches()
    for name, variant in variants.items():
      if variant.side.ours:
        log = RunLog()
        with log.phase('run'):
          variant.seconds()
        found[name][kind] = log.compiled
      elif kind == 'compile_cold':
        found[name][kind] = variant.seconds()
  for name, variant in variants.items():
    found[name]['peak'] = peak_memory(variant)
  times = {name: [] for name in variants}
  for _ in progress(range(repeats)):
    for name, variant in variants.items():
      times[name].append(variant.seconds())
  for name, variant in variants.items():
    if not variant.side.ours:
      found[name]['compile_cold'] = max(
        0.0, found[name]['compile_cold'] - statistics.median(times[name])
      )
  return {name: {'seconds': times[name], **found[name]} for name in variants}


def peak_memory(variant):
  """The most bytes that a run holds (see `measure`), or None where the system does not tell."""
  if jax.default_backend() != 'cpu':
    return variant.side.peak(variant.seconds)
  libc = ctypes.CDLL(None)
  if not hasattr(libc, 'malloc_trim'):
    return None
  try:
    _tune(libc, FRUGAL)
    # its threads give back what they kept of earlier runs, which would hide what this one needs
    variant.seconds()
    gc.collect()
    time.sleep(SETTLING)
    libc.malloc_trim(0)
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew
    before = _kilobytes('VmRSS')
    variant.seconds()
    return max(0, _kilobytes('VmHWM') - before) * 1024
  finally:
    _tune(libc, RAISED)


def _tune(libc, settings):
  for name, value in settings.items():
    libc.mallopt(name, value)


def _kilobytes(field):
  lines = STATUS.read_text().splitlines()
  return int(next(line for line in lines if line.startswith(f'{field}:')).split()[1])


def product_rate(sides):
  """The most operations a second of a square matrix product here, by any of the sides."""
  best = 0.0
  for length in SIDES:
    # zeros would be faster than numbers
    x = np.random.default_rng(0).standard_normal((length, length), np.float32)
    best = max(best, *(2 * length**3 / fastest(side.multiply(x), side.wait) for side in sides))
  return best


def ratio(reference, other):
  """How many times faster `reference` was than `other`, repeat by repeat: (median, least, most)."""
  each = [b / a for a, b in zip(reference, other, strict=True)]
  return statistics.median(each), min(each), max(each)
