"""From the config of a benchmark of speed to a checked dataclass."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
from typing import NamedTuple

import jax
import torch

from configs.benchmark import CASES
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.presets import LAVIE
from uniedit_jax.pipeline.check import read_model_config
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.fields import bound_faults


class BenchmarkRequest(NamedTuple):
  """A checked benchmark; other fields are those of configs/benchmark.py.

  Attributes:
    model_config: `ModelConfig`.
    clip: (frames, height, width).
    dtypes: the compute dtypes of ours and of PyTorch.
    null_text: {'steps', 'inner_steps'}.
  """

  checkpoint: str
  model_config: ModelConfig
  clip: tuple[int, int, int]
  dtypes: tuple[str, str]
  cases: tuple[str, ...]
  rows: tuple[int, ...]
  steps: int
  null_text: dict[str, int]
  remat: bool
  compiled: bool
  repeats: int
  curves: bool
  start_up: bool


def read_benchmark(config):
  """Checks a benchmark: `BenchmarkRequest`; raises FaultsError that lists all faults."""
  faults = Faults()
  model_config = read_model_config(config.checkpoint, faults) if config.checkpoint else LAVIE
  dtype = faults.attempt(resolve_dtype, config.dtype)
  peer_dtype = faults.attempt(resolve_dtype, config.peer_dtype or config.dtype, field='peer_dtype')

  # The clip; where the checkpoint cannot be read it is checked as LaVie's.
  defaults = model_config or LAVIE
  faults.unless(
    defaults.unet.temporal == ('block',),
    f'checkpoint is {config.checkpoint!r}, whose UNet has temporal attention in '
    f"{defaults.unet.temporal}; accepted: a model of LaVie's kind, as its PyTorch side",
  )
  clip = {name: value or getattr(defaults, name) for name, value in config.clip.items()}
  factor, longest = defaults.vae.factor, defaults.unet.frame_positions
  for name, unit in (('frames', 1), ('height', factor), ('width', factor)):
    sound = clip[name] > 0 and clip[name] % unit == 0
    faults.unless(sound, f'clip.{name} is {clip[name]}; accepted: a positive multiple of {unit}')
  sound = not 0 < longest < clip['frames']
  faults.unless(sound, f'clip.frames is {clip["frames"]}; accepted: at most {longest}')

  # The work.
  sound = config.cases and set(config.cases) <= set(CASES)
  faults.unless(sound, f'cases is {config.cases}; accepted: some of {CASES}')
  counts = {'steps': config.steps, 'repeats': config.repeats}
  counts |= {f'null_text.{name}': config.null_text[name] for name in ('steps', 'inner_steps')}
  faults += bound_faults(counts, dict.fromkeys(counts, (1, 1000))).values()
  sound = config.rows and all(type(rows) is int and 0 < rows <= 1000 for rows in config.rows)
  faults.unless(sound, f'rows is {config.rows}; accepted: numbers from 1 to 1000')

  # The devices.
  ours, peer = jax.default_backend(), 'gpu' if torch.cuda.is_available() else 'cpu'
  accepted = 'both on a GPU or both on a CPU'
  faults.unless(ours == peer, f'JAX computes on {ours}, PyTorch on {peer}; accepted: {accepted}')
  faults.stop()
  fields = {name: config[name] for name in BenchmarkRequest._fields if name in config}
  fields |= {'clip': (clip['frames'], clip['height'], clip['width'])}
  fields |= {'dtypes': (dtype, peer_dtype), 'null_text': config.null_text.to_dict()}
  return BenchmarkRequest(model_config=model_config, **fields)


def resolve_benchmark(request):
  """The request as a dict for config.json."""
  return request._asdict() | {'model_config': request.model_config.name}


def facts(request):
  """Facts for the head of the tables: the work, the machine, versions and date."""
  versions = [f'{name} {importlib.metadata.version(name)}' for name in ('jax', 'jaxlib', 'torch')]
  on_cpu = jax.default_backend() == 'cpu'
  return {
    'model': request.checkpoint or "random weights of LaVie's size",
    'clip': ' x '.join(map(str, request.clip)),
    'steps': f'{request.steps} steps',
    'dtypes': f'{request.dtypes[0]} (PyTorch: {request.dtypes[1]})',
    'device': _processor() if on_cpu else jax.local_devices()[0].device_kind,
    'versions': ', '.join([*versions, f'Python {platform.python_version()}']),
    'date': datetime.date.today().isoformat(),
  }


def _processor():
  """The number of usable cores and the processor's name."""
  info = pathlib.Path('/proc/cpuinfo')
  lines = info.read_text().splitlines() if info.exists() else []
  names = [line.partition(': ')[2] for line in lines if line.startswith('model name')]
  return f'{len(os.sched_getaffinity(0))} cores of {names[0]}' if names else platform.processor()
