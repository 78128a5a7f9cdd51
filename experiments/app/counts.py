"""How many programs are compiled, and how many are read from the cache on disk instead."""

import threading

import jax

from uniedit_jax.runtime.run_log import PROGRAM_EVENT

HIT_EVENT = '/jax/compilation_cache/cache_hits'
_TOTALS, _LOCK = {PROGRAM_EVENT: 0, HIT_EVENT: 0}, threading.Lock()


def _notify(event, *_, **__):
  if event in _TOTALS:
    with _LOCK:
      _TOTALS[event] += 1


# One listener of each kind for all counters, as JAX keeps its listeners.
jax.monitoring.register_event_duration_secs_listener(_notify)
jax.monitoring.register_event_listener(_notify)


class Counter:
  """Counts programs from now on, those of all threads."""

  def __init__(self):
    self._before = dict(_TOTALS)

  def counted(self):
    """(programs that were compiled, programs that were read from the cache)."""
    asked, read = (_TOTALS[name] - self._before[name] for name in (PROGRAM_EVENT, HIT_EVENT))
    return asked - read, read
