"""The reads of a plan: which row reads which tensor of which row, in which steps and blocks."""

import numpy as np

from uniedit_jax.method.injection import SLOTS

COMPARISON_READS = 'text_maps', 'residual', 'flow'


def row_names(plan, texts, step):
  """'<branch>:<text>' of every row of a step; `texts` names the texts."""
  (rows,) = plan.steps[step].passes
  return [
    f'{plan.branches[k].kind}:{texts[t]}' for k, t in zip(rows.branch, rows.text, strict=True)
  ]


def trace(plan, texts):
  """Lists all reads of other rows.

  Args:
    plan: `EditPlan` whose steps have one pass.
    texts: the name of every text.

  Returns:
    dict {(slot, reader, source): (steps, blocks)}, half-open ranges; rows by `row_names`.
  """
  found = {}
  for i, step in enumerate(plan.steps):
    names = row_names(plan, texts, i)
    (rows,) = step.passes
    comparison = getattr(rows.routes, 'comparison', None)
    sources = {slot: getattr(rows.routes, slot, None) for slot in SLOTS}
    sources |= {slot: getattr(comparison, slot, None) for slot in COMPARISON_READS}
    for slot, source in sources.items():
      # None reads the own row.
      for side in getattr(source, 'source', source) or ():
        for r, block in np.argwhere(np.asarray(side) != np.arange(len(names))[:, None]):
          found.setdefault((slot, names[r], names[side[r, block]]), set()).add((i, int(block)))
  return {read: _window(places) for read, places in found.items()}


def _window(places):
  """The rectangle of steps and blocks that a set of (step, block) fills."""
  steps, blocks = (sorted(set(axis)) for axis in zip(*places, strict=True))
  assert len(places) == len(steps) * len(blocks) and steps[-1] - steps[0] == len(steps) - 1, places
  assert blocks[-1] - blocks[0] == len(blocks) - 1, blocks
  return (steps[0], steps[-1] + 1), (blocks[0], blocks[-1] + 1)
