"""Wall-clock seconds of a computation, compilation left out."""

import time


def seconds_of(run, wait):
  """Seconds until the result of `run` is ready; `wait` blocks on it."""
  began = time.perf_counter()
  wait(run())
  return time.perf_counter() - began


def fastest(run, wait, repeats=5):
  """The least `seconds_of` several runs, after one that compiles."""
  _, *seconds = (seconds_of(run, wait) for _ in range(1 + repeats))
  return min(seconds)
