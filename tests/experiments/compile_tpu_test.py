"""The step of a batch compiles for real TPUs, here for the small model; needs libtpu (`pip install
-e '.[tpu]'`).
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.tpu


def compile_tpu(*flags):
  command = [
    sys.executable,
    '-m',
    'experiments.compile_tpu',
    '--config=configs/batch.py:sprites',
    *flags,
  ]
  return subprocess.run(command, capture_output=True, text=True, check=False)


def test_eight_chips_exchange_nothing():
  done = compile_tpu('--topology=v5e:2x4', '--config.rows_per_pass=4')
  assert done.returncode == 0, done.stderr[-2000:]
  heads, _, row = (
    [cell.strip() for cell in line.split('|')[1:-1]] for line in done.stdout.splitlines()
  )
  told = dict(zip(heads, row, strict=True))
  assert [told[name] for name in ('topology', 'chips', 'rows', 'collectives')] == [
    'v5e:2x4',
    '8',
    '3+3',
    '0',
  ]
  assert 0.05 < float(told['GB a chip']) < 1


def test_what_does_not_fit_or_exist_is_told():
  many = compile_tpu(
    '--topology=v5e:1x1',
    '--config.per_device=16',
    '--config.clip.height=512',
    '--config.clip.width=512',
  )
  assert many.returncode == 1 and 'the step does not fit a chip of v5e:1x1' in many.stderr
  for name, why in (
    ('v9:2x2', 'accepted: v5e, v5p, v6e with a shape'),
    ('v5e:3x5', 'accepted: a shape of that kind'),
  ):
    wrong = compile_tpu(f'--topology={name}')
    assert wrong.returncode == 1 and why in wrong.stderr
