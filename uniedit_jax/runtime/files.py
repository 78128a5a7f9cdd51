"""Files, local or remote (gs://, s3://): atomic writes, and local names for reading."""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
import uuid

from etils import epath

SCHEMES = ('gs://', 's3://')
LONGEST_NAME = 255  # bytes, of nearly all file systems
LFS = b'version https://git-lfs.github.com/spec/'
# Hidden files and those of file managers, which say nothing about the content of a folder.
ASIDE = re.compile(r'\..*|Thumbs\.db|desktop\.ini')
HOST = re.sub(r'\W', '_', socket.gethostname())
UNFINISHED_SECONDS = 86400  # after which what another machine has begun counts as left over
CAN_ASK = os.name != 'nt'  # whether signal 0 asks for a process; on Windows it would end it


@contextlib.contextmanager
def atomic_file(path):
  """Yields a local file name to write to; it becomes `path`, unless the block raises.

  Its content is on the disk before it has the name, so a power cut leaves no empty file.
  """
  target = epath.Path(path)
  target.parent.mkdir(parents=True, exist_ok=True)
  if is_remote(path):
    with tempfile.TemporaryDirectory() as folder:
      temporary = os.path.join(folder, target.name)
      yield temporary
      epath.Path(temporary).copy(target, overwrite=True)
    return
  temporary = os.fspath(target.parent / f'.{unfinished_name(target.name)}.tmp')
  try:
    yield temporary
    sync(temporary)
    os.replace(temporary, target)
    sync(target.parent)
  except OSError as error:
    # A full disk does not say which disk it is.
    error.filename = error.filename or os.fspath(target)
    raise
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(temporary)


def unfinished_name(name):
  """A new name for what will be called `name`, which says who writes it, for `is_left_over`."""
  return f'{name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex}'


def is_left_over(path):
  """Whether the writer of a file or folder of an `unfinished_name` is gone."""
  owner = re.search(r'\.(\w*)-(\d+)-[0-9a-f]{32}\.\w+$', os.fspath(path))
  if not owner:  # of a version whose names did not say
    return True
  if owner[1] != HOST or not CAN_ASK:
    modified = epath.Path(path).stat().mtime
    return bool(modified) and time.time() - modified > UNFINISHED_SECONDS
  return is_gone(int(owner[2]))


def is_gone(process):
  """Whether no process of this host has the number; False where that cannot be asked."""
  if not CAN_ASK:
    return False
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return True
  except OSError:  # it is another user's
    pass
  return False


def sweep(folder, below=False):
  """Removes what killed processes have left of `atomic_file` in a local folder, or `below` it."""
  if not is_remote(folder):
    name = f'.*{"[0-9a-f]" * 32}.tmp'
    for path in pathlib.Path(folder).glob(f'**/{name}' if below else name):
      with contextlib.suppress(FileNotFoundError):  # another process sweeps too
        if is_left_over(path):
          path.unlink()


def remove(path):
  """Removes a file, or a folder with all that is in it, if it exists."""
  path = epath.Path(path)
  if path.is_dir():
    path.rmtree()
  else:
    path.unlink(missing_ok=True)


def sync(path):
  """Waits until a local file or the entries of a folder are on the disk."""
  try:
    file = os.open(path, os.O_RDONLY)
    try:
      os.fsync(file)
    finally:
      os.close(file)
  except OSError as error:  # some file systems cannot; a failed write is one all the same
    if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EISDIR, errno.EACCES):
      raise


def files_below(path):
  """The files of a folder and of those in it, sorted; of a file, itself."""
  path = epath.Path(path)
  if not path.is_dir():
    return [path]
  children = sorted(child for child in path.iterdir() if not ASIDE.fullmatch(child.name))
  return [file for child in children for file in files_below(child)]


def refuse_pointer(path):
  """Raises ValueError for the pointer that Git leaves in place of a file kept by Git LFS."""
  with epath.Path(path).open('rb') as file:
    if file.read(len(LFS)) == LFS:
      fault = f'{path} is a Git LFS pointer, not the file; accepted: the file itself, which'
      raise ValueError(f'{fault} `git lfs pull` or `hf download` fetches')


def read_text(path):
  """A text file in utf-8, with or without a byte order mark.

  Raises:
    OSError: there is no such file.
    ValueError: it is in another encoding, or a Git LFS pointer.
  """
  refuse_pointer(path)
  return _decoded(path)


def read_json(path, kind=dict):
  """What a JSON file in utf-8, with or without a byte order mark, holds.

  Raises:
    OSError: there is no such file.
    ValueError: it is no JSON, or holds something else than a `kind`.
  """
  refuse_pointer(path)
  try:
    content = json.loads(_decoded(path))
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path} is no JSON ({error}); accepted: a whole file of JSON') from error
  if not isinstance(content, kind):
    raise ValueError(f'{path} holds {str(content)[:80]}; accepted: a JSON {kind.__name__}')
  return content


def _decoded(path):
  with epath.Path(path).open('rb') as file:
    return file.read().decode('utf-8-sig')


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


def need_room(folder, size):
  """Raises OSError if the disk of a folder that exists has no room for arrays of `size` bytes.

  Orbax, which writes many files at once, would end with pages about them, and takes some more.
  """
  needed = 1.25 * size
  if not is_remote(folder) and (free := shutil.disk_usage(folder).free) < needed:
    room = f'{needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} are free'
    raise OSError(errno.ENOSPC, room, os.fspath(folder))


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
