"""From the config of a comparison of masks on the sprites world to a checked dataclass."""

from typing import NamedTuple

import numpy as np

from experiments.requests.sprites import (
  TASKS,
  ScoringRequest,
  read_scoring,
  read_task,
  read_world_model,
  resolve_scoring,
  resolve_task,
)
from uniedit_jax.pipeline.found_masks import MapOptions
from uniedit_jax.pipeline.model import latent_shape
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.sprites import scoring

WORDS = ('object', 'differing')


class MasksRequest(NamedTuple):
  """Edits without masks (`plain`), and the tasks of edits with them by name (`masked`).

  `words` is one of `WORDS`, those whose attention shows the foreground.
  """

  plain: ScoringRequest
  words: str
  masked: dict[str, scoring.ScoringTask]


def read_masks(config):
  """Checks the config: `MasksRequest`; raises FaultsError that lists all faults."""
  plain = read_scoring(config)
  faults, masked = Faults(), {}
  faults.unless(config.words in WORDS, f'words is {config.words!r}; accepted: {WORDS}')
  model_config = read_world_model(config.checkpoint, faults)
  half = np.zeros((model_config.frames, model_config.height, model_config.width), bool)
  half[:, : model_config.height // 2] = True
  for name in TASKS:
    given = {'mask.source': half} | ({'mask.target': half} if name == 'motion' else {})
    task = faults.attempt(read_task, name, config, model_config, given, field=name)
    masked[name] = task and task._replace(methods={'all': task.methods['all']})
    # The given masks stand for those that are found, whose options they do not check.
    mask = config[name].mask
    options = MapOptions(mask.blocks, mask.threshold, mask.smoothing)
    grid = latent_shape(model_config, *half.shape)[1:3]
    faults += [f'{name}: {fault}' for fault in options.faults(model_config.unet.grids(*grid))]
    task = plain.tasks[name]
    plain.tasks[name] = task._replace(methods={'all': task.methods['all']})
  faults.stop()
  return MasksRequest(plain, config.words, masked)


def resolve_masks(request):
  """The request as a dict for config.json."""
  masked = {name: resolve_task(task) for name, task in request.masked.items()}
  return {**resolve_scoring(request.plain), 'words': request.words, 'masked': masked}
