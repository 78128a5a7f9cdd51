r"""Compiles the step of a batch of edits for TPUs, on a machine that has none.

  python -m experiments.compile_tpu --topology=v5e:4x4
  python -m experiments.compile_tpu --topology=v5e:1x1,v5p:2x2x1 \
    --config=configs/batch.py --config.rows_per_pass=3

Needs `pip install -e '.[tpu]'`. The model is the checkpoint's, or `--model` (LaVie) if the config
names no checkpoint; no weights are read. The command compiles the largest step of the config's
edit, for all chips of the topology with `per_device` edits on each. The table has the memory that
each chip uses, the collectives of the program, the operations of the step, the least seconds that
it can take (`cost.roofline`), and the edits an hour of all chips at that speed. The exit status is
1 if the step does not fit a chip.
"""

import os
import time
from typing import NamedTuple

# Set before jax is imported: this machine has no TPU, and libtpu would ask the network for one.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['TPU_SKIP_MDS_QUERY'] = '1'
os.environ['TPU_WORKER_HOSTNAMES'] = 'localhost'
os.environ['TPU_ACCELERATOR_TYPE'] = 'v5litepod-1'

import jax
from absl import app, flags
from ml_collections import config_flags

from experiments.launch import in_one_line
from experiments.requests.batch import OWN
from experiments.requests.edit import request_of
from uniedit_jax.method.plan import BranchInputs, EditPlan, plan_edit
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.presets import MODELS
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.pipeline.check import read_model_config
from uniedit_jax.pipeline.checked_edit import resolve_injections, resolve_inversion
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.reports import tables
from uniedit_jax.runtime import cost, sharding, tpu
from uniedit_jax.runtime.faults import Faults

_CONFIG = config_flags.DEFINE_config_file('config', 'configs/batch.py', lock_config=True)
_TOPOLOGY = flags.DEFINE_list(
  'topology', None, 'Kind and chips, as v5e:4x4; several with commas.', required=True
)
_MODEL = flags.DEFINE_enum('model', 'lavie', list(MODELS), 'Sizes, if there is no checkpoint.')


class TpuRequest(NamedTuple):
  """A checked config; `clip` is (frames, height, width) in pixels.

  `per_device`: edits on each device; `rows`: what an edit computes, its inversion included.
  """

  model_config: ModelConfig
  clip: tuple[int, int, int]
  dtype: str
  plan: EditPlan
  per_device: int
  rows: int


def read_request(config, known):
  """Checks a config: `TpuRequest`; raises ValueError that lists all faults.

  `known` is the `ModelConfig` of a config without a checkpoint.
  """
  faults, request = Faults(), request_of(config, own=OWN)
  model_config = read_model_config(request.checkpoint, faults) if request.checkpoint else known
  faults.stop()
  names = ('frames', 'height', 'width')
  clip = tuple(getattr(request.clip, name) or getattr(model_config, name) for name in names)
  dtype = 'bfloat16' if request.dtype == 'auto' else resolve_dtype(request.dtype)
  blocks, captioned = model_config.unet.blocks, int(request.source_prompt != '')
  inversion = resolve_inversion(request)
  plan = plan_edit(
    request.task,
    [resolve_injections(request, False, blocks)],
    request.steps,
    BranchInputs(captioned, [1 + captioned], stored=inversion.stored(request.steps)),
    wanted=['main', 'reconstruction'] if request.outputs.reconstruction else ['main'],
    blocks=blocks,
    rows_per_pass=request.rows_per_pass,
    exact_savings=request.plan == 'exact',
  )
  free = (1 + captioned) * request.steps if inversion.method == 'direct' else 0
  rows = request.steps + free + sum(plan.row_counts)
  return TpuRequest(model_config, clip, dtype, plan, config.per_device, rows)


def compile_step(topology, request):
  """Compiles the largest step for a topology: dict {head: cell} of its line in the table.

  Raises:
    ValueError: it does not fit a chip.
  """
  model_config, clip, dtype, plan, per_device, edit_rows = request
  chip, mesh = tpu.chip_of(topology), sharding.data_mesh(tpu.devices_of(topology))
  passes = [[len(rows.branch) for rows in step.passes] for step in plan.steps]
  index = max(range(len(passes)), key=lambda i: (max(passes[i]), sum(passes[i])))
  began = time.monotonic()
  lowered = ahead_of_time.lower_step(model_config, plan, index, clip, mesh, dtype, per_device)
  try:
    facts = ahead_of_time.facts(lowered.compile())
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise ValueError(_too_large(topology, str(error).splitlines()[0])) from error
  seconds = time.monotonic() - began
  used, held = f'{facts["memory"] / 1e9:.2f}', f'{chip.memory / 1e9:.0f}'
  if facts['memory'] > chip.memory:
    raise ValueError(_too_large(topology, f'it needs {used} GB of {held}'))
  count = sum(passes[index])
  products = ahead_of_time.products_of_rows(model_config, clip, count, dtype)
  least = cost.roofline(products, chip.peak, chip.bandwidth)
  return {
    'topology': topology,
    'chips': f'{mesh.size}',
    'rows': '+'.join(map(str, passes[index])),
    'GB a chip': used,
    'of': held,
    'collectives': f'{sum(facts["collectives"].values())}',
    'compile s': f'{seconds:.0f}',
    'TFLOP': f'{cost.flops(products) * per_device / 1e12:.3g}',
    'least s': f'{least * per_device:.2g}',
    'rows an edit': f'{edit_rows}',
    'edits/h at most': f'{mesh.size * 3600 / (edit_rows * least / count):.3g}',
  }


def _too_large(topology, why):
  return (
    f'the step does not fit a chip of {topology}: {why}; '
    'accepted: fewer rows_per_pass, frames or edits per_device'
  )


def main(_):
  """Compiles for every topology and prints a table in Markdown, line by line."""
  with in_one_line():
    request = read_request(_CONFIG.value, MODELS[_MODEL.value])
    # Unknown topologies are refused before the first, long, compilation.
    for topology in _TOPOLOGY.value:
      tpu.devices_of(topology)
    for number, topology in enumerate(_TOPOLOGY.value):
      row = compile_step(topology, request)
      table = tables.markdown(list(row), [list(row.values())])
      print('\n'.join(table.splitlines()[2 if number else 0 :]), flush=True)


if __name__ == '__main__':
  app.run(main)
