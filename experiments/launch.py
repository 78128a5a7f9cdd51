"""Runs commands: flags, failures told in one line, orderly stops, and DONE at the end."""

import contextlib
import gc
import importlib.util
import os
import pathlib
import re
import signal
import sys
import threading
import traceback

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from uniedit_jax.pipeline.sources import fingerprints
from uniedit_jax.runtime import fields
from uniedit_jax.runtime.faults import Faults, is_full, line_of
from uniedit_jax.runtime.files import folder_fault, is_remote
from uniedit_jax.runtime.workdir import begin, mark_done

ERROR_FILE = 'error.txt'
GOES_ON = 'the same command goes on'
OVERRIDE = re.compile(r'--?config\.([^=]+)')


class Stopped(KeyboardInterrupt):
  """SIGTERM, as Slurm and preempted machines send it."""


def define_flags():
  """Defines --config and --workdir, both required."""
  config = config_flags.DEFINE_config_file('config', lock_config=True)
  flags.mark_flag_as_required('config')
  return config, flags.DEFINE_string(
    'workdir', None, 'Folder for all that the run leaves behind.', required=True
  )


def launch(
  read, run, results, resolve=lambda edit: edit.as_tree(), finished=None, clears=True, tell=None
):
  """Defines --config and --workdir, and runs unless the folder holds this very run already.

  Args:
    read: config -> request; raises ValueError with all faults.
    run: (request, workdir) -> anything.
    results: names of the files in the workdir that the user is pointed to.
    resolve: request -> dict for config.json, all that the results depend on.
    finished: (request, workdir) -> what is finished, such as '2 of 5 settings'; None: the run has
      no parts.
    clears: as in `workdir.begin`.
    tell: workdir -> lines of text before the results: what the run came to, and what to try next.
  """
  config_flag, workdir_flag = define_flags()

  def main(_):
    gc.freeze()  # what is imported stays: collections during tracing need not walk it
    with in_one_line():
      workdir = workdir_of(workdir_flag)
      request = read(config_flag.value)
      config = resolve(request)
      unfinished = begin(workdir, config, fingerprints(config), clears)
    if unfinished:
      with in_one_line(workdir, lambda: finished(request, workdir) if finished else '0 of 1'):
        run(request, workdir)
        mark_done(workdir)
    else:
      print(nothing_done(workdir))
    print('\n'.join([*(tell(workdir) if tell else ()), *places(workdir, results)]))

  start(main)


def nothing_done(workdir):
  """What a command says whose folder holds all that it would make."""
  again = 'to make it again, remove the folder or name another with --workdir'
  return f'{workdir} holds this very run, finished, so nothing was done; {again}'


def places(workdir, names):
  """Where files of a folder are: pages as addresses that a click opens, others as paths."""
  paths = [workdir / name for name in names]
  is_page = lambda path: path.suffix == '.html' and not is_remote(path)
  return [pathlib.Path(path).absolute().as_uri() if is_page(path) else str(path) for path in paths]


def workdir_of(flag):
  """The folder of the flag --workdir; raises ValueError if it cannot be one."""
  if fault := folder_fault(flag.value):
    raise ValueError(f'workdir is {fault}')
  return epath.Path(flag.value).expanduser()


def start(main):
  """Runs `main(arguments)` with the flags parsed; a wrong flag, and SIGTERM, end in one line."""

  def stop(*_):
    raise Stopped

  def quiet(arguments):
    logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, stop)
    return main(arguments)

  app.run(quiet, flags_parser=_parse)


@contextlib.contextmanager
def in_one_line(workdir=None, finished=lambda: ''):
  """Ends the command with one line for whatever a block raises.

  Args:
    workdir: epath.Path of the folder where error.txt gets the traceback; None: nothing has begun.
    finished: () -> what is finished, such as '2 of 5 edits'.
  """
  try:
    yield
    if workdir:
      (workdir / ERROR_FILE).unlink(missing_ok=True)
  except KeyboardInterrupt as stopped:
    number = signal.SIGTERM if isinstance(stopped, Stopped) else signal.SIGINT
    done = finished() if workdir else ''
    _end(f'stopped: {done} finished; {GOES_ON}' if done else 'stopped', 128 + number)
  except Exception as error:
    text = line_of(error)
    if workdir:
      if is_full(error, workdir):
        text += f'; the disk is full, or files are limited in size: with room, {GOES_ON}'
      with contextlib.suppress(OSError):
        (workdir / ERROR_FILE).write_text(traceback.format_exc())
        text += f' (traceback: {workdir / ERROR_FILE})'
    _end(text, 1)


def _end(text, status):
  """Prints a line and ends, without waiting for a program that a thread still compiles."""
  print(text, file=sys.stderr, flush=True)
  sys.stdout.flush()
  others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
  if not all(thread.daemon for thread in others):
    os._exit(status)
  sys.exit(status)


def _parse(arguments):
  """Parses the flags; returns the other arguments."""
  path = _config_path(arguments)
  try:
    others = flags.FLAGS(arguments)
    if 'config' in flags.FLAGS:
      hasattr(flags.FLAGS.config, 'lock')  # a file that could not be read raises when it is used
    return others
  except AttributeError as error:
    with in_one_line():
      _end('; '.join(_unknown_fields(path, arguments)) or line_of(error), 1)
  except flags.Error as error:
    # The words of a config that raises, around which two libraries put a traceback.
    around = error
    while around and 'Traceback' in str(around):
      around = around.__context__
    _end(line_of(around or error) if around is not error else str(error), 1)
  except OSError as error:
    is_there = path and pathlib.Path(path.partition(':')[0]).is_file()
    accepted = 'accepted: a file of configs/, with its form behind a colon'
    _end(line_of(error.__cause__) if is_there else f'config is {path!r}; {accepted}', 1)
  except Exception as error:
    _end(f'{path}: {line_of(error)}', 1)


def _config_path(arguments):
  """The value of the flag --config, a path and perhaps a form, or ''."""
  for given, following in zip(arguments, [*arguments[1:], ''], strict=True):
    name, is_joined, value = given.partition('=')
    if name in ('--config', '-config'):
      return value if is_joined else following
  return ''


def _unknown_fields(path, arguments):
  """The flags --config.<field> whose config has no such field: `Faults` with the nearest."""
  file, *form = path.split(':', 1)
  spec = importlib.util.spec_from_file_location('given_config', file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  known = fields.flatten(module.get_config(*form).to_dict())
  sections = {name.rpartition('.')[0] for name in known}
  faults = Faults()
  for name in (found[1] for found in map(OVERRIDE.match, arguments) if found):
    faults.unless(
      name in known or name in sections,
      f'config.{name} is no field of {path}{fields.nearest(name, known)}',
    )
  return faults
