"""Keeps to programs that are compiled already: a step is computed with more rows if need be.

A program of sampling depends on the number of rows, and a plan computes the fewest that a step
needs. Where a slider asks for a number that no edit has had yet, rows are repeated up to the next
larger number that one had: that costs some arithmetic instead of a compilation.
"""

import dataclasses
import json

import jax
import numpy as np


def family(edit):
  """A string that edits (`CheckedEdit`) share whose programs differ in the number of rows alone."""
  facts = [
    edit.request.checkpoint,
    edit.dtype,
    edit.clip.size,
    edit.window,
    len(edit.prompts),
    # Optimised null texts follow the prompts.
    edit.inversion.method == 'null_text' and edit.sampler.steps,
    len(edit.plan.branches),
    [edit.request.mask.given, edit.guided],
    edit.plan.steps[0].passes[0].routes.first_frame is None,
  ]
  return json.dumps(facts)


def sizes(edit):
  """The numbers of rows of the passes of an edit."""
  return {len(rows.branch) for step in edit.plan.steps for rows in step.passes}


def keep_to(edit, known):
  """The edit with the rows of each step repeated up to a number among `known`, where there is one.

  Steps of several passes are left alone: those are split to fit memory.
  """
  steps = tuple(_padded(step, known) for step in edit.plan.steps)
  return dataclasses.replace(edit, plan=edit.plan._replace(steps=steps))


def _padded(step, known):
  (rows, *others), count = step.passes, len(step.passes[0].branch)
  size = min((size for size in known if size >= count), default=count)
  if others or size == count:
    return step
  # What is appended is read by nobody, and changes no number of a row.
  repeat = lambda leaf: np.concatenate([leaf, np.repeat(leaf[:1], size - count, axis=0)])
  return step._replace(passes=(jax.tree.map(repeat, rows),))
