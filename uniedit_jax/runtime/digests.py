"""Digests of files, computed once: a cache remembers them by path, sizes and times."""

import contextlib
import hashlib
import os

from etils import epath

from uniedit_jax.runtime import files
from uniedit_jax.runtime.workdir import write_json


def remembered(compute, paths, cache=None):
  """The result of `compute()`, a str, or what it was for the same files, unchanged since.

  Args:
    compute: reads the files.
    paths: list of files.
    cache: folder whose digests/ remembers; None computes.
  """
  if not cache:
    return compute()
  named = '\n'.join(str(files.absolute(path)) for path in paths)
  name = hashlib.sha256(named.encode(errors='surrogateescape')).hexdigest()
  memory, now = epath.Path(cache).expanduser() / 'digests' / f'{name}.json', facts(paths)
  with contextlib.suppress(OSError, ValueError, KeyError):
    found = files.read_json(memory)
    if found['files'] == [list(one) for one in now]:
      return found['digest']
  digest = compute()
  # What cannot be remembered is computed again.
  with contextlib.suppress(OSError):
    write_json(memory, {'files': now, 'digest': digest})
  return digest


def digest_of(path, cache=None):
  """The sha256 of a file, or of the names and contents of the files below a folder."""
  paths = files.files_below(path)

  def compute():
    digest = hashlib.sha256()
    for file in paths:
      # A file may be renamed; in a folder names give the order.
      digest.update(b'' if file == epath.Path(path) else f'{file.name}\n'.encode())
      with file.open('rb') as opened:
        digest.update(hashlib.file_digest(opened, 'sha256').digest())
    return digest.hexdigest()

  return remembered(compute, paths, cache)


def facts(paths):
  """What changes when one of the files is written: a tuple of sizes and times for each."""
  found = []
  for path in paths:
    if files.is_remote(path):
      stat = epath.Path(path).stat()
      found.append((stat.length, str(stat.mtime)))
    else:
      stat = os.stat(path)
      found.append((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
  return tuple(found)
