"""An object store in memory, where gs:// paths lead while it is open."""

import contextlib
import sys
from unittest import mock

from fsspec.implementations.memory import MemoryFileSystem


class Bucket(MemoryFileSystem):
  """Objects by name, as S3 and GCS have them: a folder is what its objects' names begin with, never
  there by itself.
  """

  protocol = 'gcs', 'gs'
  store = {}  # noqa: RUF012 (fsspec's own way: one for all instances)
  pseudo_dirs = []  # noqa: RUF012
  cachable = False

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(str(path).replace('gs://', 'memory://', 1))

  def mkdir(self, path, create_parents=True, **kwargs):
    """Nothing: there are no folders."""

  makedirs = mkdir


@contextlib.contextmanager
def opened():
  """Leads gs:// to an empty `Bucket`; yields it."""
  with mock.patch.dict(sys.modules['fsspec.registry']._registry, gcs=Bucket):
    Bucket.store.clear()
    yield Bucket()
    Bucket.store.clear()
