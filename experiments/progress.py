"""What entry points show while they run: phases, and bars whose seconds per step leave compilation
out.
"""

import time

import jax
import tqdm


def announce(phase):
  """Prints the name of a phase on process 0."""
  if jax.process_index() == 0:
    tqdm.tqdm.write(f'[{time.strftime("%H:%M:%S")}] {phase}')


def steps(label, record):
  """Returns a wrapper of an iterable of steps that shows a bar on process 0.

  Args:
    label: what the bar is called.
    record: `run_log.RunLog`, which knows the seconds spent compiling.
  """

  def wrap(iterable):
    with tqdm.tqdm(
      total=len(iterable), desc=label, unit='step', disable=jax.process_index() > 0
    ) as bar:
      for item in iterable:
        start, before = time.perf_counter(), record.compiled
        yield item
        compiling = record.compiled - before
        shown = f'{time.perf_counter() - start - compiling:.2f} s/step'
        bar.set_postfix_str(
          shown + (f', compiled in {compiling:.1f} s' if compiling else ''), refresh=False
        )
        bar.update()
        if label == 'edit':
          record.count_step()

  return wrap
