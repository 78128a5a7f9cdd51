"""Records attention maps, spatial queries and predicted clean clips at chosen steps of an edit.

All of it is predicted separately, so nothing that is sampled changes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method.diffusion import guide
from uniedit_jax.method.injection import Branch
from uniedit_jax.method.overrides import ROW_AXIS
from uniedit_jax.method.plan import EditPlan

MAPS = ('spatial_q', 'temporal_map', 'text_map')  # of every chosen block


class Inspection(NamedTuple):
  """The step indices (0 = noisiest) and attention blocks to look at.

  `plan` is the `EditPlan` of the edit that computes every row (`exact_savings=False`).
  """

  steps: tuple[int, ...]
  blocks: tuple[int, ...]
  plan: EditPlan


class Look(NamedTuple):
  """Predictions and attention maps of one step, with injections, of branches with current latents.

  Attributes:
    predicted: {branch: f32[F, H, W, C]}, the clean latents that the guided noise points to.
    maps: {block: {name of `MAPS`: {branch: array}}}, of the branch's cond half, mean over heads:
      the queries of SA-S f32[F, N, C] (heads side by side), the maps of SA-T f32[N, F, F] (query
      frame, key frame), of CA-S f32[F, N, T].
  """

  predicted: dict[Branch, np.ndarray]
  maps: dict[int, dict[str, dict[Branch, np.ndarray]]]


def faults(steps, blocks, count, most):
  """Lists the faults of steps and blocks to inspect; a run has `count` steps and `most` blocks."""
  fields = (('steps', steps, count), ('blocks', blocks, most))
  return [
    f'inspect.{name} is {given!r}; accepted: a tuple of numbers from 0 to {limit - 1}'
    for name, given, limit in fields
    if not isinstance(given, tuple) or not all(0 <= number < limit for number in given)
  ]


def known(plan, step):
  """bool[K], the branches whose latents are up to date before a step of a plan that drops rows."""
  if step == 0:
    return np.ones(len(plan.branches), bool)
  return plan.steps[step - 1].updated | plan.steps[step - 1].stored


def look(network, latents, inspection, step, sampler, conditioning):
  """Looks at one step, by its index: the `Look` of all branches.

  Args:
    network: `Network`.
    latents: f32[K, F, H, W, C], of every branch before the step.
    inspection: `Inspection`.
    step, sampler, conditioning: the index of the step, and as in `sampling.sample_edit`.
  """
  plan = inspection.plan
  planned, count = plan.steps[step], len(plan.steps)
  taps = tuple(f'{block}/{name}' for block in inspection.blocks for name in MAPS)
  timestep = sampler.schedule.timesteps(count)[step]
  signal, noise = np.float32(sampler.schedule.levels(count)[step])
  apply, params, _ = network
  texts, masks = conditioning.texts, conditioning.masks
  passes = [
    _predict(apply, params, latents, texts, rows, timestep, masks, taps) for rows in planned.passes
  ]
  epsilon, tapped = jax.tree.map(lambda *parts: np.concatenate(parts), *passes)
  epsilon = guide(epsilon[planned.uncond], epsilon[planned.cond], sampler.guidance)
  predicted = (latents - np.sqrt(noise) * np.asarray(epsilon)) / np.sqrt(signal)
  by_branch = lambda rows: dict(zip(plan.branches, rows, strict=True))
  maps = {
    block: {name: by_branch(tapped[f'{block}/{name}'][planned.cond]) for name in MAPS}
    for block in inspection.blocks
  }
  return Look(by_branch(predicted), maps)


@functools.partial(jax.jit, static_argnums=(0, 7))
def _predict(apply, params, latents, texts, rows, timestep, masks, taps):
  """The noise of all rows, and what is tapped of them, without the axis of heads."""

  def row(branch, text, routes):
    epsilon, tapped = apply(
      {'params': params}, latents[branch], timestep, texts[text], routes, masks, taps
    )
    return epsilon, {name: _without_heads(name.partition('/')[2], x) for name, x in tapped.items()}

  return jax.vmap(row, axis_name=ROW_AXIS)(*rows)


def _without_heads(name, x):
  if name == 'spatial_q':
    return x.reshape(*x.shape[:-2], -1).astype(jnp.float32)
  return x.mean(axis={'temporal_map': 1, 'text_map': 0}[name])


def visitor(network, inspection, plan, sampler, conditioning, show):
  """Makes the `visit` of `sampling.sample_edit`, whose `plan` is sampled; arguments as of `look`.

  `show` gets the step index and its `Look`, without the branches that are not `known`.
  """

  def visit(step, latents):
    if step not in inspection.steps:
      return
    seen = look(network, latents[0], inspection, step, sampler, conditioning)
    up_to_date = zip(plan.branches, known(plan, step), strict=True)
    shown = {branch for branch, is_known in up_to_date if is_known}
    keep = lambda by_branch: {branch: x for branch, x in by_branch.items() if branch in shown}
    maps = {
      block: {name: keep(x) for name, x in by_name.items()} for block, by_name in seen.maps.items()
    }
    show(step, Look(keep(seen.predicted), maps))

  return visit
