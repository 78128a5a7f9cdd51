"""How long it takes until an edit begins: the command itself, without and with its caches."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]


def measure():
  """Starts the edit of the shipped clip twice, in processes of their own.

  Returns:
    {'the first time', 'again': {'first_step': seconds to the first step of the edit, 'all': seconds to the end}}.

  Raises:
    subprocess.CalledProcessError: an edit failed.
  """
  found = {}
  with tempfile.TemporaryDirectory() as folder:
    for name in ('the first time', 'again'):
      workdir = f'{folder}/{len(found)}'
      command = [sys.executable, '-m', 'experiments.edit', '--config=configs/sprites_motion.py']
      command += [f'--config.cache={folder}/cache', f'--workdir={workdir}']
      began = time.monotonic()
      subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
      facts = json.loads((pathlib.Path(workdir) / 'run.json').read_text())
      found[name] = {'first_step': facts['seconds_to_first_step'], 'all': time.monotonic() - began}
  return found
