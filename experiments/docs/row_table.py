"""The rows that edits compute, and what they cost: the tables of docs/performance.md.

  python -m experiments.docs.row_table

Nothing is run: rows are counted in the plans, operations in the traced UNet of LaVie's size
(`cost.products`).
"""

from absl import app

from uniedit_jax.method.injection import preset
from uniedit_jax.method.plan import plan_edit
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.runtime import cost

STEPS = 50
HEADS = ('preset', 'edit', 'masks', 'source prompt', 'rows', 'of', 'TFLOP', 'of', 'share')


def count(name, task, masked, captioned, exact):
  """Rows of an edit of which only the result is wanted."""
  settings = [preset(name, task, masked, STEPS)]
  # Text 0 is the null prompt, which is the source's where there is no caption.
  layout = plan_edit(
    *(task, settings, STEPS),
    **dict(source=int(captioned), targets=[1 + int(captioned)], masked=masked, exact_savings=exact),
  )
  return sum(layout.plan.rows)


def lines(flops_of_a_row):
  """The table in Markdown, line by line."""
  yield f'| {" | ".join(HEADS)} |'
  yield '|---' * len(HEADS) + '|'
  for name in ('paper', 'release'):
    for task in ('motion', 'appearance'):
      for masked in (False, True):
        for captioned in (False, True):
          planned, naive = (count(name, task, masked, captioned, exact) for exact in (True, False))
          tera = [f'{rows * flops_of_a_row / 1e12:.0f}' for rows in (planned, naive)]
          told = name, task, 'yes' if masked else 'no', 'a caption' if captioned else 'null'
          yield f'| {" | ".join(told)} | {planned} | {naive} | {" | ".join(tera)} | {planned / naive:.0%} |'


def main(_):
  """Prints the table."""
  config = ModelConfig()
  clip = config.frames, config.height, config.width
  flops = cost.flops(ahead_of_time.products_of_rows(config, clip, 1, 'bfloat16'))
  print(f'One row of one step: {flops / 1e12:.2f} TFLOP. DDIM inversion: {STEPS} rows.\n')
  print('\n'.join(lines(flops)))


if __name__ == '__main__':
  app.run(main)
