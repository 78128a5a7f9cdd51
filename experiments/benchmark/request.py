"""From the config of a benchmark to what it measures, checked before anything is loaded."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
from typing import NamedTuple

import jax
import torch

from configs.benchmark import CASES
from experiments.requests.edit import read_model
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime.faults import Faults


class Request(NamedTuple):
  """A benchmark, checked.

  Attributes:
    model_config: `ModelConfig`.
    clip: (frames, height, width).
    dtypes: the compute dtypes of ours and of PyTorch.
  """

  model_config: ModelConfig
  clip: tuple[int, int, int]
  dtypes: tuple[str, str]


def read_speed(config):
  """Checks a benchmark.

  Raises:
    ValueError: lists all faults.
  """
  faults = Faults()
  model_config = read_model(config, faults)[0] if config.checkpoint else ModelConfig()
  dtype = faults.attempt(resolve_dtype, config.dtype)
  peer_dtype = faults.attempt(resolve_dtype, config.peer_dtype or config.dtype, field='peer_dtype')
  clip = {
    name: value or getattr(model_config or ModelConfig(), name)
    for name, value in config.clip.items()
  }
  factor, longest = (
    (model_config.vae.factor, model_config.unet.frame_positions) if model_config else (8, 0)
  )
  for name, unit in (('frames', 1), ('height', factor), ('width', factor)):
    sound = clip[name] > 0 and clip[name] % unit == 0
    faults.unless(sound, f'clip.{name} is {clip[name]}; accepted: a positive multiple of {unit}')
  faults.unless(
    not 0 < longest < clip['frames'],
    f'clip.frames is {clip["frames"]}; accepted: at most {longest}',
  )
  faults.unless(
    config.cases and set(config.cases) <= set(CASES),
    f'cases is {config.cases}; accepted: some of {CASES}',
  )
  for name in ('steps', 'repeats', 'null_text.steps', 'null_text.inner_steps'):
    value = (
      config.get_ref(name).get() if '.' not in name else config.null_text[name.partition('.')[2]]
    )
    faults.unless(0 < value <= 1000, f'{name} is {value}; accepted: 1 to 1000')
  faults.unless(
    config.rows and min(config.rows) > 0, f'rows is {config.rows}; accepted: positive numbers'
  )
  ours, peer = jax.default_backend(), 'gpu' if torch.cuda.is_available() else 'cpu'
  faults.unless(
    ours == peer,
    f'JAX computes on {ours}, PyTorch on {peer}; accepted: both on a GPU or both on a CPU',
  )
  faults.stop()
  return Request(
    model_config, tuple(clip[name] for name in ('frames', 'height', 'width')), (dtype, peer_dtype)
  )


def resolve_speed(config, request):
  """The config as a dict for config.json."""
  return {**config.to_dict(), 'clip': request.clip, 'dtypes': request.dtypes}


def facts(config, request):
  """What stands above the tables: the work, the machine, versions and date."""
  versions = [f'{name} {importlib.metadata.version(name)}' for name in ('jax', 'jaxlib', 'torch')]
  return {
    'model': config.checkpoint or "random weights of LaVie's size",
    'clip': ' x '.join(map(str, request.clip)),
    'steps': f'{config.steps} steps',
    'dtypes': f'{request.dtypes[0]} (PyTorch: {request.dtypes[1]})',
    'device': _processor()
    if jax.default_backend() == 'cpu'
    else jax.local_devices()[0].device_kind,
    'versions': ', '.join([*versions, f'Python {platform.python_version()}']),
    'date': datetime.date.today().isoformat(),
  }


def _processor():
  info = pathlib.Path('/proc/cpuinfo')
  lines = info.read_text().splitlines() if info.exists() else []
  names = [line.partition(': ')[2] for line in lines if line.startswith('model name')]
  return f'{len(os.sched_getaffinity(0))} cores of {names[0]}' if names else platform.processor()
