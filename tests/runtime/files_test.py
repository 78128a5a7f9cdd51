"""Room on a disk."""

import errno
import shutil

import pytest

from uniedit_jax.runtime import files


def test_what_a_disk_has_no_room_for_is_refused_with_its_folder(tmp_path):
  free = shutil.disk_usage(tmp_path).free
  files.need_room(tmp_path, free // 2)
  files.need_room('gs://bucket/states', 2 * free)
  with pytest.raises(OSError, match='MB are needed') as error:
    files.need_room(tmp_path, 2 * free)
  assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path))
