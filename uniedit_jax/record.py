"""What a run did, as it is written to run.json: seconds and compilations by phase, versions, memory, warnings."""

import contextlib
import importlib.metadata
import json
import pathlib
import resource
import subprocess
import sys
import time

import jax
from absl import logging
from etils import epath

from uniedit_jax.video import atomic_file

COMPILE_EVENT = '/jax/core/compile/backend_compile_duration'
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'transformers')


class Record:
  """Collects run.json while a run goes on.

  Attributes:
    seconds: {phase: seconds, compilation apart}.
    compile_seconds: {phase: seconds}; compilations: {phase: number of programs}.
    warnings: list of str.
    facts: anything else that the run wants to tell.
  """

  def __init__(self):
    self.seconds, self.compile_seconds, self.compilations = {}, {}, {}
    self.warnings, self.facts = [], {}
    self._phase = None
    jax.monitoring.register_event_duration_secs_listener(self._on_event)

  def _on_event(self, event, duration, **_):
    if event == COMPILE_EVENT and self._phase:
      self.compile_seconds[self._phase] = self.compile_seconds.get(self._phase, 0.0) + duration
      self.compilations[self._phase] = self.compilations.get(self._phase, 0) + 1

  @property
  def compiled(self):
    """Seconds spent compiling so far."""
    return sum(self.compile_seconds.values())

  @contextlib.contextmanager
  def phase(self, name):
    """Times a block; phases do not nest."""
    logging.info('phase: %s', name)
    self._phase, start, before = name, time.perf_counter(), self.compiled
    try:
      yield
    finally:
      spent = time.perf_counter() - start - (self.compiled - before)
      self.seconds[name] = self.seconds.get(name, 0.0) + spent
      self._phase = None

  def warn(self, message):
    """Logs a warning and keeps it for the record."""
    logging.warning(message)
    self.warnings.append(message)

  def as_dict(self):
    """The record, ready for json."""
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
  """Peak bytes on the first device, or of the process where the device is the CPU."""
  stats = jax.local_devices()[0].memory_stats() or {}
  unit = 1 if sys.platform == 'darwin' else 1024
  return stats.get('peak_bytes_in_use') or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _git_commit():
  folder = pathlib.Path(__file__).parent
  command = ['git', '-C', str(folder), 'rev-parse', 'HEAD']
  try:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None  # installed without its repository


def write_json(path, value):
  """Writes json atomically."""
  with atomic_file(path) as name:
    pathlib.Path(name).write_text(json.dumps(value, indent=2) + '\n')


def is_done(workdir):
  """Whether a run finished here."""
  return (epath.Path(workdir) / 'DONE').exists()


def mark_done(workdir):
  """Declares a run finished; the last thing that is written."""
  write_json(epath.Path(workdir) / 'DONE', True)
