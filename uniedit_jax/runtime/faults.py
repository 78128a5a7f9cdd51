"""Faults of what a person or a file hands in, all reported at once; failures in one line."""

import contextlib
import errno
import pathlib
import shutil

try:
  import resource
except ImportError:  # Windows
  resource = None

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, a file size
LEAST_FREE = 2**16  # bytes of a disk; with less it is full
# The extra of setup.py that installs a package.
EXTRAS = {'gcsfs': 'gcs', 's3fs': 's3', 'torch': 'convert', 'gradio': 'app', 'libtpu': 'tpu'}
MOST = 100  # faults that a message lists
LONGEST = 300  # characters of a value, or of another library's message


class FaultsError(ValueError):
  """The faults for which a run cannot start, or a file cannot be read.

  Attributes:
    faults: list of str, each "field is value; accepted: ...".
  """

  def __init__(self, faults, heading='the run cannot start'):
    lines = [f'  - {fault}' for fault in faults[:MOST]]
    lines += [f'  and {len(faults) - MOST} more'] if len(faults) > MOST else []
    super().__init__(f'{heading}:\n' + '\n'.join(lines))
    self.faults = list(faults)


class Faults(list):
  """Collects faults; `stop` raises them."""

  def attempt(self, function, *args, field='', **kwargs):
    """Calls a function; if it raises, adds its faults behind `field` and returns None.

    Whatever the libraries below raise at a file or a value that they do not expect is a fault of
    this field.
    """
    try:
      return function(*args, **kwargs)
    except Exception as error:
      found = error.faults if isinstance(error, FaultsError) else [line_of(error)]
      self += [f'{field}: {fault}' if field else fault for fault in found]
      return None

  def unless(self, condition, fault):
    """Adds a fault if a condition does not hold."""
    if not condition:
      self.append(fault)

  def stop(self, *heading):
    """Raises `FaultsError`, under a heading, if there are faults."""
    if self:
      raise FaultsError(self, *heading)


def shown(value):
  """A value for a message, cut where it is long."""
  text = repr(value)
  return text if len(text) <= LONGEST else f'{text[:LONGEST]}... ({len(text)} characters)'


def line_of(error):
  """What an error says: our own words as they are, those of libraries as one short line."""
  if isinstance(error, ImportError):
    package = next((name for name in EXTRAS if name in str(error)), None)
    if package:
      return f"{package} is not installed; accepted: pip install -e '.[{EXTRAS[package]}]'"
  if isinstance(error, KeyError) and str(error).endswith("://'"):  # etils, of a scheme
    return f'{error} begins no path that can be read; accepted: a local path, gs://, s3://'
  if isinstance(error, OSError) and error.filename and error.strerror:
    return f'{error.filename}: {error.strerror}'
  if isinstance(error, ValueError | OSError | FloatingPointError) and str(error):
    return str(error)
  if isinstance(error, RecursionError):
    return 'it is nested too deeply'
  text = ' '.join(str(error).split())[:LONGEST]
  if isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in text:
    return (
      f'the memory does not suffice ({text or "MemoryError"}); accepted: fewer frames, a smaller '
      'clip, rows_per_pass, dtype=bfloat16'
    )
  return text if text.startswith('ffmpeg ') else f'{type(error).__name__}: {text}'


@contextlib.contextmanager
def told_in_one_line(command):
  """Ends a command with one line, its name and what is wrong, for whatever a block raises."""
  try:
    yield
  except Exception as error:
    raise SystemExit(f'{command}: {line_of(error)}') from error


def is_full(error, folder):
  """Whether an error means that nothing more can be written to a folder."""
  if getattr(error, 'errno', None) in FULL:
    return True
  # The video encoder is another program, whose errors have no errno, and which is killed without a
  # word where a file gets too large.
  if str(error).startswith('ffmpeg could not write') and _sizes_are_limited():
    return True
  local = pathlib.Path(folder)
  return local.exists() and shutil.disk_usage(local).free < LEAST_FREE


def _sizes_are_limited():
  """Whether this process may write files of some size alone."""
  return resource and resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
