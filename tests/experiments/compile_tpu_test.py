"""The step of a batch compiles for TPUs; needs libtpu (`pip install -e '.[tpu]'`)."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.tpu


def compile_tpu(*flags):
  command = [sys.executable, '-m', 'experiments.compile_tpu', '--config=configs/batch.py:sprites']
  return subprocess.run([*command, *flags], capture_output=True, text=True, check=False)


def test_eight_chips_exchange_nothing():
  done = compile_tpu('--topology=v5e:2x4', '--config.rows_per_pass=4')
  assert done.returncode == 0, done.stderr[-2000:]
  heads, _, row = (
    [cell.strip() for cell in line.split('|')[1:-1]] for line in done.stdout.splitlines()
  )
  found = dict(zip(heads, row, strict=True))
  names = 'topology', 'chips', 'rows', 'collectives'
  assert [found[name] for name in names] == ['v5e:2x4', '8', '3+3', '0']
  assert 0.05 < float(found['GB a chip']) < 1


def test_a_step_that_does_not_fit_and_an_unknown_topology_are_refused():
  large = '--config.per_device=16', '--config.clip.height=512', '--config.clip.width=512'
  many = compile_tpu('--topology=v5e:1x1', *large)
  assert many.returncode == 1 and 'the step does not fit a chip of v5e:1x1' in many.stderr
  for name, why in (
    ('v9:2x2', 'accepted: v5e, v5p, v6e with a shape'),
    ('v5e:3x5', 'accepted: a shape of that kind'),
  ):
    wrong = compile_tpu(f'--topology={name}')
    assert wrong.returncode == 1 and why in wrong.stderr
