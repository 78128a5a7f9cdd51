"""From a benchmark config to checked dataclasses: everything that can be wrong is found here,
before anything runs.
"""

import dataclasses
from typing import NamedTuple

from experiments.requests.edit import read_injections, read_inversion
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline.model import resolve_dtype, with_overrides
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.sprites import scoring
from uniedit_jax.sprites.render import EXTENT
from uniedit_jax.sprites.scenes import Scene


class Request(NamedTuple):
  """A config, checked: the compute dtype and {'motion', 'appearance': `scoring.Task`}."""

  dtype: str
  tasks: dict[str, scoring.Task]


def read_world_model(folder, faults):
  """The `ModelConfig` of a checkpoint of the sprites world, or None; faults are added to `faults`."""
  model_config = None
  if folder and (path := checkpoint.locate(folder) / 'config.json').exists():
    model_config = faults.attempt(ModelConfig.from_json, path.read_text())
  else:
    accepted = f'a folder, or one of: {", ".join(checkpoint.SHIPPED)}'
    faults.append(f'checkpoint is {folder!r}, which is none; accepted: {accepted}')
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


def read_benchmark(config):
  """Checks the config of a benchmark.

  Raises:
    ValueError: lists all faults.
  """
  faults, videos = Faults(), config.text_to_video
  model_config = read_world_model(config.checkpoint, faults)
  for name, accepted in (('split', tuple(scoring.SPLITS)), ('source_prompt', ('null', 'caption'))):
    faults.unless(config[name] in accepted, f'{name} is {config[name]!r}; accepted: {accepted}')
  least = {'text_to_video.clips': (videos.clips, 0), 'text_to_video.batch': (videos.batch, 1)}
  for name, (value, limit) in {
    **least,
    'per_kind': (config.per_kind, 1),
    'seed': (config.seed, 0),
  }.items():
    faults.unless(value >= limit, f'{name} is {value}; accepted: at least {limit}')
  faults.attempt(NoiseSchedule().timesteps, videos.steps, field='text_to_video')
  dtype = faults.attempt(resolve_dtype, config.dtype)
  tasks = {
    name: _read_task(name, config, model_config or ModelConfig(), faults)
    for name in ('motion', 'appearance')
  }
  faults.stop()
  return Request(dtype, tasks)


def _read_task(name, config, model_config, all_faults):
  """The `scoring.Task` of config.motion or config.appearance."""
  given, faults, blocks = config[name], Faults(), model_config.unet.blocks
  faults.unless(given.task == name, f'task is {given.task!r}; accepted: {name!r}')
  schedule = faults.attempt(with_overrides, model_config.schedule, given.schedule.to_dict())
  faults.attempt(model_config.schedule.timesteps, given.steps)
  inversion = read_inversion(given)
  faults += inversion.faults()
  if injections := faults.attempt(read_injections, given, False, blocks):
    settings, captioned = scoring.methods(injections), config.source_prompt == 'caption'
    task = scoring.Task(
      name, settings, given.steps, given.guidance, schedule, inversion, captioned, blocks
    )
    faults.attempt(lambda: task.layout)
  all_faults += [f'{name}.{fault}' for fault in faults]
  return None if faults else task


def resolve_benchmark(config, request):
  """The config as a dict for config.json: all that the results depend on."""
  fields = {
    name: config[name] for name in ('checkpoint', 'seed', 'split', 'per_kind', 'source_prompt')
  }
  dtype, tasks = request
  tasks = {name: dataclasses.asdict(task) for name, task in tasks.items()}
  return {**fields, 'dtype': dtype, 'text_to_video': config.text_to_video.to_dict(), **tasks}
