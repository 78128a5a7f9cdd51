"""What the comparison methods share: what they are given, layouts of fixed rows, and the inversion
they begin with.

A method is a frozen dataclass of its options (the fields of `config.baseline`) with

- `negative_prompt`: what the unconditional half is conditioned on;
- `faults(setup)`: what is wrong, as a list of sentences;
- `lay_out(setup)`: its `EditPlan`, without a model;
- `cost(setup)`: dict of what is computed beside the rows of the layout;
- `edit(run)`: (dict {`Branch`: latents f32[F, H, W, C]}, dict of facts for run.json).
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from uniedit_jax.method import inversion
from uniedit_jax.method.injection import BLOCKS, Branch
from uniedit_jax.method.overrides import AttentionOverride, Source
from uniedit_jax.method.plan import EditPlan
from uniedit_jax.method.rows import RowPlan, Rows, Step
from uniedit_jax.pipeline.model import unet_apply

SOURCE, MAIN = Branch('reconstruction'), Branch('main')


class Setup(NamedTuple):
  """What is known of an edit before anything is loaded.

  Attributes:
    steps, frames, blocks: their numbers S, F, L.
    uncond, source, inverted, target: the numbers of the texts of the unconditional half, of the
      source, of the inversion and of the edit.
    prompts: all texts.
    tokenizer: has `encode` (list of P prompts -> i32[P, T]).
    seed: of every random number.
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
    """bool[L], which blocks are in a half-open range that is written for 16 blocks."""
    place = np.arange(self.blocks)
    return (place >= round(first * self.blocks / BLOCKS)) & (
      place < round(last * self.blocks / BLOCKS)
    )


class Run(NamedTuple):
  """An edit that is to be made.

  Attributes:
    model: `checkpoint.Model`.
    clip: u8[F, 8 H, 8 W, 3], the source.
    latents: f32[F, H, W, C], z_0, the encoded source.
    texts: f32[P, T, E], all encoded prompts.
    setup: `Setup`.
    layout: the method's `EditPlan`.
    schedule: `NoiseSchedule`.
    guidance: scale of classifier-free guidance.
    dtype: compute dtype.
    progress: label -> wrapper of an iterable.
  """

  model: Any
  clip: np.ndarray
  latents: np.ndarray
  texts: Any
  setup: Setup
  layout: EditPlan
  schedule: Any
  guidance: float
  dtype: str
  progress: Any


class Row(NamedTuple):
  """A row of a step: a branch, and the number of its text."""

  branch: Branch
  text: int


def lay_out_rows(rows, routes):
  """A layout whose rows the method itself has chosen; a reconstruction among them is a stored
  trajectory.

  `rows.plan_rows` knows branches whose halves read alike; here one half is edited alone, or both
  read one row. Of a branch, the first row is the unconditional half and the last the conditional
  one; a single row is both.

  Args:
    rows: list of S lists of `Row`, the first of which has all branches.
    routes: S times `AttentionOverride` with leaves [R, L, ...].

  Returns:
    `EditPlan` that wants `MAIN`.
  """
  branches = tuple(dict.fromkeys(row.branch for row in rows[0]))
  texts, steps = np.zeros((len(rows), len(branches), 2), np.int32), []
  for i, (here, table) in enumerate(zip(rows, routes, strict=True)):
    halves = np.zeros((2, len(branches)), np.int32)
    for k, branch in enumerate(branches):
      own = [r for r, row in enumerate(here) if row.branch == branch]
      if own:
        halves[:, k] = own[0], own[-1]
        texts[i, k] = here[own[0]].text, here[own[-1]].text
    branch, text = np.array([(branches.index(row.branch), row.text) for row in here], np.int32).T
    steps.append(
      Step((Rows(branch, text, table),), *halves, np.array([b == MAIN for b in branches]))
    )
  stored = np.array([[branch == SOURCE for branch in branches]] * len(rows))
  return EditPlan(branches, texts, RowPlan(tuple(steps)), ('main',), stored)


def own_routes(rows, blocks, frames=None):
  """`AttentionOverride` of i32[R, L] in which every row reads queries and keys of its own.

  Args:
    rows, blocks: their numbers R, L.
    frames: i32[L, F, X], the frames that each row reads, or None.
  """
  own = np.broadcast_to(np.arange(rows, dtype=np.int32)[:, None], (rows, blocks))
  frames = None if frames is None else np.stack([frames] * rows)
  return AttentionOverride(spatial_q=Source(own, own), spatial_k=Source(own, own), frames=frames)


def read(routes, slot, reader, source, blocks):
  """`routes` in which row `reader` reads a slot of row `source`, in some blocks.

  Args:
    routes: `AttentionOverride` with leaves [R, L, ...].
    slot: name of a field that is a `Source`, or has one.
    reader, source: rows.
    blocks: numbers of blocks.
  """
  whole = getattr(routes, slot)
  table = getattr(whole, 'source', whole).inside.copy()
  table[reader, blocks] = source
  changed = Source(table, table)
  return routes._replace(
    **{slot: whole._replace(source=changed) if hasattr(whole, 'source') else changed}
  )


@functools.cache
def denoiser(config, dtype, temporal=True, remat=False):
  """The UNet as `inversion` wants it; its parameters are the pair (parameters, routes with leaves
  [L, ...]).
  """
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
    *(denoiser(run.model.config, run.dtype, temporal), (params, routes), run.latents),
    *(run.texts[run.setup.inverted], run.schedule, run.setup.steps),
    progress=run.progress('invert'),
  )
