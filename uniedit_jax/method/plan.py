"""The branches of an edit, what each is conditioned on, and the plan of their rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uniedit_jax.method.injection import BLOCKS, Branch, Injections, compose
from uniedit_jax.method.rows import COND, UNCOND, RowPlan, plan_rows


class EditPlan(NamedTuple):
  """The branches of an edit and what each is conditioned on.

  Attributes:
    branches: the K branches.
    texts: i32[S, K, 2], the text of each branch's (uncond, cond) half at every step.
    plan: `rows.RowPlan`.
    wanted: kinds of branches whose latents are wanted.
    stored: bool[S, K], the branches that take a stored trajectory after a step.
  """

  branches: tuple[Branch, ...]
  texts: np.ndarray
  plan: RowPlan
  wanted: tuple[str, ...]
  stored: np.ndarray


def plan_edit(
  task: str,
  settings: Sequence[Injections],
  steps: int,
  *,
  source: int = 0,
  targets: Sequence[int] = (1,),
  uncond: Sequence[int] | None = None,
  wanted: Sequence[str] = ('main',),
  stored: int = 0,
  masked: bool = False,
  blocks: int = BLOCKS,
  rows_per_pass: int | None = None,
  exact_savings: bool = True,
):
  """Lays out one clip's edit: a reconstruction, and for every setting a main and perhaps a motion
  branch.

  All branches start from the same latents.

  Args:
    task: 'motion' (reconstruction, motion reference, main) or 'appearance' (reconstruction, main).
    settings: what each setting injects.
    steps: number of denoising steps S.
    source: the text of the reconstruction's cond half; texts are numbered as the caller likes.
    targets: the text of each setting's target prompt.
    uncond: i[S], the text of every uncond half (null-text inversion), or None for text 0 = the null
      prompt.
    wanted: kinds of branches whose final latents are wanted.
    stored: number of steps, from the first, after which the reconstruction is a stored
      trajectory's: all for direct inversion, one for O-BELM, whose inverse ends in two latents.
    masked, blocks: as in `injection.compose`.
    rows_per_pass, exact_savings: as in `rows.plan_rows`.

  Returns:
    `EditPlan`.

  Raises:
    ValueError: see `injection.compose` and `rows.plan_rows`; an unknown task.
  """
  if task not in ('motion', 'appearance'):
    raise ValueError(f"task is {task!r}; accepted: 'motion', 'appearance'")
  kinds = ('main', 'motion') if task == 'motion' else ('main',)
  branches = (
    Branch('reconstruction'),
    *(Branch(kind, i) for i in range(len(settings)) for kind in kinds),
  )
  texts = np.zeros((steps, len(branches), 2), np.int32)
  texts[:, :, UNCOND] = 0 if uncond is None else np.asarray(uncond)[:, None]
  texts[:, :, COND] = [
    source if b.kind == 'reconstruction' else targets[b.setting] for b in branches
  ]
  follows = [branch.kind == 'reconstruction' for branch in branches]
  stored = (np.arange(steps) < stored)[:, None] & follows
  plan = plan_rows(
    compose(branches, settings, steps, blocks, masked),
    texts,
    wanted=[b.kind in wanted for b in branches],
    stored=stored,
    rows_per_pass=rows_per_pass,
    exact_savings=exact_savings,
  )
  return EditPlan(branches, texts, plan, tuple(wanted), stored)
