"""Shared parts of the comparison methods: their inputs, plans of fixed rows, and the inversion.

A method is a frozen dataclass of its options (the fields of `config.baseline`) with

- `negative_prompt`: the text of the unconditional half;
- `faults(setup)`: faults of the options, as a list of sentences;
- `plan(setup)`: its `EditPlan`, without a model;
- `cost(setup)`: dict of what is computed in addition to the rows of the plan;
- `edit(run)`: (dict {`Branch`: latents f32[F, H, W, C]}, dict of facts for run.json).
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from uniedit_jax.method import inversion
from uniedit_jax.method.injection import BLOCKS, Branch
from uniedit_jax.method.overrides import AttentionOverride, Source
from uniedit_jax.method.plan import EditPlan
from uniedit_jax.method.rows import Rows, Step
from uniedit_jax.method.sampling import Sampler
from uniedit_jax.pipeline.model import unet_apply

SOURCE, MAIN = Branch('reconstruction'), Branch('main')


class Setup(NamedTuple):
  """Facts of an edit that are known before anything is loaded.

  Attributes:
    steps, frames, blocks: the numbers S, F and L.
    uncond, source, inverted, target: indices in `prompts` of the texts of the unconditional half,
      the source, the inversion and the edit.
    prompts: all texts.
    tokenizer: has `encode` (list of P prompts -> i32[P, T]).
    seed: seed of all random numbers.
  """

  steps: int
  frames: int
  blocks: int
  uncond: int
  source: int
  inverted: int
  target: int
  prompts: list[str]
  tokenizer: Any
  seed: int

  def window(self, first, last=BLOCKS):
    """bool[L], the blocks in a half-open range that is written for 16 blocks."""
    start, stop = (round(bound * self.blocks / BLOCKS) for bound in (first, last))
    return (np.arange(self.blocks) >= start) & (np.arange(self.blocks) < stop)


class Run(NamedTuple):
  """Inputs of one edit by a comparison method.

  Attributes:
    model: `checkpoint.Model`.
    clip: u8[F, 8 H, 8 W, 3], the source.
    latents: f32[F, H, W, C], z_0, the encoded source.
    texts: f32[P, T, E], all encoded prompts.
    setup, plan, sampler, dtype: of the edit.
    progress: maps a label to a wrapper of iterables.
  """

  model: Any
  clip: np.ndarray
  latents: np.ndarray
  texts: Any
  setup: Setup
  plan: EditPlan
  sampler: Sampler
  dtype: str
  progress: Any


class Row(NamedTuple):
  """A row of a step: a branch and the index of its text."""

  branch: Branch
  text: int


def plan_of_rows(rows, routes):
  """Plans an edit whose rows the method has chosen; a reconstruction is a stored trajectory.

  `rows.plan_rows` assumes that both halves of a branch read alike; here one half may be edited
  alone, or both may read one row. The first row of a branch is its unconditional half and the last
  its conditional one; a single row is both.

  Args:
    rows: S lists of `Row`, the first of which has all branches.
    routes: S `AttentionOverride` with leaves [R, L, ...].

  Returns:
    `EditPlan` that wants `MAIN`.
  """
  branches = tuple(dict.fromkeys(row.branch for row in rows[0]))
  texts, steps = np.zeros((len(rows), len(branches), 2), np.int32), []
  for i, (table, reads) in enumerate(zip(rows, routes, strict=True)):
    halves = np.zeros((2, len(branches)), np.int32)
    for k, branch in enumerate(branches):
      own = [r for r, row in enumerate(table) if row.branch == branch]
      if own:
        halves[:, k] = own[0], own[-1]
        texts[i, k] = table[own[0]].text, table[own[-1]].text
    branch, text = np.array([(branches.index(row.branch), row.text) for row in table], np.int32).T
    updated, stored = (np.array([b == which for b in branches]) for which in (MAIN, SOURCE))
    passes = (Rows(branch, text, reads),)
    steps.append(Step(passes, halves[0], halves[1], updated, stored))
  return EditPlan(branches, texts, tuple(steps), ('main',))


def own_routes(rows, blocks):
  """`AttentionOverride` of i32[R, L]: every row reads its own queries and keys of SA-S."""
  own = np.broadcast_to(np.arange(rows, dtype=np.int32)[:, None], (rows, blocks))
  return AttentionOverride(spatial_q=Source(own, own), spatial_k=Source(own, own))


def read_row(slot, readers, source, blocks):
  """`Source` of i32[R, L] like `slot`, except that rows `readers` read row `source` in `blocks`."""
  table = slot.inside.copy()
  table[np.ix_(readers, blocks)] = source
  return Source(table, table)


@functools.cache
def denoiser(config, dtype, temporal=True, remat=False):
  """The UNet as `inversion` calls it, on the pair (parameters, routes with leaves [L, ...])."""
  apply = unet_apply(config, dtype, remat=remat, temporal=temporal)

  def denoise(state, latents, timestep, text):
    params, routes = state
    return apply({'params': params}, latents, timestep, text, routes)[0]

  return denoise


def invert(run, params, routes=None, temporal=True):
  """The unguided DDIM inversion of the source, f32[S + 1, F, H, W, C]: S rows.

  Args:
    run: `Run`.
    params: the UNet's parameters.
    routes: `AttentionOverride` with leaves [L, ...] that reads no other row, or None.
    temporal: as in `model.unet_apply`.
  """
  return inversion.ddim_invert(
    denoiser(run.model.config, run.dtype, temporal),
    (params, routes),
    run.latents,
    run.texts[run.setup.inverted],
    dataclasses.replace(run.sampler, guidance=1.0),
    progress=run.progress('invert'),
  )
