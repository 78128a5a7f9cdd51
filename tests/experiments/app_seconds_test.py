"""How long the live page takes, as a person with a browser sees it; run with -s it prints a table.

Marked slow: two minutes, and the numbers mean something on an idle machine only.
"""

import os
import subprocess
import sys
import time

import pytest

from tests.experiments.app_browser_test import CARDS, DONE, FAILED, click, drag_range
from tests.helpers import browser as chromium

pytestmark = pytest.mark.slow
PATIENCE = 600
SHOWN = "!!document.querySelector('#results video, #results p')"
STATUS = "document.querySelector('#status').innerText"


def test_seconds_of_the_first_edit_and_of_a_slider(tmp_path):
  pytest.importorskip('gradio')
  if not chromium.program():
    pytest.skip('no Chromium')
  told = []
  for run, label in (('cold', 'nothing cached'), ('warm', 'programs and inversion cached')):
    line = [sys.executable, '-m', 'experiments.app', f'--config.cache={tmp_path}/cache']
    line += [f'--workdir={tmp_path}/{run}']
    # Without what the tests set to compile fast.
    own = {name: x for name, x in os.environ.items() if name != 'XLA_FLAGS' and 'JAX_' not in name}
    pipes = {'env': own, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    began = time.monotonic()
    with subprocess.Popen(line, **pipes) as process:
      said = ''
      while 'kept in' not in said:
        one = process.stdout.readline()
        assert one, said
        said += one
      told.append((f'from the command to its address, {label}', time.monotonic() - began))
      address = next(word for word in said.split() if word.startswith('http://127.0.0.1:'))
      try:
        profile = tmp_path / f'{run}-profile'
        profile.mkdir()
        with chromium.browser(profile) as browser:
          told += _edit_twice(browser, address, label)
      finally:
        process.terminate()
        process.communicate()
  print('\n'.join(['', '| | seconds |', '|---|---|', *(f'| {a} | {b:.1f} |' for a, b in told)]))
  seconds = dict(told)
  cold, warm = (
    seconds[f'from the page to the first edit, {label}']
    for label in ('nothing cached', 'programs and inversion cached')
  )
  assert warm < cold


def _edit_twice(browser, address, label):
  """[(what, seconds)]: the page, the first edit, and the clip after a slider has moved."""
  began = time.monotonic()
  page = browser.visit(address, 1300, 1000)
  page.wait_for(SHOWN, PATIENCE)
  yield f'from the address to the page, {label}', time.monotonic() - began
  for what, act, cards in (
    ('from the page to the first edit', lambda: click(page, '#edit'), 1),
    ('from a slider to the new clip', lambda: drag_range(page, 'content-steps', 1, 0.4), 2),
  ):
    began = time.monotonic()
    act()
    page.wait_for(f'{CARDS} === {cards} && (!!{DONE} || !!{FAILED})', PATIENCE)
    assert not page.evaluate(f'!!{FAILED}'), page.evaluate(STATUS)
    print(label, page.evaluate(STATUS))
    yield f'{what}, {label}', time.monotonic() - began
