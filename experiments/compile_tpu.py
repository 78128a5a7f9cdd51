"""Compiles the step of a batch of edits for TPUs, on a machine that has none.

  python -m experiments.compile_tpu --topology=v5e:4x4
  python -m experiments.compile_tpu --topology=v5e:1x1,v5p:2x2x1 --config=configs/batch.py --config.rows_per_pass=3

Needs `pip install -e '.[tpu]'`. The model is the checkpoint's, or LaVie's where the config names
none; no weights are read. What is compiled is the largest step of the config's edit, one edit a
chip (`per_device`), for every chip of the topology. The table has the bytes that each chip holds,
the collectives of the program, the operations of the step, the least seconds that it can take
(`cost.roofline`), and the edits an hour of all chips if nothing took longer. The exit status is 1
where the step does not fit a chip.
"""

import os
import sys
import time

# Before jax is imported: there is no TPU to be found here, and libtpu would ask the network for
# one.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['TPU_SKIP_MDS_QUERY'] = '1'
os.environ['TPU_WORKER_HOSTNAMES'] = 'localhost'
os.environ['TPU_ACCELERATOR_TYPE'] = 'v5litepod-1'

import jax
from absl import app, flags
from ml_collections import config_flags

from experiments.requests.edit import read_injections, read_inversion, read_model
from uniedit_jax.method.plan import plan_edit
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.runtime import cost, sharding, tpu
from uniedit_jax.runtime.faults import Faults

_CONFIG = config_flags.DEFINE_config_file('config', 'configs/batch.py', lock_config=True)
_TOPOLOGY = flags.DEFINE_list(
  'topology', None, 'Kind and chips, as v5e:4x4; several with commas.', required=True
)


def read(config):
  """The `ModelConfig`, clip, dtype, `EditPlan`, and rows that an edit computes, its inversion
  included.

  Raises:
    ValueError: lists all faults.
  """
  faults = Faults()
  model_config = read_model(config, faults)[0] if config.checkpoint else ModelConfig()
  faults.stop()
  clip = [
    config.clip[name] or getattr(model_config, name) for name in ('frames', 'height', 'width')
  ]
  dtype = 'bfloat16' if config.dtype == 'auto' else resolve_dtype(config.dtype)
  blocks, captioned, inversion = (
    model_config.unet.blocks,
    int(config.source_prompt != ''),
    read_inversion(config),
  )
  layout = plan_edit(
    *(config.task, [read_injections(config, False, blocks)], config.steps),
    source=captioned,
    targets=[1 + captioned],
    wanted=['main', *(['reconstruction'] if config.outputs.reconstruction else [])],
    stored=inversion.stored(config.steps),
    blocks=blocks,
    rows_per_pass=config.rows_per_pass,
    exact_savings=config.plan == 'exact',
  )
  free = (1 + captioned) * config.steps if inversion.method == 'direct' else 0
  return model_config, clip, dtype, layout, config.steps + free + sum(layout.plan.rows)


def compile_step(topology, config, model_config, clip, dtype, layout, rows):
  """Compiles the largest step for a topology.

  Returns:
    dict of what is told of it.

  Raises:
    ValueError: it does not fit a chip.
  """
  chip, mesh = tpu.chip_of(topology), sharding.data_mesh(tpu.devices_of(topology))
  passes = [[len(rows.branch) for rows in step.passes] for step in layout.plan.steps]
  index = max(range(config.steps), key=lambda i: (max(passes[i]), sum(passes[i])))
  began = time.monotonic()
  lowered = ahead_of_time.lower_step(
    model_config, layout, index, clip, mesh, dtype, config.per_device
  )
  try:
    facts = ahead_of_time.facts(lowered.compile())
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise ValueError(_too_large(topology, str(error).splitlines()[0])) from error
  if facts['memory'] > chip.memory:
    raise ValueError(
      _too_large(topology, f'it needs {facts["memory"] / 1e9:.2f} GB of {chip.memory / 1e9:.0f}')
    )
  seconds, count = time.monotonic() - began, sum(passes[index])
  found = ahead_of_time.products_of_rows(model_config, clip, count, dtype)
  least = cost.roofline(found, chip.peak, chip.bandwidth)
  return {
    'topology': topology,
    'chips': mesh.size,
    'rows': '+'.join(map(str, passes[index])),
    'GB a chip': f'{facts["memory"] / 1e9:.2f}',
    'of': f'{chip.memory / 1e9:.0f}',
    'collectives': sum(facts['collectives'].values()),
    'compile s': f'{seconds:.0f}',
    'TFLOP': f'{cost.flops(found) * config.per_device / 1e12:.3g}',
    'least s': f'{least * config.per_device:.2g}',
    'rows an edit': rows,
    'edits/h at most': f'{mesh.size * 3600 / (rows * least / count):.3g}',
  }


def _too_large(topology, why):
  return f'the step does not fit a chip of {topology}: {why}; accepted: fewer rows_per_pass, frames or edits per_device'


def main(_):
  """Compiles for every topology and prints a table of Markdown."""
  config = _CONFIG.value
  try:
    request = read(config)
    for topology in _TOPOLOGY.value:
      tpu.devices_of(topology)  # none is compiled for before all are known
    for number, topology in enumerate(_TOPOLOGY.value):
      told = compile_step(topology, config, *request)
      if not number:
        print(f'| {" | ".join(told)} |\n|{"---|" * len(told)}')
      print(f'| {" | ".join(map(str, told.values()))} |', flush=True)
  except ValueError as error:
    sys.exit(f'{error}')


if __name__ == '__main__':
  app.run(main)
