"""Shows on process 0 what a run is doing: phases, and bars whose seconds leave compilation out."""

import time

import jax
import tqdm

from uniedit_jax.runtime.run_log import RunLog


def shown_log(warnings=()):
  """A `RunLog` that shows phases and bars."""
  return RunLog(warnings, announce, steps)


def announce(phase):
  """Shows the name of a phase."""
  if jax.process_index() == 0:
    tqdm.tqdm.write(f'[{time.strftime("%H:%M:%S")}] {phase}')


def steps(label, log):
  """Returns a wrapper of steps that shows a bar; `log` knows the seconds spent compiling."""

  def wrap(iterable):
    hidden = jax.process_index() > 0
    with tqdm.tqdm(total=len(iterable), desc=label, unit='step', disable=hidden) as bar:
      for item in iterable:
        start, before = time.perf_counter(), log.compiled
        yield item
        compiling = log.compiled - before
        shown = f'{time.perf_counter() - start - compiling:.2f} s/step'
        bar.set_postfix_str(
          shown + (f', compiled in {compiling:.1f} s' if compiling else ''), refresh=False
        )
        bar.update()

  return wrap
