"""Claims of edits: several runs on one workdir share its edits instead of making them twice."""

import contextlib
import json
import os
import socket
import threading
import time

from uniedit_jax.runtime.files import is_gone, is_remote, read_json

EXPIRES = 600  # seconds after which a claim without a sign of life is nobody's
REFRESH = 60  # seconds between signs of life


class Claims:
  """The edits that this run has claimed: a file each, with its host, process and time.

  A claim of a process of this host that is gone counts no more, nor does one that has expired. In a
  bucket, where no file can be created exclusively, two runs may rarely claim the same edit: both
  make it, with the same result.
  """

  def __init__(self, folder):
    """Takes the folder of the claims, an epath.Path."""
    self._folder, self._held, self._lock = folder, set(), threading.Lock()
    self._host, self._ended = socket.gethostname(), threading.Event()

  def __enter__(self):
    """Begins to show signs of life."""
    self._folder.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=self._refresh, daemon=True).start()
    return self

  def __exit__(self, *_):
    """Gives back what is still claimed."""
    self._ended.set()
    for name in list(self._held):
      self.release(name)

  def take(self, name):
    """Claims an edit; returns whether it is ours now."""
    path = self._path(name)
    with self._lock:
      if path.exists():
        if not self._is_stale(path):
          return False
        path.unlink(missing_ok=True)
      if is_remote(path):
        path.write_text(self._text())
      else:
        try:
          with open(path, 'x') as file:
            file.write(self._text())
        except FileExistsError:
          return False
      self._held.add(name)
    return True

  def release(self, name):
    """Gives an edit back."""
    with self._lock:
      self._held.discard(name)
      with contextlib.suppress(OSError):
        self._path(name).unlink(missing_ok=True)

  def _path(self, name):
    return self._folder / f'{name}.json'

  def _text(self):
    return json.dumps({'host': self._host, 'pid': os.getpid(), 'time': time.time()})

  def _is_stale(self, path):
    try:
      claim = read_json(path)
      # Our own process does not claim twice: it is one of an earlier container with its number.
      if claim['host'] == self._host and (claim['pid'] == os.getpid() or is_gone(claim['pid'])):
        return True
      return time.time() - claim['time'] > EXPIRES
    except FileNotFoundError:
      return True
    except (ValueError, KeyError, TypeError):  # being written, or cut by a kill
      return time.time() - path.stat().mtime > EXPIRES

  def _refresh(self):
    while not self._ended.wait(REFRESH):
      with self._lock, contextlib.suppress(OSError):
        for name in self._held:
          self._path(name).write_text(self._text())
