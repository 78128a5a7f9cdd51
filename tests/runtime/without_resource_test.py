"""Systems without the module `resource` and without signal 0, as Windows is one."""

import os
import subprocess
import sys

from uniedit_jax.runtime import files

CODE = """
import sys
sys.modules['resource'] = None  # an import of it fails
from uniedit_jax.runtime import faults, run_log
assert faults.is_full(OSError(28, 'full'), '.') and not faults.is_full(ValueError('x'), '.')
assert not faults.is_full(RuntimeError('ffmpeg could not write x'), '.')
assert run_log.peak_memory() is None
assert run_log.RunLog().as_dict()['peak_memory_bytes'] is None
import uniedit_jax.api, experiments.edit
"""


def test_the_programs_run_without_the_module_resource():
  done = subprocess.run(
    [sys.executable, '-c', CODE], capture_output=True, text=True, check=False, env={**os.environ}
  )
  assert done.returncode == 0, done.stderr


def test_where_processes_cannot_be_asked_for_only_age_tells_what_is_left_over(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(files, 'CAN_ASK', False)
  monkeypatch.setattr(os, 'kill', lambda *_: 1 / 0)
  path = tmp_path / f'{files.unfinished_name("x")}.tmp'
  path.touch()
  assert not files.is_left_over(path)
  os.utime(path, (0, 1))
  assert files.is_left_over(path) and not files.is_gone(1)
