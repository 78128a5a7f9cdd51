"""Measures variants of the same work in turn: run time, compilation and memory."""

import ctypes
import gc
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.timing import fastest, seconds_of
from uniedit_jax.runtime.run_log import RunLog

SIDES = 1024, 2048, 4096  # lengths of the square matrices that measure a machine's rate
STATUS = pathlib.Path('/proc/self/status')
DISTURBED = 1.3  # the slowest repeat of a run that nothing disturbed, at most, in its fastest
SETTLING = 0.5  # seconds: JAX frees a run's buffers shortly after the run
# Parameters of glibc's mallopt: the size from which an array is a mapping, returned to the system
# as soon as it is freed, and the free memory that a thread keeps. glibc raises both with use, to
# `RAISED` at most.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
FRUGAL = {MMAP_THRESHOLD: 2**16, TRIM_THRESHOLD: 0}
RAISED = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}


class Variant(NamedTuple):
  """A run on one side (`sides.Ours` or `sides.Peer`), and the operations of its products."""

  side: Any
  run: Callable[[], Any]
  flops: float

  def seconds(self):
    """Seconds of one run."""
    return seconds_of(self.run, self.side.wait)


def measure(variants, repeats, progress=iter):
  """Interleaves the variants (A B A B) so that background load affects all of them alike.

  Args:
    variants: {name: `Variant`}.
    repeats: timed runs of each, after those that compile.
    progress: wraps the iterable of repeats.

  Returns:
    {name: dict}: 'seconds' of every repeat; 'compile_cold' and 'compile_warm', seconds of
    compilation without and with the programs on disk (PyTorch: the first run minus the median, and
    None); 'peak' bytes, on a CPU the growth of the process during a run, on a GPU each framework's
    count (JAX: since the process began).
  """
  found = {name: {'compile_cold': None, 'compile_warm': None} for name in variants}

  # Runs that compile.
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

  # Runs that are timed.
  times = {name: [] for name in variants}
  for _ in progress(range(repeats)):
    for name, variant in variants.items():
      times[name].append(variant.seconds())
  for name, variant in variants.items():
    if not variant.side.ours:
      compiling = found[name]['compile_cold'] - statistics.median(times[name])
      found[name]['compile_cold'] = max(0.0, compiling)
  return {name: {'seconds': times[name], **found[name]} for name in variants}


def peak_memory(variant):
  """The peak bytes of a run (see `measure`), or None where the system does not report them."""
  if jax.default_backend() != 'cpu':
    return variant.side.peak(variant.seconds)
  libc = ctypes.CDLL(None)
  if not hasattr(libc, 'malloc_trim'):
    return None
  try:
    _tune(libc, FRUGAL)
    # Threads return the memory that they kept from earlier runs; it would hide this run's need.
    variant.seconds()
    gc.collect()
    time.sleep(SETTLING)
    libc.malloc_trim(0)
    # Writing 5 resets the peak.
    pathlib.Path('/proc/self/clear_refs').write_text('5')
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
  """The highest rate of a square matrix product on this machine, in operations a second."""
  best = 0.0
  for length in SIDES:
    # Products of zeros would be faster.
    x = np.random.default_rng(0).standard_normal((length, length), np.float32)
    for side in sides:
      best = max(best, 2 * length**3 / fastest(side.multiply(x), side.wait))
  return best


def is_disturbed(variants):
  """Whether repeats of some variant of a case, a result of `measure`, differ by `DISTURBED`."""
  seconds = [found['seconds'] for found in variants.values()]
  return any(max(repeats) > DISTURBED * min(repeats) for repeats in seconds)


class Load:
  """What else the machine computes, from now on."""

  def __init__(self):
    self.before = os.getloadavg()[0]
    self._busy, self._own, self._wall = *_cpu_seconds(), time.monotonic()

  def as_dict(self):
    """'before': the load average of the last minute; 'others': the share of the time of all cores
    that other processes have used since, None where the system does not report it.
    """
    busy, own = _cpu_seconds()
    others = None
    if busy is not None:
      all_cores = (time.monotonic() - self._wall) * os.cpu_count()
      others = max(0.0, busy - self._busy - (own - self._own)) / max(all_cores, 1e-9)
    return {'before': self.before, 'others': others, 'cores': os.cpu_count()}


def _cpu_seconds():
  """CPU seconds of (the machine or None, this process with the children that ended)."""
  own = sum(os.times()[:4])
  stat = pathlib.Path('/proc/stat')
  if not stat.exists():
    return None, own
  user, nice, system, _, _, *others = map(int, stat.read_text().split('\n', 1)[0].split()[1:9])
  return (user + nice + system + sum(others)) / os.sysconf('SC_CLK_TCK'), own


def ratio(reference, other):
  """How many times faster `reference` was than `other`, repeat by repeat: (median, least, most)."""
  ratios = [b / a for a, b in zip(reference, other, strict=True)]
  return statistics.median(ratios), min(ratios), max(ratios)
