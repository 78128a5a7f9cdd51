"""Progress: lines where there is no terminal, and compilation announced before it starts."""

import sys

import pytest

from uniedit_jax.runtime import progress, run_log
from uniedit_jax.runtime.run_log import LARGE_SECONDS, LOWERED_EVENT, PROGRAM_EVENT, RunLog


@pytest.fixture
def said(monkeypatch):
  lines = []
  monkeypatch.setattr(progress, 'announce', lines.append)
  return lines


def test_a_log_gets_the_first_and_the_last_line_and_some_between(monkeypatch, said):
  now = iter((0, 5, 16, 17, 18))
  monkeypatch.setattr(progress.time, 'monotonic', lambda: next(now))
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: False, raising=False)
  with progress.bar('edit', 5, 'step') as bar:
    for _ in range(5):
      bar.note('1 s/step')
      bar.update()
  assert said == [f'edit: {i} of 5 steps, 1 s/step' for i in (1, 3, 5)]


def test_a_terminal_and_a_notebook_get_a_bar(monkeypatch, said):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
  assert isinstance(progress.bar('edit', 1, 'step'), progress._Bar)
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: False, raising=False)
  monkeypatch.setitem(sys.modules, 'ipykernel', run_log)
  with progress.bar('edit', 1, 'step') as bar:
    bar.update()
  assert isinstance(bar, progress._Bar) and not said


def test_a_large_program_is_announced_before_it_is_compiled():
  said = []
  log = RunLog(announce=said.append)
  with log.phase('edit'):
    log.on_event(LOWERED_EVENT, LARGE_SECONDS / 2, 'a small one')
    log.on_event(LOWERED_EVENT, 2 * LARGE_SECONDS, 'jit(step)')
    assert said == ['edit', 'compiling jit(step), unless it is in the cache']
    log.on_event(PROGRAM_EVENT, 30.0, 'jit(step)')
  assert len(said) == 2


def test_programs_outside_of_phases_are_not_announced():
  said = []
  RunLog(announce=said.append).on_event(LOWERED_EVENT, 1.0, 'jit(step)')
  assert said == []
