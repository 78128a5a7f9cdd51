"""Seconds of a piece of work."""

import time


def seconds_of(run, wait):
  """Seconds until a result is there; `wait` waits for it."""
  began = time.perf_counter()
  wait(run())
  return time.perf_counter() - began


def fastest(run, wait, repeats=5):
  """The least `seconds_of` some runs, after one that compiles."""
  _, *seconds = (seconds_of(run, wait) for _ in range(1 + repeats))
  return min(seconds)
