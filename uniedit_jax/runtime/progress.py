"""Shows on process 0 what a run is doing: phases, and bars whose seconds leave compilation out."""

import sys
import time
import warnings

import jax

from uniedit_jax.runtime.run_log import RunLog

LINE_SECONDS = 15.0  # between two lines of progress where there is no terminal to draw a bar in


def shown_log(warnings=()):
  """A `RunLog` that shows phases and bars."""
  return RunLog(warnings, announce, steps)


def announce(phase):
  """Shows the name of a phase."""
  if jax.process_index() == 0:
    _tqdm().write(f'[{time.strftime("%H:%M:%S")}] {phase}')


def steps(label, log):
  """Returns a wrapper of steps that shows a bar; `log` knows the seconds spent compiling."""

  def wrap(iterable):
    with bar(label, len(iterable), 'step') as shown:
      for item in iterable:
        start, before = time.perf_counter(), log.compiled
        yield item
        compiling = log.compiled - before
        seconds = f'{time.perf_counter() - start - compiling:.2f} s/step'
        shown.note(seconds + (f', compiled in {compiling:.1f} s' if compiling else ''))
        shown.update()

  return wrap


def bar(label, total, unit):
  """A bar in a terminal and in notebooks, and lines now and then in a log; closes after a block."""
  is_log = not sys.stderr.isatty() and 'ipykernel' not in sys.modules
  return (_Lines if is_log else _Bar)(label, total, unit)


class _Bar:
  """A bar of tqdm, in a notebook one of its own."""

  def __init__(self, label, total, unit):
    hidden = jax.process_index() > 0
    self._bar = _tqdm()(total=total, desc=label, unit=unit, disable=hidden)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()

  def note(self, text):
    """Sets the text behind the bar."""
    self._bar.set_postfix_str(text, refresh=False)

  def update(self, count=1):
    """Counts finished steps."""
    self._bar.update(count)


class _Lines:
  """Progress as lines of a log: the first, the last, and one every `LINE_SECONDS`."""

  def __init__(self, label, total, unit):
    self._label, self._total, self._unit = label, total, unit
    self._done, self._note, self._shown = 0, '', None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def note(self, text):
    """Sets the text behind the count."""
    self._note = f', {text}' if text else ''

  def update(self, count=1):
    """Counts finished steps, and writes a line if it is time."""
    self._done, now = self._done + count, time.monotonic()
    is_time = self._shown is None or now - self._shown >= LINE_SECONDS
    if is_time or self._done == self._total:
      announce(f'{self._label}: {self._done} of {self._total} {self._unit}s{self._note}')
      self._shown = now


def _tqdm():
  """Tqdm's bar for where this runs."""
  with warnings.catch_warnings():
    # Without ipywidgets a notebook has bars of text, which do.
    warnings.simplefilter('ignore')
    from tqdm.auto import tqdm
  return tqdm
