"""Start-up time of the edit command, without and with its caches."""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
AGAIN = 5


def measure():
  """Runs the edit of the shipped clip several times, each in a new process.

  Returns:
    {'the first time': dict, 'again': dict of medians}, each {'first_step': seconds to the first
    step of the edit, 'all': seconds to the end}.
  """
  with tempfile.TemporaryDirectory() as folder:
    first, *others = (_start(folder, f'{folder}/{i}') for i in range(1 + AGAIN))
  return {
    'the first time': first,
    'again': {name: statistics.median(other[name] for other in others) for name in first},
  }


def _start(folder, workdir):
  command = [sys.executable, '-m', 'experiments.edit', '--config=configs/sprites_motion.py']
  command += [f'--config.cache={folder}/cache', f'--workdir={workdir}']
  began = time.monotonic()
  subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
  facts = json.loads((pathlib.Path(workdir) / 'run.json').read_text())
  return {'first_step': facts['seconds_to_first_step'], 'all': time.monotonic() - began}
