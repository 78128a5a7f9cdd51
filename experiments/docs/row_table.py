"""The rows that edits compute, and their cost: the tables of docs/performance.md.

  python -m experiments.docs.row_table

No model is run: rows are counted in the plans, operations in the traced UNet of LaVie's size
(`cost.products`).
"""

import itertools

from absl import app

from uniedit_jax.method.injection import preset
from uniedit_jax.method.plan import BranchInputs, plan_edit
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.reports import tables
from uniedit_jax.runtime import cost

STEPS = 50
HEADS = ('preset', 'edit', 'masks', 'source prompt', 'rows', 'of', 'TFLOP', 'of', 'share')


def count_rows(name, task, masked, captioned, exact):
  """Counts the rows of an edit of which only the result is wanted."""
  # Text 0 is the null prompt; without a caption it is the source's.
  inputs = BranchInputs(source=int(captioned), targets=[1 + int(captioned)])
  settings = [preset(name, task, masked, STEPS)]
  plan = plan_edit(task, settings, STEPS, inputs, masked=masked, exact_savings=exact)
  return sum(plan.row_counts)


def table(flops_of_a_row):
  lines, off_on = [], (False, True)
  edits = itertools.product(('paper', 'release'), ('motion', 'appearance'), off_on, off_on)
  for name, task, masked, captioned in edits:
    planned, naive = (count_rows(name, task, masked, captioned, exact) for exact in (True, False))
    edit = [name, task, 'yes' if masked else 'no', 'a caption' if captioned else 'null']
    tera = [f'{rows * flops_of_a_row / 1e12:.0f}' for rows in (planned, naive)]
    lines.append([*edit, f'{planned}', f'{naive}', *tera, f'{planned / naive:.0%}'])
  return tables.markdown(HEADS, lines)


def main(_):
  config = ModelConfig()
  clip = config.frames, config.height, config.width
  flops = cost.flops(ahead_of_time.products_of_rows(config, clip, 1, 'bfloat16'))
  print(f'One row of one step: {flops / 1e12:.2f} TFLOP. DDIM inversion: {STEPS} rows.\n')
  print(table(flops), end='')


if __name__ == '__main__':
  app.run(main)
