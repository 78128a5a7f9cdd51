"""Which rows every step computes: equal rows once, rows that nobody reads not at all (numpy, no model).

A *logical* row is a (branch, guidance half). Two logical rows are equal when their latents, their text and all that
they read from other rows are equal; the plan finds this by refining a partition, as one minimises an automaton. So
it follows, rather than being listed case by case, that a null-prompt reconstruction has no guidance half, that
main and motion are one until an injection tells them apart, and that all unconditional rows of the first step are
one. Going backwards from the branches whose video is wanted, it then drops what nobody reads any more.
"""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import numpy as np

from uniedit_jax.overrides import AttentionOverride

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
  """

  passes: tuple[Rows, ...]
  uncond: np.ndarray
  cond: np.ndarray
  updated: np.ndarray

  @property
  def rows(self):
    """Number of rows computed."""
    return sum(len(rows.branch) for rows in self.passes)


@dataclasses.dataclass(frozen=True)
class Plan:
  """The steps of one run."""

  steps: tuple[Step, ...]

  @property
  def rows(self):
    """Rows of each step, the row table."""
    return [step.rows for step in self.steps]

  @property
  def phases(self):
    """Runs of steps with equal passes: list of {'start', 'stop', 'rows', 'passes': rows of each pass}."""
    phases, start = [], 0
    for passes, group in itertools.groupby([len(rows.branch) for rows in step.passes] for step in self.steps):
      stop = start + len(list(group))
      phases.append({'start': start, 'stop': stop, 'rows': sum(passes), 'passes': passes})
      start = stop
    return phases


def make_plan(routes, texts, wanted, start=None, stored=None, rows_per_pass=None, exact_savings=True):
  """Plans a run.

  Args:
    routes: routes over branches (`injection.compose`), leaves [S, L, K].
    texts: i32[S, K, 2], the text of each branch's (uncond, cond) half; equal numbers are equal texts.
    wanted: bool[K], the branches whose final latents are wanted.
    start: i32[K], which start latents a branch has; equal numbers are equal latents. Default: all the same.
    stored: bool[K], branches that read a stored trajectory instead of being sampled (direct inversion).
    rows_per_pass: most rows of one pass, or None for one pass a step. Halves are split first; a row that several
      passes read is computed in each.
    exact_savings: False computes all 2 K rows in every step: the oracle of tests and benchmarks.

  Returns:
    `Plan`.

  Raises:
    ValueError: `rows_per_pass` is too small for a row and what it reads.
  """
  count, branches, _ = texts.shape
  stored = np.zeros(branches, bool) if stored is None else np.asarray(stored)
  latents = np.zeros(branches, int) if start is None else np.asarray(start)
  reads = _reads(routes)

  classes = []  # for each step i[K, 2]: equal numbers are equal rows
  for i in range(count):
    if exact_savings:
      classes.append(_equal_rows(latents, texts[i], reads[i]))
    else:
      classes.append(np.arange(2 * branches).reshape(branches, 2))
    moved = _number(np.concatenate([latents[:, None], classes[i]], axis=1))
    latents = np.where(stored, branches, moved)

  steps, needed = [], np.asarray(wanted) & ~stored
  for i in reversed(range(count)):
    targets = np.repeat(needed[:, None], 2, axis=1) if exact_savings else np.ones((branches, 2), bool)
    closure = _closure(targets, reads[i])
    rows = [(half, k) for half in (UNCOND, COND) for k in range(branches) if targets[k, half]]
    passes = _passes(rows, classes[i], reads[i], closure, rows_per_pass)
    steps.append(_step(passes, rows, classes[i], texts[i], routes, i, needed if exact_savings else ~stored))
    needed = closure.any(axis=1) & ~stored
  return Plan(tuple(reversed(steps)))


def _reads(routes):
  """All that a branch reads: i[S, K, X], the branch of each slot, side and block, and the guided flags last."""
  leaves = [np.moveaxis(np.asarray(leaf, int), 1, 2) for leaf in jax.tree.leaves(routes._replace(guided=None))]
  guided = np.moveaxis(np.asarray(routes.guided, int), 1, 2)
  return [(np.concatenate([leaf[i] for leaf in leaves], axis=1), guided[i]) for i in range(len(guided))]


def _number(keys):
  """Numbers the distinct rows of i[n, x]: i[n]."""
  return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def _equal_rows(latents, texts, reads):
  """The coarsest partition of rows i[K, 2] in which equal rows have equal latents, text and sources."""
  sources, guided = reads
  branches = len(latents)
  inputs = np.stack([np.repeat(latents, 2), texts.reshape(-1)], axis=1)
  fixed = np.concatenate([inputs, np.repeat(guided, 2, axis=0)], axis=1)
  classes = _number(fixed).reshape(branches, 2)
  while True:
    # The halves never exchange: half h of a branch reads half h of its sources.
    seen = np.stack([classes[sources, half] for half in (UNCOND, COND)], axis=1).reshape(2 * branches, -1)
    refined = _number(np.concatenate([classes.reshape(-1, 1), seen], axis=1)).reshape(branches, 2)
    if refined.max() == classes.max():
      return refined
    classes = refined


def _closure(targets, reads):
  """The rows bool[K, 2] that `targets` are or read, directly or not."""
  needed = targets.copy()
  while True:
    grown = needed.copy()
    for k, half in zip(*np.nonzero(needed), strict=True):
      grown[reads[0][k], half] = True
    if (grown == needed).all():
      return needed
    needed = grown


def _passes(rows, classes, reads, closure, rows_per_pass):
  """Groups the target rows into passes: list of (set of target rows, list of representative rows (k, half))."""

  def representatives(targets):
    """One row of each class: the first that the whole step needs, whose latents are therefore kept up to date."""
    wanted = np.zeros_like(closure)
    for half, k in targets:
      wanted[k, half] = True
    wanted = _closure(wanted, reads)
    chosen = {}
    for half, k in np.argwhere(closure.T):
      if classes[k, half] in classes[wanted]:
        chosen.setdefault(classes[k, half], (k, half))
    return list(chosen.values())

  if rows_per_pass is None:
    return [(rows, representatives(rows))]
  passes = []
  for row in rows:
    alone = representatives([row])
    if len(alone) > rows_per_pass:
      raise ValueError(f'rows_per_pass is {rows_per_pass}; accepted: at least {len(alone)} for these injections')
    merged = representatives([*passes[-1][0], row]) if passes else None
    if merged and len(merged) <= rows_per_pass and passes[-1][0][-1][0] == row[0]:
      passes[-1] = ([*passes[-1][0], row], merged)
    elif not any(classes[row[1], row[0]] in [classes[k, half] for k, half in chosen] for _, chosen in passes):
      passes.append(([row], alone))
  return passes


def _step(passes, rows, classes, texts, routes, i, updated):
  """Writes the numbers of one step."""
  tables, where = [], {}  # where: class -> row, counted through all passes
  offset = 0
  for _, chosen in passes:
    local = {classes[k, half]: r for r, (k, half) in enumerate(chosen)}
    where = {c: offset + r for c, r in local.items()} | where
    offset += len(chosen)
    branch, half = (np.array(column, np.int32) for column in zip(*chosen, strict=True))

    def to_rows(table, branch=branch, half=half, local=local):
      read = classes[table[i][:, branch], half]  # i[L, R]
      return np.vectorize(local.get, otypes=[np.int32])(read).T

    guided = routes.guided[i][:, branch].T
    sources = jax.tree.map(to_rows, routes._replace(guided=None))
    tables.append(Rows(branch, texts[branch, half].astype(np.int32), sources._replace(guided=guided)))
  halves = np.zeros((2, len(classes)), np.int32)
  for half, k in rows:
    halves[half, k] = where[classes[k, half]]
  return Step(tuple(tables), halves[UNCOND], halves[COND], np.asarray(updated))
