"""From the configs of scoring on the sprites world to checked dataclasses."""

import dataclasses
from typing import NamedTuple

from experiments.requests.edit import request_of
from uniedit_jax.pipeline import values
from uniedit_jax.pipeline.check import read_model_config
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime import checkpoint, fields
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import EXTENT, render
from uniedit_jax.sprites.scenes import Scene, draw_edits

TASKS = ('motion', 'appearance')
BOUNDS = {
  'split': tuple(scoring.SPLITS),
  'source_prompt': ('caption', 'null'),
  'seed': values.BOUNDS['seed'],
  'per_kind': (1, 10**4),
  'text_to_video.clips': (0, 10**5),
  'text_to_video.batch': (1, 1000),
  'text_to_video.steps': (1, 999),
  'text_to_video.guidance': (-100, 100),
}


class ScoringRequest(NamedTuple):
  """A set of edits of the world that are made and judged.

  Attributes:
    checkpoint, dtype, cache, seed: as in configs/common.py.
    split: a key of `scoring.SPLITS`.
    per_kind: edits of each kind.
    tasks: {'motion', 'appearance': `ScoringTask`}.
    text_to_video: `scoring.TextToVideo`.
  """

  checkpoint: str
  dtype: str
  cache: str
  seed: int
  split: str
  per_kind: int
  tasks: dict[str, scoring.ScoringTask]
  text_to_video: scoring.TextToVideo


def read_world_model(folder, faults):
  """The `ModelConfig` of a checkpoint of the sprites world, or None; adds to `faults`."""
  model_config = read_model_config(folder, faults)
  if model_config:
    if tokenizer := faults.attempt(checkpoint.read_tokenizer, folder, model_config):
      faults.attempt(tokenizer.encode, [Scene().caption], field='checkpoint')
    size = model_config.height, model_config.width
    fits = size[0] == size[1] and size[0] % EXTENT == 0
    faults.unless(
      fits,
      f'checkpoint makes clips of {size} pixels; accepted: square ones, a multiple of {EXTENT}',
    )
  return model_config


def read_scoring(config):
  """Checks the config of a scoring: `ScoringRequest`.

  Raises:
    FaultsError: lists all faults.
  """
  faults, videos = Faults(), config.text_to_video
  model_config = read_world_model(config.checkpoint, faults)
  faults += fields.bound_faults(fields.flatten(config.to_dict()), BOUNDS).values()
  dtype = faults.attempt(resolve_dtype, config.dtype)
  tasks = {}
  for name in TASKS if not faults else ():
    tasks[name] = faults.attempt(read_task, name, config, model_config, field=name)
  faults.stop()
  return ScoringRequest(
    checkpoint=config.checkpoint,
    dtype=dtype,
    cache=config.cache,
    seed=config.seed,
    split=config.split,
    per_kind=config.per_kind,
    tasks=tasks,
    text_to_video=scoring.TextToVideo(**videos.to_dict()),
  )


def read_task(name, config, model_config, changes=()):
  """The `ScoringTask` of config.motion or config.appearance, checked on a sample edit.

  Args:
    name: 'motion' or 'appearance'.
    config: ConfigDict of a scoring.
    model_config: `ModelConfig`.
    changes: as in `ScoringTask.check`.

  Raises:
    FaultsError: lists all faults.
  """
  given, faults = request_of(config[name]), Faults()
  faults.unless(given.task == name, f'task is {given.task!r}; accepted: {name!r}')
  faults.stop()
  run = {field: config[field] for field in ('checkpoint', 'dtype', 'seed', 'cache')}
  own = {'outputs.motion_reference': False, 'outputs.plain': False}
  own |= {'outputs.reconstruction': True, 'image': ''}
  request = given.replace({**run, **own, 'generated': False})
  task = scoring.ScoringTask(request, config.source_prompt == 'caption')
  # One edit stands for all: they differ in prompts and pixels only.
  edits = draw_edits(scoring.SPLITS['validation'], 1)
  edit = next(one for one in edits if scoring.task_of(one.kind) == name)
  frames = render(edit.source, model_config.height, model_config.frames).frames
  (injections,) = task.check(edit, frames, changes).settings
  task = task._replace(methods=scoring.methods_of(injections))
  return task._replace(phases=task.check(edit, frames, changes).plan.phases)


def resolve_scoring(scoring_request):
  """The request as a dict for config.json: all that the results depend on."""
  tree = scoring_request._asdict()
  tree['text_to_video'] = scoring_request.text_to_video._asdict()
  tree['tasks'] = {name: resolve_task(task) for name, task in scoring_request.tasks.items()}
  return {name: value for name, value in tree.items() if name != 'cache'}


def resolve_task(task):
  """A `ScoringTask` as a dict."""
  methods = {name: dataclasses.asdict(injections) for name, injections in task.methods.items()}
  request = {name: value for name, value in task.request.as_tree().items() if name != 'cache'}
  return {'request': request, 'methods': methods, 'captioned': task.captioned}
