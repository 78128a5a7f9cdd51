"""Sampling: a Python loop over one jitted step, in which all rows of an edit are vmapped together.

Everything that an ablation changes (routes, texts, timesteps, noise levels, guidance, masks) enters
the step as data. A program depends only on the number of rows, the shapes, and which slots have
masks: a changed value never recompiles.

Edits are outermost: B of them are sampled side by side, sharded over the mesh axis 'data'. A single
edit is a batch of one on a mesh of one device.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from uniedit_jax.method.diffusion import NoiseSchedule, Update, guide, sampler_updates
from uniedit_jax.method.finite import FiniteCheck, NotFiniteError
from uniedit_jax.method.overrides import EDIT_AXIS, ROW_AXIS


class Network(NamedTuple):
  """The UNet as a function.

  Attributes:
    apply: `unet.apply`; kept the same object from call to call, so that programs are reused.
    params: its parameters, on every device of the mesh.
    checked: whether sampling looks for NaN and infinity after every step.
  """

  apply: Callable
  params: Any
  checked: bool = True


@dataclasses.dataclass(frozen=True)
class Sampler:
  """How the noise of a step moves the latents.

  Attributes:
    schedule: noise schedule of the network.
    steps: number of denoising steps S.
    guidance: scale of classifier-free guidance; 1 is none.
    kind: 'ddim' or 'obelm' (`diffusion.sampler_updates`).
  """

  schedule: NoiseSchedule
  steps: int = 50
  guidance: float = 7.5
  kind: str = 'ddim'


class Conditioning(NamedTuple):
  """What an edit is conditioned on.

  Attributes:
    texts: f[P, T, E], all encoded prompts.
    masks: dict of `TokenMasks` by grid (`token_masks.token_masks`), or None.
    trajectory: f32[S + 1, F, H, W, C], latents of the inversion, cleanest first; needed by a plan
      with stored steps.
    clean: changes of the latents before each of the S updates (`StepInputs.clean`), or None.
  """

  texts: jax.Array
  masks: Any = None
  trajectory: Any = None
  clean: Sequence[Any] | None = None


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
    apply, params: `Network`.
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


def move_branches(apply, params, latents, before, texts, rows, inputs, masks, earlier):
  """One denoising step: predicts the rows of its last pass, then moves the latents of all branches.

  Args:
    apply, params, latents, texts, rows, masks: as in `predict_rows`.
    before: f32[K, F, H, W, C], the latents before the last step; any for a step that does not read
      them.
    inputs: `StepInputs`.
    earlier: list of f32[R, F, H, W, C], the noise of earlier passes; empty where the step has one
      pass.

  Returns:
    f32[K, F, H, W, C], and those before it, which are `latents`.
  """
  epsilon = predict_rows(apply, params, latents, texts, rows, inputs.timestep, masks)
  epsilon = jnp.concatenate([*earlier, epsilon])
  epsilon = guide(epsilon[inputs.uncond], epsilon[inputs.cond], inputs.guidance)
  seen = latents if inputs.clean is None else inputs.clean(latents, epsilon)
  moved = inputs.update(before, seen, epsilon)
  choose = lambda flags, a, b: jnp.where(flags[:, None, None, None, None], a, b)
  return choose(inputs.stored, inputs.trajectory, choose(inputs.updated, moved, latents)), latents


def _over_edits(function):
  """Maps a function of one edit over edits [B, ...], sharded over the mesh axis 'data'."""

  def mapped(apply, mesh, params, *inputs):
    def edits(params, *inputs):
      return jax.vmap(functools.partial(function, apply, params), axis_name=EDIT_AXIS)(*inputs)

    specs = (PartitionSpec(), *(PartitionSpec('data') for _ in inputs))
    # shard_map, so that kernels which do not partition under jit run unchanged; no edit sees
    # another.
    sharded = jax.shard_map(edits, mesh=mesh, in_specs=specs, out_specs=specs[-1], check_vma=False)
    return sharded(params, *inputs)

  mapped.__name__ = function.__name__
  return mapped


# (apply, mesh, params, ...): all other arguments of `predict_rows` and `move_branches` gain B.
predict = jax.jit(_over_edits(predict_rows), static_argnums=(0, 1))
step = jax.jit(_over_edits(move_branches), static_argnums=(0, 1), donate_argnums=(3, 4))


def sample(
  network, latents, plans, samplers, conditionings, *, mesh=None, visit=None, progress=iter
):
  """Samples all branches of B edits, side by side.

  Args:
    network: `Network`.
    latents: f32[B, K, F, H, W, C], the start latents of every branch. B is a multiple of the mesh's
      size: the caller pads the tail.
    plans: B `EditPlan` whose row tables are equal.
    samplers: B `Sampler` of one number of steps S.
    conditionings: B `Conditioning`, alike in what they have.
    mesh: a mesh with the axis 'data'; None: the device of the parameters.
    visit: called before every step with its index and a copy of the latents; or None.
    progress: wraps the iterable of step indices, as tqdm does.

  Returns:
    f32[B, K, F, H, W, C]; meaningful for the branches that the plans want.

  Raises:
    ValueError: row tables that differ, or a batch that the mesh does not divide.
    NotFiniteError: latents of an edit are not finite; it ends when none are.
  """
  mesh = mesh or mesh_of(network.params)
  if any(plan.phases != plans[0].phases for plan in plans):
    tables = [plan.phases for plan in plans]
    raise ValueError(f'plans have the row tables {tables}; accepted: equal ones')
  if len(plans) % mesh.size:
    fault = f'{len(plans)} edits on {mesh.size} devices'
    raise ValueError(f'{fault}; accepted: a multiple of the number of devices')
  edits = zip(plans, samplers, conditionings, strict=True)
  given = [inputs_of(*edit, latents.shape[1:]) for edit in edits]
  params = jax.device_put(network.params, of_all(mesh))
  on_mesh = functools.partial(jax.device_put, device=of_edits(mesh))
  texts = on_mesh(stack_texts([conditioning.texts for conditioning in conditionings]))
  masks = on_mesh(_stack([conditioning.masks for conditioning in conditionings]))
  latents = np.asarray(latents, np.float32)
  # Two arrays, as both are donated.
  latents, before = on_mesh(latents), on_mesh(latents.copy())
  check, count = FiniteCheck(plans, network.checked), len(plans[0].steps)
  for i in progress(range(count)):
    if check.failed(latents, i):
      break
    if visit:
      visit(i, np.asarray(latents))
    inputs = _stack([steps[i] for steps in given])
    *passes, last = _stack([plan.steps[i].passes for plan in plans])
    earlier = [
      predict(network.apply, mesh, params, latents, texts, rows, inputs.timestep, masks)
      for rows in passes
    ]
    latents, before = step(
      network.apply, mesh, params, latents, before, texts, last, inputs, masks, earlier
    )
    # Progress, interruption and seconds per step are true only if the step is waited for.
    jax.block_until_ready(latents)
  check.stop(latents, count)
  return latents


def sample_edits(
  network, starts, plans, samplers, conditionings, *, mesh=None, visit=None, progress=iter
):
  """Samples B edits, all branches of each from the same latents.

  Arguments as of `sample`, but `starts`: B times f32[F, H, W, C], the inverted latents z_T.

  Returns:
    list of B dicts {`Branch`: f32[F, H, W, C], numpy} of the branches that the plans want; a stored
    reconstruction is `trajectory[0]`. An edit that is not finite is a FloatingPointError instead.

  Raises:
    ValueError: as `sample`.
  """
  branches = plans[0].branches
  latents = np.stack([np.asarray(start, np.float32) for start in starts])
  latents = np.repeat(latents[:, None], len(branches), axis=1)
  errors = [None] * len(plans)
  try:
    sampled = sample(
      network, latents, plans, samplers, conditionings, mesh=mesh, visit=visit, progress=progress
    )
  except NotFiniteError as error:
    sampled, errors = error.latents, error.errors
  return [
    error or {b: edited[k] for k, b in enumerate(branches) if b.kind in plans[0].wanted}
    for edited, error in zip(np.asarray(sampled), errors, strict=True)
  ]


def sample_edit(network, start, plan, sampler, conditioning, *, visit=None, progress=iter):
  """`sample_edits` of one edit: dict {`Branch`: f32[F, H, W, C], numpy}; raises its error."""
  (edited,) = sample_edits(
    network, [start], [plan], [sampler], [conditioning], visit=visit, progress=progress
  )
  if isinstance(edited, Exception):
    raise edited
  return edited


def inputs_of(plan, sampler, conditioning, shape):
  """The `StepInputs` of every step of one edit whose latents are f32[*shape] = [K, F, H, W, C]."""
  count = len(plan.steps)
  timesteps = sampler.schedule.timesteps(count)
  updates = sampler_updates(sampler.kind, sampler.schedule.levels(count))
  nothing = np.zeros(shape[1:], np.float32)
  inputs = []
  for i, planned in enumerate(plan.steps):
    stored = planned.stored.any()
    inputs.append(
      StepInputs(
        timestep=timesteps[i],
        update=updates[i],
        guidance=np.float32(sampler.guidance),
        uncond=planned.uncond,
        cond=planned.cond,
        updated=planned.updated,
        stored=planned.stored,
        trajectory=conditioning.trajectory[count - 1 - i] if stored else nothing,
        clean=conditioning.clean and conditioning.clean[i],
      )
    )
  return inputs


def stack_texts(texts):
  """B times f[P, T, E] as f[B, P, T, E]; fewer prompts are filled up with the first."""
  most = max(len(text) for text in texts)
  texts = [np.asarray(text) for text in texts]
  return np.stack([np.concatenate([t, np.repeat(t[:1], most - len(t), axis=0)]) for t in texts])


def mesh_of(params):
  """A mesh of one device: that of the parameters, or the first of this process."""
  leaf = jax.tree.leaves(params)[0]
  device = next(iter(leaf.devices())) if isinstance(leaf, jax.Array) else jax.local_devices()[0]
  return Mesh(np.array([device]), ('data',))


def of_edits(mesh):
  """The sharding of arrays whose first axis is of edits.

  Between steps arrays keep it only if the parameters are of `of_all`, and on one device only if it
  is that too; else the second step compiles again.
  """
  return NamedSharding(mesh, PartitionSpec('data')) if mesh.size > 1 else of_all(mesh)


def of_all(mesh):
  """The sharding of arrays that every device of the mesh holds, such as the parameters."""
  return NamedSharding(mesh, PartitionSpec())


def _stack(trees):
  """Trees of equal structure as one whose leaves gain the axis B."""
  return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
