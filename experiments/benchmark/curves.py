"""Seconds and memory as the clip, the rows, the steps or the number of edits grow."""

import statistics

import jax
import matplotlib
import numpy as np

from experiments.benchmark.cases import PLANNED, draw_inputs, plans_of
from experiments.benchmark.sides import GUIDANCE
from experiments.timing import seconds_of
from uniedit_jax.method.rows import Rows
from uniedit_jax.method.sampling import Conditioning, Network, Sampler, predict_rows, sample_edits
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.pipeline.model import unet_apply
from uniedit_jax.runtime.files import atomic_file
from uniedit_jax.runtime.sharding import data_mesh

matplotlib.use('agg')
import matplotlib.pyplot as plt

ROWS = 1, 2, 3, 4, 6, 8
STEPS = 2, 5, 10, 20
EDITS = 1, 2, 4
SHARES = 0.25, 0.5, 0.75, 1.0  # of the clip's frames, and of its height and width
AT = 3  # rows of the curves over frames and tokens
AXES = {
  'frames': f'frames (step of {AT} rows)',
  'tokens': f'tokens of a frame (step of {AT} rows)',
  'rows': 'rows (a step)',
  'steps': 'steps (an appearance edit)',
  'edits': 'edits side by side (2 steps of each)',
}


def measure(ours, clip, repeats, progress=iter):
  """Measures all curves, up to the clip (frames, height, width); the median of `repeats` counts.

  Returns:
    list of {'curve', 'at', 'seconds', 'memory'}: 'memory' is the compiler's count of bytes of a
    device for the program, its arguments (weights included) and its results.
  """
  frames, height, width = clip
  factor = 4 * ours.config.vae.factor
  scaled = lambda share, length, unit: max(1, round(length * share / unit)) * unit
  points = [('frames', (scaled(share, frames, 1), height, width), AT) for share in SHARES]
  for share in SHARES:
    grid = scaled(share, height, factor), scaled(share, width, factor)
    points.append(('tokens', (frames, *grid), AT))
  for curve, counts in (('rows', ROWS), ('steps', STEPS), ('edits', EDITS)):
    points += [(curve, tuple(clip), count) for count in counts]
  rows = []
  for curve, size, count in progress(list(dict.fromkeys(points))):
    inputs = draw_inputs(ours.config, size)
    run, memory = {'steps': _edit, 'edits': _batch}.get(curve, _step)(ours, inputs, count)
    tokens = inputs.latents[0, ..., 0].size
    at = {'frames': size[0], 'tokens': tokens}.get(curve, count)
    # The first run compiles.
    _, *seconds = (seconds_of(run, ours.wait) for _ in range(1 + repeats))
    rows.append({'curve': curve, 'at': at, 'seconds': statistics.median(seconds), 'memory': memory})
  return rows


def _step(ours, inputs, rows):
  """(run, bytes) of a step of plain rows."""
  table = np.arange(rows, dtype=np.int32)
  latents, texts = np.stack([inputs.latents] * rows), inputs.texts[table % 2]
  arrays = ours.params['unet'], latents, texts, Rows(table, table, None), np.int32(501)
  predict = jax.jit(predict_rows, static_argnums=0)
  compiled = predict.lower(unet_apply(ours.config, ours.dtype), *arrays).compile()
  return lambda: compiled(*arrays), ahead_of_time.facts(compiled)['memory']


def _edit(ours, inputs, steps):
  """(run, bytes) of a planned appearance edit."""
  plan = plans_of(ours.config, 'appearance', steps)[PLANNED]
  run = lambda: ours.edit(inputs.latents, inputs.texts, plan)
  return run, _memory(ours, inputs.clip, plan, edits=1)


def _batch(ours, inputs, edits):
  """(run, bytes) of independent appearance edits of two steps on one device."""
  plan = plans_of(ours.config, 'appearance', 2)[PLANNED]
  network = Network(unet_apply(ours.config, ours.dtype), ours.params['unet'], checked=False)
  sampler = Sampler(ours.config.schedule, len(plan.steps), GUIDANCE)

  def run():
    return sample_edits(
      network,
      [inputs.latents] * edits,
      [plan] * edits,
      [sampler] * edits,
      [Conditioning(inputs.texts)] * edits,
    )

  return run, _memory(ours, inputs.clip, plan, edits)


def _memory(ours, clip, plan, edits):
  """Bytes of the largest step of a plan, for `edits` edits on one device."""
  index = max(range(len(plan.steps)), key=lambda i: plan.row_counts[i])
  mesh = data_mesh(jax.local_devices()[:1])
  lowered = ahead_of_time.lower_step(ours.config, plan, index, clip, mesh, ours.dtype, edits)
  return ahead_of_time.facts(lowered.compile())['memory']


def plot(path, rows):
  """Draws seconds and memory of all curves in one figure."""
  figure, axes = plt.subplots(2, len(AXES), figsize=(3 * len(AXES), 5), squeeze=False)
  for (curve, title), column in zip(AXES.items(), axes.T, strict=True):
    points = [row for row in rows if row['curve'] == curve]
    at = [row['at'] for row in points]
    for axis, measure, unit in zip(column, ('seconds', 'memory'), (1, 2**20), strict=True):
      values = [row[measure] / unit for row in points]
      axis.plot(at, values, marker='o')
      axis.set(xlim=(0, 1.05 * max(at)), ylim=(0, 1.1 * max(values)))
    column[1].set_xlabel(title, fontsize=8)
  axes[0, 0].set_ylabel('seconds')
  axes[1, 0].set_ylabel('MiB')
  figure.tight_layout()
  with atomic_file(path) as name:
    figure.savefig(name, format='png', dpi=110)
  plt.close(figure)
