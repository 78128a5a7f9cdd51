"""What every field of an `EditRequest` may hold, whatever the others are."""

import operator
import os

from uniedit_jax.pipeline.request import is_array
from uniedit_jax.runtime import fields, files, hub

# Fields that hold the path of something to read, if they hold a text; media may have an address.
MEDIA = ('video', 'image', 'mask.source', 'mask.target')
PATHS = (*MEDIA, 'metrics.clip')
# The lowest and highest value of a number, or all values of a name; what depends on other fields is
# checked with them.
BOUNDS = {
  'seed': (0, 2**32 - 1),  # 32 bits are used
  'clip.frames': (1, 10_000),
  'clip.height': (1, 16_384),
  'clip.width': (1, 16_384),
  'clip.start': (0, 10**9),
  'clip.stride': (1, 10**6),
  'clip.fit': ('stretch', 'crop'),
  'window.frames': (1, 10_000),
  'window.overlap': (0, 10_000),
  'guidance': (-100, 100),
  'task': ('motion', 'appearance'),
  'plan': ('exact', 'naive'),
  'rows_per_pass': (1, 10**6),
  'inversion.guidance': (0, 100),
  'inversion.inner_steps': (1, 1000),
  'inversion.epsilon': (0, 1),
  'mask.smoothing': (0, 100),
  'schedule.beta_schedule': ('linear', 'scaled_linear'),
}


def check_values(request, faults):
  """Checks what every field says alone: the request with values that may be counted on.

  Raises:
    FaultsError: values of another type, paths and folders that cannot be.
  """
  faults += fields.type_faults(request)
  faults.stop()
  request = fields.bounded(request, BOUNDS, faults)
  changes = {}
  for name in PATHS:
    path = operator.attrgetter(name)(request)
    if not is_array(path):
      wrong = '' if name in MEDIA else _checkpoint_fault(path)
      faults.unless(not wrong, f'{name} is {wrong}')
      changes[name] = os.path.expanduser(path)
  wrong = files.folder_fault(request.cache)
  faults.unless(not wrong, f'cache is {wrong}')
  if wrong or _checkpoint_fault(request.metrics.clip or ''):
    faults.stop()
  return request.replace(changes)


def _checkpoint_fault(path):
  return '' if os.fspath(path).startswith(hub.SCHEME) else files.path_fault(path)
