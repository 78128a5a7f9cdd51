"""Which rows every step computes: equal rows once, unread rows not at all (numpy, no model).

A *logical* row is a (branch, guidance half). Two logical rows are equal when their latents, their
text and all that they read from other rows are equal; the plan finds this by refining a partition,
as one minimises an automaton. So it follows, rather than being listed case by case, that a
null-prompt reconstruction has no guidance half, that main and motion are one until an injection
tells them apart, and that all unconditional rows of the first step are one. Going backwards from
the branches whose video is wanted, it then drops what nobody reads any more.
"""

from typing import NamedTuple

import jax
import numpy as np

from uniedit_jax.method.overrides import AttentionOverride

UNCOND, COND = 0, 1


class Rows(NamedTuple):
  """The rows of one pass, the data of one program call; R is all that a program depends on.

  Attributes:
    branch: i32[R], the branch whose latents a row reads.
    text: i32[R], the index of its text.
    routes: `AttentionOverride` with leaves [R, L]: rows of this pass that are read.
  """

  branch: np.ndarray
  text: np.ndarray
  routes: AttentionOverride


class Step(NamedTuple):
  """One denoising step.

  Attributes:
    passes: the `Rows` of each pass; one unless `rows_per_pass` splits the step.
    uncond, cond: i32[K], the row (counted through all passes) with the halves of each branch.
    updated: bool[K], the branches that still move; the others keep their latents.
    stored: bool[K], the branches whose latents after the step are those of a stored trajectory.
  """

  passes: tuple[Rows, ...]
  uncond: np.ndarray
  cond: np.ndarray
  updated: np.ndarray
  stored: np.ndarray


def plan_rows(
  routes, texts, wanted, start=None, stored=None, rows_per_pass=None, exact_savings=True
):
  """Plans the rows of every step.

  Args:
    routes: routes over branches (`injection.compose`), leaves [S, L, K].
    texts: i32[S, K, 2], the text of each branch's (uncond, cond) half; equal numbers are equal
      texts.
    wanted: bool[K], the branches whose final latents are wanted.
    start: i32[K], which start latents a branch has; equal numbers are equal latents. Default: all
      the same.
    stored: bool[S, K], branches whose latents after a step are those of a stored trajectory, or
      None.
    rows_per_pass: most rows of one pass, or None for one pass a step. Halves are split first; a row
      that several passes read is computed in each.
    exact_savings: False computes all 2 K rows in every step: the oracle of tests and benchmarks.

  Returns:
    tuple of S `Step`.

  Raises:
    ValueError: `rows_per_pass` is too small for a row and what it reads, or no sampled branch is
      wanted.
  """
  count, branches, _ = texts.shape
  stored = np.zeros((count, branches), bool) if stored is None else np.asarray(stored)
  latents = np.zeros(branches, int) if start is None else np.asarray(start)
  reads = _reads(routes)

  classes = []  # for each step i[K, 2]: equal numbers are equal rows
  for i in range(count):
    if exact_savings:
      classes.append(_equal_rows(latents, texts[i], reads[i]))
    else:
      classes.append(np.arange(2 * branches).reshape(branches, 2))
    moved = _number(np.concatenate([latents[:, None], classes[i]], axis=1))
    # equal latents have equal pasts
    latents = np.where(stored[i], branches + np.arange(branches), moved)

  steps, needed = [], np.asarray(wanted)
  if not (needed & ~stored[-1]).any():
    raise ValueError(
      f'wanted is {list(wanted)}, stored {stored[-1].tolist()}; accepted: at least one sampled '
      'branch'
    )
  for i in reversed(range(count)):
    needed = needed & ~stored[i]
    targets = (
      np.repeat(needed[:, None], 2, axis=1) if exact_savings else np.ones((branches, 2), bool)
    )
    closure = _closure(targets, reads[i])
    passes = _passes(targets, classes[i], reads[i], closure, rows_per_pass)
    here = jax.tree.map(lambda leaf, i=i: leaf[i], routes)
    tables, halves = _tables(passes, targets, classes[i], texts[i], here)
    updated = needed if exact_savings else ~stored[i]
    steps.append(Step(tables, halves[:, UNCOND], halves[:, COND], updated, stored[i]))
    needed = closure.any(axis=1)
  return tuple(reversed(steps))


def _reads(routes):
  """For each step: the branches that every branch reads, over slots, sides and blocks i[K, X]; its
  switches b[K, X].
  """
  join = lambda tree: np.concatenate(
    [np.moveaxis(leaf, 1, 2) for leaf in jax.tree.leaves(tree)], axis=2
  )
  sources, switches = _split_routes(routes)
  return list(zip(join(sources), join(switches), strict=True))


def _split_routes(routes):
  """The tables of sources, and of the switches of a row itself."""
  return routes._replace(guided=None, first_frame=None), (routes.guided, routes.first_frame)


def _number(keys):
  """Numbers the distinct rows of i[n, x]: i[n]."""
  return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def _equal_rows(latents, texts, reads):
  """The coarsest partition of rows i[K, 2]: equal rows have equal latents, text and sources."""
  sources, switches = reads
  branches = len(latents)
  inputs = np.stack([np.repeat(latents, 2), texts.reshape(-1)], axis=1)
  fixed = np.concatenate([inputs, np.repeat(switches, 2, axis=0)], axis=1)
  classes = _number(fixed).reshape(branches, 2)
  while True:
    # The halves never exchange: half h of a branch reads half h of its sources.
    seen = np.stack([classes[sources, half] for half in (UNCOND, COND)], axis=1).reshape(
      2 * branches, -1
    )
    refined = _number(np.concatenate([classes.reshape(-1, 1), seen], axis=1)).reshape(branches, 2)
    if refined.max() == classes.max():
      return refined
    classes = refined


def _closure(targets, reads):
  """The rows bool[K, 2] that `targets` are or read, directly or not."""
  needed = targets.copy()
  while True:
    grown = needed.copy()
    for k, half in np.argwhere(needed):
      grown[reads[0][k], half] = True
    if (grown == needed).all():
      return needed
    needed = grown


def _passes(targets, classes, reads, closure, rows_per_pass):
  """The rows (k, half) that each pass computes: one of each class that its targets are or read."""

  def rows_for(targets):
    wanted = np.zeros_like(closure)
    wanted[tuple(np.transpose(targets))] = True
    wanted = set(classes[_closure(wanted, reads)])
    # Of equal rows the first that this step needs: only the latents of needed branches are kept up
    # to date.
    first = {classes[k, half]: (k, half) for k, half in reversed(_by_half(closure))}
    return [
      row for row in _by_half(closure) if classes[row] in wanted and first[classes[row]] == row
    ]

  if rows_per_pass is None:
    return [rows_for(_by_half(targets))]
  passes = []  # [(targets, rows)]
  for target in _by_half(targets):
    if any(classes[target] in [classes[row] for row in rows] for _, rows in passes):
      continue  # computed already
    same_half = passes and passes[-1][0][-1][1] == target[1]
    joined = [*passes[-1][0], target] if same_half else []
    if joined and len(rows_for(joined)) <= rows_per_pass:
      passes[-1] = (joined, rows_for(joined))
      continue
    alone = rows_for([target])
    if len(alone) > rows_per_pass:
      raise ValueError(
        f'rows_per_pass is {rows_per_pass}; accepted: at least {len(alone)} for these injections'
      )
    passes.append(([target], alone))
  return [rows for _, rows in passes]


def _by_half(rows):
  """The true entries (k, half) of bool[K, 2], all unconditional rows first."""
  return [(int(k), int(half)) for half, k in np.argwhere(rows.T)]


def _tables(passes, targets, classes, texts, routes):
  """The `Rows` of each pass, and the rows i32[K, 2] of the targets; routes are [L, K]."""
  tables, where = [], {}  # where: class -> its row, counted through all passes
  for rows in passes:
    offset = sum(len(table.branch) for table in tables)
    local = {classes[row]: r for r, row in enumerate(rows)}
    where = {c: offset + r for c, r in local.items()} | where
    branch, half = np.array(rows, np.int32).T

    def to_rows(table, branch=branch, half=half, local=local):
      read = classes[table[:, branch], half]  # i[L, R]
      return np.vectorize(local.get, otypes=[np.int32])(read).T

    sources, switches = _split_routes(routes)
    guided, first_frame = jax.tree.map(lambda table, branch=branch: table[:, branch].T, switches)
    read = jax.tree.map(to_rows, sources)._replace(guided=guided, first_frame=first_frame)
    tables.append(Rows(branch, texts[branch, half].astype(np.int32), read))
  halves = np.zeros((len(classes), 2), np.int32)
  for row in _by_half(targets):
    halves[row] = where[classes[row]]
  return tuple(tables), halves
