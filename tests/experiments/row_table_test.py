"""The table of rows in the documentation is what the command prints."""

import pathlib

from experiments.docs import row_table
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.runtime import cost


def test_the_documentation_has_the_rows_of_now():
  text = (pathlib.Path(row_table.__file__).parents[2] / 'docs/performance.md').read_text()
  flops = cost.flops(ahead_of_time.products_of_rows(ModelConfig(), (16, 320, 512), 1, 'bfloat16'))
  assert f'One row of one step: {flops / 1e12:.2f} TFLOP' in text
  assert row_table.table(flops) in text
