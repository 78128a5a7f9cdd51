"""Sampling: a Python loop over one jitted step, in which all rows of an edit are vmapped together.

Everything that an ablation changes (routes, texts, timesteps, noise levels, guidance, masks) enters
the step as data. A program depends only on the number of rows, the shapes, and which slots have
masks: a changed value never recompiles.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from uniedit_jax.method.diffusion import Update, guide, sampler_updates
from uniedit_jax.method.overrides import EDIT_AXIS, ROW_AXIS


class StepInputs(NamedTuple):
  """How a step moves the latents of all K branches, once the noise of its rows is known.

  Attributes:
    timestep: i32[].
    update: `Update`.
    guidance: f32[].
    uncond, cond: i32[K], the rows of each branch's halves; updated: bool[K] (see `rows.Step`).
    stored: bool[K], branches that take `trajectory` instead.
    trajectory: f32[F, H, W, C], the stored latents after this step.
    clean: maps (latents, noise) to the latents f32[K, F, H, W, C] that `update` moves; None leaves
      them as they are. A pytree with `__call__`.
  """

  timestep: jax.Array
  update: Update
  guidance: jax.Array
  uncond: jax.Array
  cond: jax.Array
  updated: jax.Array
  stored: jax.Array
  trajectory: jax.Array
  clean: Any = None


def predict_rows(apply, params, latents, texts, rows, timestep, masks=None):
  """Predicts the noise of all rows side by side; this is where the row axis is bound.

  Args:
    apply: `unet.apply`.
    params: the UNet's parameters.
    latents: f32[K, F, H, W, C], of every branch.
    texts: f[P, T, E], all encoded prompts of the run.
    rows: `rows.Rows` of R rows.
    timestep: i32[].
    masks: dict of `TokenMasks`, shared by all rows, or None.

  Returns:
    f32[R, F, H, W, C].
  """

  def row(branch, text, routes):
    return apply({'params': params}, latents[branch], timestep, texts[text], routes, masks)[0]

  return jax.vmap(row, axis_name=ROW_AXIS)(*rows)


def move_branches(apply, params, latents, before, texts, rows, move, masks, earlier):
  """One denoising step: predicts the rows of its last pass, then moves the latents of all branches.

  Args:
    apply, params, latents, texts, rows, masks: as in `predict_rows`.
    before: f32[K, F, H, W, C], the latents before the last step; any for a step that does not read
      them.
    move: `Move`.
    earlier: list of f32[R, F, H, W, C], the noise of earlier passes; empty where the step has one
      pass.

  Returns:
    f32[K, F, H, W, C], and those before it, which are `latents`.
  """
  epsilon = predict_rows(apply, params, latents, texts, rows, move.timestep, masks)
  epsilon = jnp.concatenate([*earlier, epsilon])
  epsilon = guide(epsilon[move.uncond], epsilon[move.cond], move.guidance)
  seen = latents if move.clean is None else move.clean(latents, epsilon)
  moved = move.update(before, seen, epsilon)
  choose = lambda flags, a, b: jnp.where(flags[:, None, None, None, None], a, b)
  return choose(move.stored, move.trajectory, choose(move.updated, moved, latents)), latents


predict = jax.jit(predict_rows, static_argnums=0)
step = jax.jit(move_branches, static_argnums=0, donate_argnums=(2, 3))


@functools.cache
def over_edits(function, mesh):
  """Maps `predict_rows` or `move_branches` over edits [B, ...], sharded over the mesh axis 'data'."""

  def mapped(apply, params, *inputs):
    edits = lambda params, *inputs: jax.vmap(
      functools.partial(function, apply, params), axis_name=EDIT_AXIS
    )(*inputs)
    specs = (PartitionSpec(), *(PartitionSpec('data') for _ in inputs))
    # shard_map, so that kernels which do not partition under jit run unchanged; no edit sees
    # another.
    return jax.shard_map(edits, mesh=mesh, in_specs=specs, out_specs=specs[-1], check_vma=False)(
      params, *inputs
    )

  return jax.jit(
    mapped, static_argnums=0, donate_argnums=(2, 3) if function is move_branches else ()
  )


def sample(
  apply,
  params,
  latents,
  texts,
  plan,
  schedule,
  guidance=7.5,
  *,
  masks=None,
  stored=None,
  trajectory=None,
  sampler='ddim',
  clean=None,
  visit=None,
  progress=iter,
):
  """Samples all branches of one edit.

  Args:
    apply: `unet.apply`, kept the same object from call to call so that programs are reused.
    params: the UNet's parameters.
    latents: f32[K, F, H, W, C], the start latents of every branch; donated.
    texts: f[P, T, E], all encoded prompts.
    plan: `rows.RowPlan` of S steps.
    schedule: `NoiseSchedule`.
    guidance: scale of classifier-free guidance.
    masks: dict of `TokenMasks` (`token_masks.token_masks`) or None.
    stored: bool[S, K], branches that take `trajectory` after a step, or None.
    trajectory: f32[S + 1, F, H, W, C], latents of the inversion, cleanest first; needed with
      `stored`.
    sampler: 'ddim' or 'obelm' (`diffusion.sampler_updates`).
    clean: S `StepInputs.clean`, or None.
    visit: called before every step with its index and the latents f32[K, F, H, W, C], to be copied
      if kept; or None.
    progress: wraps the iterable of step indices, as tqdm does.

  Returns:
    f32[K, F, H, W, C]; meaningful for the branches that the plan was asked for.
  """
  run = functools.partial(predict, apply, params), functools.partial(step, apply, params)
  # Where the parameters are committed to a device, so is the result of a step. Start latents that
  # are not would make the second step compile again.
  beside = jax.tree.leaves(params)[0]
  if getattr(beside, 'committed', False):
    latents = jax.device_put(latents, beside.sharding)
  moves = moves_of(plan.steps, schedule, guidance, latents.shape, stored, trajectory, sampler)
  if clean is not None:
    moves = [move._replace(clean=change) for move, change in zip(moves, clean, strict=True)]
  return _loop(run, latents, texts, plan.steps, moves, masks, progress, visit)


def sample_batch(
  apply,
  params,
  latents,
  texts,
  plans,
  schedule,
  guidances,
  *,
  mesh,
  masks=None,
  stored=None,
  trajectories=None,
  sampler='ddim',
  progress=iter,
):
  """Samples B independent edits side by side, edits outermost, sharded over the mesh axis 'data'.

  Args:
    latents: f32[B, K, F, H, W, C]; donated. B is a multiple of the mesh's size: the caller pads the
      tail.
    texts: f[B, P, T, E].
    plans: B plans whose row tables are equal.
    guidances: B scales.
    masks: dict of `TokenMasks` with leaves [B, F, N, 1] or None.
    mesh: a mesh with the axis 'data'.
    stored: bool[S, K], of all edits, or None.
    trajectories: f32[B, S + 1, F, H, W, C]; needed with `stored`.
    apply, params, schedule, sampler, progress: as in `sample`.

  Returns:
    f32[B, K, F, H, W, C].

  Raises:
    ValueError: row tables that differ, or a batch that the mesh does not divide.
  """
  if any(plan.phases != plans[0].phases for plan in plans):
    raise ValueError(
      f'plans have the row tables {[plan.phases for plan in plans]}; accepted: equal ones'
    )
  if len(plans) % mesh.size:
    raise ValueError(
      f'{len(plans)} edits on {mesh.size} devices; accepted: a multiple of the number of devices'
    )
  run = tuple(
    functools.partial(over_edits(f, mesh), apply, params) for f in (predict_rows, move_branches)
  )
  stack = lambda per_edit: jax.tree.map(lambda *leaves: np.stack(leaves), *per_edit)
  steps = [stack(steps) for steps in zip(*(plan.steps for plan in plans), strict=True)]
  trajectories = [None] * len(plans) if trajectories is None else trajectories
  moves = [
    moves_of(plan.steps, schedule, guidance, latents.shape[1:], stored, trajectory, sampler)
    for plan, guidance, trajectory in zip(plans, guidances, trajectories, strict=True)
  ]
  latents = jax.device_put(latents, NamedSharding(mesh, PartitionSpec('data')))
  return _loop(
    run, latents, texts, steps, [stack(m) for m in zip(*moves, strict=True)], masks, progress
  )


def moves_of(steps, schedule, guidance, shape, stored=None, trajectory=None, sampler='ddim'):
  """The `Move` of every step: `rows.Step`s, latents f32[*shape] of all branches; the others as in
  `sample`.
  """
  count = len(steps)
  timesteps, updates = schedule.timesteps(count), sampler_updates(sampler, schedule.levels(count))
  stored = np.zeros((count, shape[0]), bool) if stored is None else stored
  nothing = np.zeros(shape[1:], np.float32)
  return [
    StepInputs(
      *(timesteps[i], updates[i], np.float32(guidance)),
      *(steps[i].uncond, steps[i].cond, steps[i].updated),
      *(stored[i], trajectory[count - 1 - i] if stored[i].any() else nothing),
    )
    for i in range(count)
  ]


def _loop(run, latents, texts, steps, moves, masks, progress, visit=None):
  predict, step = run
  before = jnp.copy(latents)  # as both are donated
  for i in progress(range(len(steps))):
    if visit:
      visit(i, latents)
    *passes, last = steps[i].passes
    earlier = [predict(latents, texts, rows, moves[i].timestep, masks) for rows in passes]
    latents, before = step(latents, before, texts, last, moves[i], masks, earlier)
    # Progress, interruption and seconds per step are true only if the step is waited for.
    jax.block_until_ready(latents)
  return latents


def edit(
  apply, params, start, texts, layout, schedule, guidance=7.5, *, trajectory=None, **options
):
  """Edits one clip: all branches start from the same latents.

  Args:
    start: f32[F, H, W, C], the inverted latents z_T.
    layout: `EditPlan`.
    trajectory: f32[S + 1, F, H, W, C], needed for a layout with stored steps.
    apply, params, texts, schedule, guidance: as in `sample`.
    **options: `masks`, `sampler`, `visit` and `progress` of `sample`.

  Returns:
    dict {`Branch`: f32[F, H, W, C]} of the branches that the layout wants; a stored reconstruction
    is `trajectory[0]`.
  """
  latents = np.repeat(np.asarray(start, np.float32)[None], len(layout.branches), axis=0)
  latents = sample(
    *(apply, params, latents, texts, layout.plan, schedule, guidance),
    **dict(stored=layout.stored, trajectory=trajectory, **options),
  )
  branches = zip(layout.branches, latents, strict=True)
  return {branch: latents for branch, latents in branches if branch.kind in layout.wanted}


def edit_batch(
  apply, params, starts, texts, layouts, schedule, guidances, *, mesh, trajectories=None, **options
):
  """Edits B clips side by side, each as `edit` would.

  Args:
    starts: f32[B, F, H, W, C], the inverted latents.
    texts: f[B, P, T, E].
    layouts: B `EditPlan` with the same branches, wanted kinds and row tables.
    trajectories: f32[B, S + 1, F, H, W, C], needed for layouts with stored steps.
    apply, params, schedule, guidances, mesh: as in `sample_batch`.
    **options: `masks`, `sampler` and `progress` of `sample_batch`.

  Returns:
    list of B dicts {`Branch`: f32[F, H, W, C]} of the branches that the layouts want.

  Raises:
    ValueError: see `sample_batch`.
  """
  first = layouts[0]
  latents = jnp.repeat(jnp.asarray(starts, jnp.float32)[:, None], len(first.branches), axis=1)
  latents = sample_batch(
    *(apply, params, latents, texts, [layout.plan for layout in layouts], schedule, guidances),
    **dict(mesh=mesh, stored=first.stored, trajectories=trajectories, **options),
  )
  wanted = [k for k, branch in enumerate(first.branches) if branch.kind in first.wanted]
  return [{first.branches[k]: edited[k] for k in wanted} for edited in latents]
