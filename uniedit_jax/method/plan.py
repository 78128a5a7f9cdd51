"""The plan of an edit: its branches, what each is conditioned on, and the rows of every step."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uniedit_jax.method.injection import BLOCKS, Branch, Injections, compose
from uniedit_jax.method.rows import COND, UNCOND, Step, plan_rows


class EditPlan(NamedTuple):
  """The branches of an edit, what each is conditioned on, and the rows of every step.

  Attributes:
    branches: the K branches.
    texts: i32[S, K, 2], the text of each branch's (uncond, cond) half at every step.
    steps: S `rows.Step`.
    wanted: kinds of branches whose latents are wanted.
  """

  branches: tuple[Branch, ...]
  texts: np.ndarray
  steps: tuple[Step, ...]
  wanted: tuple[str, ...]

  @property
  def stored(self):
    """bool[S, K], the branches that take a stored trajectory after a step."""
    return np.stack([step.stored for step in self.steps])

  @property
  def row_counts(self):
    """Rows of each step: the row table."""
    return [sum(len(rows.branch) for rows in step.passes) for step in self.steps]

  @property
  def phases(self):
    """Runs of steps with equal passes: dicts of 'start', 'stop', 'rows', and rows of 'passes'."""
    phases, start = [], 0
    passes_of_steps = ([len(rows.branch) for rows in step.passes] for step in self.steps)
    for passes, group in itertools.groupby(passes_of_steps):
      stop = start + len(list(group))
      phases.append({'start': start, 'stop': stop, 'rows': sum(passes), 'passes': passes})
      start = stop
    return phases


class BranchInputs(NamedTuple):
  """The texts that branches read, numbered as the caller likes, and where latents are stored.

  Attributes:
    source: the text of the reconstruction's cond half.
    targets: the text of each setting's target prompt.
    uncond: i[S], the text of every uncond half (null-text inversion), or None for text 0 = the null
      prompt.
    stored: number of steps, from the first, after which the reconstruction is a stored
      trajectory's: all for direct inversion, one for O-BELM, whose inverse ends in two latents.
  """

  source: int = 0
  targets: Sequence[int] = (1,)
  uncond: Sequence[int] | None = None
  stored: int = 0


def plan_edit(
  task: str,
  settings: Sequence[Injections],
  steps: int,
  inputs: BranchInputs = BranchInputs(),
  *,
  wanted: Sequence[str] = ('main',),
  masked: bool = False,
  blocks: int = BLOCKS,
  rows_per_pass: int | None = None,
  exact_savings: bool = True,
):
  """Plans one clip's edit: a reconstruction, and for each setting main and what else it needs.

  All branches start from the same latents.

  Args:
    task: 'motion' (reconstruction, motion reference, main) or 'appearance' (reconstruction, main).
    settings: what each setting injects.
    steps: number of denoising steps S.
    inputs: texts of the branches, stored steps.
    wanted: kinds of branches whose final latents are wanted. A plain branch is there if it is.
    masked, blocks: as in `injection.compose`.
    rows_per_pass, exact_savings: as in `rows.plan_rows`.

  Returns:
    `EditPlan`.

  Raises:
    ValueError: see `injection.compose` and `rows.plan_rows`; an unknown task.
  """
  if task not in ('motion', 'appearance'):
    raise ValueError(f"task is {task!r}; accepted: 'motion', 'appearance'")
  optional = {'motion': task == 'motion', 'plain': 'plain' in wanted}
  kinds = ['main', *(kind for kind, is_there in optional.items() if is_there)]
  of_settings = [Branch(kind, i) for i in range(len(settings)) for kind in kinds]
  branches = Branch('reconstruction'), *of_settings
  texts = np.zeros((steps, len(branches), 2), np.int32)
  texts[:, :, UNCOND] = 0 if inputs.uncond is None else np.asarray(inputs.uncond)[:, None]
  texts[:, :, COND] = [inputs.source, *(inputs.targets[b.setting] for b in of_settings)]
  follows = [branch.kind == 'reconstruction' for branch in branches]
  rows = plan_rows(
    compose(branches, settings, steps, blocks, masked),
    texts,
    wanted=[b.kind in wanted for b in branches],
    stored=(np.arange(steps) < inputs.stored)[:, None] & follows,
    rows_per_pass=rows_per_pass,
    exact_savings=exact_savings,
  )
  return EditPlan(branches, texts, rows, tuple(wanted))
