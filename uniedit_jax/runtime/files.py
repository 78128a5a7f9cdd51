"""Files, local or remote (gs://, s3://): atomic writes, and local names for reading."""

import contextlib
import os
import pathlib
import tempfile
import uuid

from etils import epath

SCHEMES = ('gs://', 's3://')
LONGEST_NAME = 255  # bytes, of nearly all file systems


@contextlib.contextmanager
def atomic_file(path):
  """Yields a local file name to write to; it becomes `path`, unless the block raises."""
  target = epath.Path(path)
  target.parent.mkdir(parents=True, exist_ok=True)
  if is_remote(path):
    with tempfile.TemporaryDirectory() as folder:
      temporary = os.path.join(folder, target.name)
      yield temporary
      epath.Path(temporary).copy(target, overwrite=True)
    return
  temporary = os.fspath(target.parent / f'.{target.name}.{uuid.uuid4().hex}.tmp')
  try:
    yield temporary
    os.replace(temporary, target)
  except OSError as error:
    # A full disk does not say which disk it is.
    error.filename = error.filename or os.fspath(target)
    raise
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(temporary)


def write_text(path, text):
  """Writes a text file atomically, in utf-8."""
  with atomic_file(path) as name:
    pathlib.Path(name).write_text(text, encoding='utf-8')


@contextlib.contextmanager
def local_copy(path):
  """Yields a local name of a file or a folder of files; remote ones are copied for the block.

  If the path does not exist, neither does the local name.
  """
  if not is_remote(path):
    yield os.fspath(path)
    return
  source = epath.Path(path)
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder) / source.name
    if source.is_dir():
      copy.mkdir()
      for file in source.iterdir():
        if not file.is_dir():
          (copy / file.name).write_bytes(file.read_bytes())
    elif source.exists():
      copy.write_bytes(source.read_bytes())
    yield os.fspath(copy)


def exists(path):
  """Whether a file or folder exists; False for '' and None."""
  return bool(path) and epath.Path(path).exists()


def is_remote(path):
  """Whether a path is an address such as gs://bucket/clip.mp4."""
  return '://' in os.fspath(path)


def path_fault(path):
  """What is wrong with a path before anything is looked for there, or '': its scheme."""
  if not is_remote(path) or os.fspath(path).startswith(SCHEMES):
    return ''
  return f'{os.fspath(path)!r}, which no reader knows; accepted: a local path, {", ".join(SCHEMES)}'


def folder_fault(path):
  """Why nothing can be written to a folder, which need not exist yet, or ''."""
  if not os.fspath(path).strip():
    return "'' (an unset variable?); accepted: a folder, . for this one"
  if is_remote(path):
    return path_fault(path)
  folder = epath.Path(path).expanduser()
  try:
    # Of a folder that does not exist, the nearest above it that does.
    found = next(
      place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )
    why = f'{found} cannot be written' if found.is_dir() else f'{found} is a file'
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in folder.parts):
      why = f'a name of more than {LONGEST_NAME} bytes'
    elif found.is_dir() and os.access(found, os.W_OK | os.X_OK):
      return ''
  except (OSError, ValueError) as error:
    why = str(error)
  return (
    f'{os.fspath(path)!r}, which cannot be made ({why}); accepted: a folder that can be written'
  )


def absolute(folder):
  """A local folder as an absolute path, a remote one unchanged: orbax takes no relative paths."""
  folder = epath.Path(folder).expanduser()
  return folder if is_remote(folder) else folder.resolve()
