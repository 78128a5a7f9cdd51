"""Opens the media that a person hands in, and turns whatever fails into faults of their field.

A path may be local (`~` is the home folder), file://, http(s)://, gs:// or s3://.
"""

import contextlib
import os
import tempfile
import time
import urllib.parse
import urllib.request

from uniedit_jax.runtime.faults import FaultsError
from uniedit_jax.runtime.files import local_copy

# Seconds after which a download or a run of ffmpeg is given up.
PATIENCE = 600
SCHEMES = ('file', 'http', 'https', 'gs', 's3')


@contextlib.contextmanager
def opened(path, field, accepted):
  """Yields a local name of a file or folder; remote files are copied for the block.

  Args:
    path: str or os.PathLike.
    field: the name under which faults are reported.
    accepted: what the field accepts, in words.

  Raises:
    FaultsError: nothing is there, it is neither a regular file nor a folder, or the block failed.
  """
  shown, reason = f'{field} is {str(path or "")!r}', ''
  try:
    with _local(os.fspath(path or '')) as name:
      if os.path.isfile(name) or os.path.isdir(name):
        yield name
        return
      # A pipe or a device could be read for ever.
      exists = os.path.lexists(name)
      reason = 'which is no regular file' if exists else 'which does not exist here'
  except FaultsError:
    raise
  # Pillow, NumPy, zipfile and file systems raise many types for damaged files.
  except Exception as error:
    text = str(error).strip() or type(error).__name__
    raise FaultsError([f'{shown}, which cannot be read ({text}); accepted: {accepted}']) from error
  raise FaultsError([f'{shown}, {reason}; accepted: {accepted}'])


@contextlib.contextmanager
def _local(path):
  """Yields a local name of what a path or an address points to."""
  scheme, separator, _ = path.partition('://')
  if not separator:
    yield os.path.expanduser(path)
  elif scheme not in SCHEMES:
    raise ValueError(f'{scheme}:// is none of {", ".join(SCHEMES)}')
  elif scheme in ('gs', 's3'):
    with contextlib.ExitStack() as stack:
      try:
        name = stack.enter_context(local_copy(path))
      except ImportError as error:
        extra = {'gs': 'gcs', 's3': 's3'}[scheme]
        raise ValueError(f"{error}: pip install -e '.[{extra}]'") from error
      yield name
  elif scheme == 'file':
    yield urllib.request.url2pathname(urllib.parse.urlsplit(path).path)
  else:
    with tempfile.TemporaryDirectory() as folder:
      name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(path).path))
      yield _download(path, os.path.join(folder, name[-100:] or 'download'))


def _download(address, name):
  """Writes what an address answers to a local file, whose name it returns."""
  deadline = time.monotonic() + PATIENCE
  with urllib.request.urlopen(address, timeout=60) as answer, open(name, 'wb') as file:
    if answer.headers.get_content_type() == 'text/html':
      raise ValueError('the address answers with a web page')
    while part := answer.read1(2**20):
      file.write(part)
      if time.monotonic() > deadline:
        raise ValueError(f'the download takes more than {PATIENCE} seconds')
  return name
