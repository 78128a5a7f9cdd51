"""The content of run.json: seconds and compilations by phase, versions, memory, warnings."""

import contextlib
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import threading
import time
import weakref

import jax
from absl import logging

try:
  import resource
except ImportError:  # Windows
  resource = None

PROGRAM_EVENT = '/jax/core/compile/backend_compile_duration'
# Reported when a program is lowered, right before it is compiled or read from the cache.
LOWERED_EVENT = '/jax/core/compile/jaxpr_to_mlir_module_duration'
COMPILE_EVENTS = (PROGRAM_EVENT, '/jax/core/compile/jaxpr_trace_duration', LOWERED_EVENT)
LARGE_SECONDS = 0.1  # of lowering; such a program takes seconds or minutes to compile
BACKGROUND = 'background'  # the key of compilation by threads, concurrent with phases
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'transformers')
_LOGS = weakref.WeakSet()


def _notify(event, duration, fun_name='', **_):
  for log in list(_LOGS):
    log.on_event(event, duration, fun_name)


# One listener for all logs: JAX keeps its listeners, while logs come and go.
jax.monitoring.register_event_duration_secs_listener(_notify)


class RunLog:
  """Collects run.json while a run goes on.

  Attributes:
    seconds: {phase: seconds without compilation}.
    compile_seconds: {phase: seconds of tracing, lowering and compiling}.
    compilations: {phase: number of programs}. Both count compilation by other threads under
      'background'.
    warnings: list of str.
    facts: dict of other entries, such as 'seconds_to_first_step': from the start of the process to
      the end of the first sampling step.
  """

  def __init__(self, warnings=(), announce=logging.info, bars=None):
    """Starts a log with some warnings; `announce` gets the name of every phase when it begins.

    `bars`: (label, `RunLog`) -> wrapper of an iterable of steps that shows them; None shows none.
    """
    self._bars = bars
    self.seconds, self.compile_seconds, self.compilations = {}, {}, {}
    self.warnings, self.facts = [], {}
    self._announce, self._phase, self._thread, self._spans = announce, None, None, []
    for message in warnings:
      self.warn(message)
    _LOGS.add(self)

  def on_event(self, event, duration, program=''):
    """Counts an event of `jax.monitoring` if it is a compilation during a phase.

    A large program is announced before it is compiled, which may take minutes.
    """
    if event not in COMPILE_EVENTS or not self._phase:
      return
    phase, spans = self._phase, self._spans
    if event == LOWERED_EVENT and duration >= LARGE_SECONDS:
      self._announce(f'compiling {program or "a program"}, unless it is in the cache')
    if threading.get_ident() != self._thread:
      phase, spans = BACKGROUND, []
    # Events are reported at their end, and those of inner functions lie inside: count the union of
    # the spans.
    start, counted = time.perf_counter() - duration, 0.0
    while spans and spans[-1][0] >= start:
      counted += spans.pop()[1]
    spans.append((start, duration))
    self.compile_seconds[phase] = self.compile_seconds.get(phase, 0.0) + duration - counted
    self.compilations[phase] = self.compilations.get(phase, 0) + (event == PROGRAM_EVENT)

  @property
  def compiled(self):
    """Seconds of compilation in phases so far."""
    return sum(seconds for phase, seconds in self.compile_seconds.items() if phase != BACKGROUND)

  def count_step(self):
    """Marks the end of a sampling step; only the time of the first is recorded."""
    self.facts.setdefault('seconds_to_first_step', round(seconds_of_process(), 3))

  def steps(self, label):
    """Returns a wrapper of an iterable of steps; those of 'edit' are counted as they end."""
    wrap = self._bars(label, self) if self._bars else iter

    def counted(iterable):
      for item in wrap(iterable):
        yield item
        self.count_step()

    return counted if label == 'edit' else wrap

  @contextlib.contextmanager
  def phase(self, name):
    """Times a block; phases do not nest."""
    self._announce(name)
    self._phase, self._thread = name, threading.get_ident()
    start, before = time.perf_counter(), self.compiled
    try:
      yield
    finally:
      spent = time.perf_counter() - start - (self.compiled - before)
      self.seconds[name] = self.seconds.get(name, 0.0) + spent
      self._phase = None

  def warn(self, message):
    """Logs a warning and keeps it for run.json."""
    logging.warning(message)
    self.warnings.append(message)

  def as_dict(self):
    """The content of run.json."""
    rounded = lambda by_phase: {name: round(value, 3) for name, value in by_phase.items()}
    return {
      **self.facts,
      'seconds': rounded(self.seconds),
      'compile_seconds': rounded(self.compile_seconds),
      'compilations': self.compilations,
      'peak_memory_bytes': peak_memory(),
      'warnings': self.warnings,
      'devices': [f'{device.platform}: {device.device_kind}' for device in jax.local_devices()],
      'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
      'git_commit': _git_commit(),
    }


def peak_memory():
  """Peak bytes on the first device, of the process if the device is the CPU, or None: unknown."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if stats.get('peak_bytes_in_use') or not resource:
    return stats.get('peak_bytes_in_use')
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seconds_of_process():
  """Seconds since the process started, or its CPU time where the system does not report them."""
  try:
    fields = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf('SC_CLK_TCK')
  except (OSError, AttributeError):
    return time.process_time()


def _git_commit():
  folder = pathlib.Path(__file__).parent
  command = ['git', '-C', str(folder), 'rev-parse', 'HEAD']
  try:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    # The package was installed without its repository.
    return None
