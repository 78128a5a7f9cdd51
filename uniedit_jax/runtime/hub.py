"""Folders and files on the Hugging Face hub, and their copies in the hub's local cache.

A hub id is owner/repo[/path/in/repo][@revision]. A name whose first part exists as a local folder
is a local path; hf:// in front of it makes it a hub id all the same. Downloads are those of
huggingface_hub: they go on where they stopped, and follow HF_HOME, HF_TOKEN, HF_ENDPOINT and
HF_HUB_OFFLINE.
"""

import contextlib
import errno
import functools
import os
import re
from typing import NamedTuple

from etils import epath

from uniedit_jax.runtime import files
from uniedit_jax.runtime.faults import FULL

SCHEME = 'hf://'
ACCEPTED = 'owner/repo[/path/in/repo][@revision]'
_PART = r'[A-Za-z0-9_][\w.-]{0,95}'
_ID = re.compile(rf'({_PART}/{_PART})((?:/[^/@\0]+)*)/?(?:@([\w.-][\w./-]*))?', re.ASCII)
_CACHED = re.compile(r'/models--([^/]+?)--([^/]+)/snapshots/([^/]+)/(.+)$')
_OF_THE_DISK = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_SHOWN = 10  # names in a message


class HubId(NamedTuple):
  """A place on the hub.

  Attributes:
    repo: 'owner/name'.
    path: of a folder or file in it, '' for all of it.
    revision: branch, tag or commit; None: the newest of the main branch.
  """

  repo: str
  path: str = ''
  revision: str | None = None

  def __str__(self):
    path = f'{self.repo}/{self.path}' if self.path else self.repo
    return f'{path}@{self.revision}' if self.revision else path


def hub_id(name):
  """The `HubId` that a path or text means, or None where it means something else.

  Raises:
    ValueError: it begins with hf:// and is no id.
  """
  text = os.fspath(name)
  is_explicit = text.startswith(SCHEME)
  if not is_explicit and (files.is_remote(text) or text.startswith(('/', '.', '~'))):
    return None
  found = _ID.fullmatch(text.removeprefix(SCHEME))
  climbs = found and ({'.', '..'} & {*found[2].split('/')} or '..' in (found[3] or ''))
  # A mistyped name inside of a folder that exists is not looked for elsewhere.
  is_local = not is_explicit and epath.Path(text.partition('/')[0]).exists()
  if found and not climbs and not is_local:
    return HubId(found[1], found[2].strip('/'), found[3])
  if is_explicit:
    raise ValueError(f'{text!r} is no hub id; accepted: {SCHEME}{ACCEPTED}')
  return None


def place(name):
  """Where a name is: a `HubId`, or the `epath.Path` of a local folder or file or of an address."""
  return hub_id(name) or epath.Path(name).expanduser()


def names(where, folders=('',)):
  """Names of the files in some folders of a `place`, relative to it and sorted.

  Without network they are those that the cache holds.

  Args:
    where: of `place`.
    folders: names, '' for its own; None for all, on the hub alone.

  Raises:
    ValueError: there is no such repository, or it cannot be read, in one line.
  """
  if isinstance(where, HubId):
    found = [
      name.removeprefix(f'{where.path}/')
      for name in _all_names(where.repo, where.revision)
      if not where.path or name.startswith(f'{where.path}/')
    ]
    return sorted(n for n in found if folders is None or n.rpartition('/')[0] in folders)
  inside = [(folder, where / folder) for folder in folders if (where / folder).is_dir()]
  return sorted(
    f'{folder}/{child.name}'.lstrip('/')
    for folder, at in inside
    for child in at.iterdir()
    if not child.is_dir()
  )


def fetch(where, wanted):
  """The local `epath.Path` of a `place`, after the wanted files are downloaded if it is on the hub.

  Args:
    where: of `place`, a folder.
    wanted: names of files, relative to it.

  Raises:
    ValueError: the hub cannot be reached or refuses, or a file is missing there, in one line.
    OSError: the cache cannot be written.
  """
  return _fetch(where, tuple(sorted(wanted))) if isinstance(where, HubId) else where


def split(where):
  """(the `place` of its folder, its name) of a `place` that is a file."""
  if not isinstance(where, HubId):
    return where.parent, where.name
  folder, _, name = where.path.rpartition('/')
  return where._replace(path=folder), name


def fetch_file(where):
  """The local `epath.Path` of a `place` that is a file; raises as `fetch`."""
  if not isinstance(where, HubId):
    return where
  folder, name = split(where)
  return fetch(folder, [name]) / name


def origin(path):
  """Where a file is from: its hub id, with the commit, if it lies in the hub's cache; its path."""
  found = _CACHED.search(os.fspath(path).replace(os.sep, '/'))
  return f'{SCHEME}{found[1]}/{found[2]}/{found[4]}@{found[3]}' if found else os.fspath(path)


def some(found):
  """A few of the names, in words."""
  more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
  return (', '.join(found[:_SHOWN]) + more) or 'nothing'


@functools.lru_cache(maxsize=32)
def _all_names(repo, revision):
  """Names of all files of a repository at a revision; asked for once."""
  from huggingface_hub import HfApi, errors, snapshot_download

  with _in_one_line(HubId(repo, revision=revision)):
    try:
      info = HfApi().repo_info(repo, revision=revision)
      return tuple(file.rfilename for file in info.siblings)
    except errors.RevisionNotFoundError:
      raise
    except Exception:
      # What was downloaded before does without the hub.
      with contextlib.suppress(errors.LocalEntryNotFoundError):
        folder = snapshot_download(
          repo, revision=revision, local_files_only=True, allow_patterns=[]
        )
        if cached := files.files_below(folder):
          return tuple(path.relative_to(folder).as_posix() for path in cached)
      raise


@functools.lru_cache(maxsize=64)
def _fetch(where, wanted):
  from huggingface_hub import snapshot_download

  prefix = f'{where.path}/' if where.path else ''
  # The library takes patterns; a name may hold what means something in one.
  patterns = [re.sub(r'([*?[])', r'[\1]', prefix + name) for name in wanted]
  with _in_one_line(where):
    snapshot = snapshot_download(where.repo, revision=where.revision, allow_patterns=patterns)
  folder = epath.Path(snapshot) / where.path
  if missing := [name for name in wanted if not (folder / name).exists()]:
    others = [name for name in _all_names(where.repo, where.revision) if name.startswith(prefix)]
    lacks = f'{where} has no {some(missing)}; it has {some(others)}'
    raise ValueError(f'{lacks}; accepted: {ACCEPTED} of what is there')
  return folder


@contextlib.contextmanager
def _in_one_line(where):
  """Raises ValueError, in one line, for what huggingface_hub raises in a block."""
  try:
    yield
  except Exception as error:
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
      raise
    raise ValueError(_fault(where, error)) from error


def _fault(where, error):
  from huggingface_hub import constants, errors

  # The library hides the reason behind the words that nothing was found in the cache.
  chain = [error]
  while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
    chain.append(inner)
  raised = lambda kind: next((one for one in chain if isinstance(one, kind)), None)
  hub, repo = constants.ENDPOINT, where.repo
  if raised(errors.GatedRepoError):
    return (
      f'{where} is gated: {hub} gives it to those who accepted its terms; accepted: to do so at '
      f'{hub}/{repo}, and a token of that account in HF_TOKEN'
    )
  if raised(errors.RevisionNotFoundError):
    return (
      f'{repo} has no revision {where.revision!r}; accepted: a branch, tag or commit, at the end: '
      f'{ACCEPTED}'
    )
  if raised(errors.RepositoryNotFoundError):
    return (
      f'{where} is neither here nor on the hub: {hub} has no repository {repo}, or none for you; '
      f'accepted: {ACCEPTED} of one that exists, a token in HF_TOKEN for a private one, or a local '
      'path'
    )
  if constants.HF_HUB_OFFLINE or raised(errors.OfflineModeIsEnabled):
    return (
      f'{where} is neither here nor whole in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; '
      'accepted: what was downloaded before, HF_HUB_OFFLINE=0, or a local path'
    )
  if (refused := raised(errors.HfHubHTTPError)) and (code := refused.response.status_code) < 500:
    token = ' (is the token in HF_TOKEN valid?)' if code in (401, 403) else ''
    return f'{where}: {hub} refuses with status {code}{token}; accepted: {ACCEPTED}'
  reason = ' '.join(str(chain[-1]).split())[:200]
  return (
    f'{where} is not here, and {hub} cannot be reached ({type(chain[-1]).__name__}: {reason}); '
    'accepted: a network (the same command goes on where it stopped), what was downloaded before, '
    'or a local path'
  )
