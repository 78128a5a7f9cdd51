"""Sampling, DDIM inversion and null-text optimisation with the UNet of `torch_peer.py`.

They compute what `sampling.sample`, `inversion.ddim_invert` and `inversion.optimise_null_text` do,
with channels before the grid. Tables go to the device before a loop starts, and no loop waits for
the device.
"""

import numpy as np
import torch

from experiments.benchmark.torch_peer import routes_of
from uniedit_jax.method.diffusion import ddim_update, sampler_updates


@torch.no_grad()
def sample(unet, latents, texts, plan, schedule, guidance, trajectory=None):
  """`sampling.sample` of a `UNet`, compiled or not: f32[K, F, C, H, W].

  The plan has no masks; one with stored steps needs the trajectory f32[S + 1, F, C, H, W].
  """
  # Tables of all steps, on the device.
  count, device = len(plan.steps), latents.device
  table = lambda x: torch.from_numpy(np.array(x)).to(device)
  index = lambda x: table(np.int64(x))
  switch = lambda x: table(x)[:, None, None, None, None]
  passes = [
    [(index(rows.branch), texts[index(rows.text)], routes_of(rows, device)) for rows in step.passes]
    for step in plan.steps
  ]
  halves = [(index(step.uncond), index(step.cond), switch(step.updated)) for step in plan.steps]
  stored = [switch(step.stored) if step.stored.any() else None for step in plan.steps]
  timesteps = _timesteps(schedule.timesteps(count), device)
  updates = sampler_updates('ddim', schedule.levels(count))

  # The steps.
  for i in range(count):
    epsilon = torch.cat(
      [unet(latents[branch], timesteps[i], text, routes) for branch, text, routes in passes[i]]
    )
    uncond, cond, updated = halves[i]
    uncond, cond = epsilon[uncond], epsilon[cond]
    moved = _move(updates[i], latents, uncond + guidance * (cond - uncond))
    latents = torch.where(updated, moved, latents)
    if stored[i] is not None:
      latents = torch.where(stored[i], trajectory[count - 1 - i], latents)
  return latents


@torch.no_grad()
def ddim_invert(unet, latents, text, schedule, steps):
  """`inversion.ddim_invert` of f32[F, C, H, W] without guidance, by f32[T, E]: one row a step.

  Returns:
    f32[S + 1, F, C, H, W]: z_0, ..., z_T.
  """
  timesteps = _timesteps(schedule.timesteps(steps)[::-1], latents.device)
  levels = schedule.levels(steps)[::-1]
  trajectory = [latents]
  for i in range(steps):
    epsilon = unet(trajectory[-1][None], timesteps[i], text[None])[0]
    update = ddim_update(levels[i], levels[i + 1])
    trajectory.append(_move(update, trajectory[-1], epsilon))
  return torch.stack(trajectory)


def optimise_null_text(
  unet, trajectory, text, null_text, schedule, *, guidance=7.5, inner_steps=10
):
  """`inversion.optimise_null_text` without its early stop: every step takes all inner steps.

  Channels come before the grid; a UNet with `remat` saves memory.

  Returns:
    (texts f32[S, T, E], losses f32[S, inner_steps] before each update, latents f32[S, F, C, H, W]
    after every step).
  """
  steps = len(trajectory) - 1
  timesteps = _timesteps(schedule.timesteps(steps), text.device)
  updates = sampler_updates('ddim', schedule.levels(steps))

  def denoise(i, latents, uncond, cond):
    """The latents after step i."""
    epsilon = unet(latents[None], timesteps[i], uncond[None])[0]
    return _move(updates[i], latents, epsilon + guidance * (cond - epsilon))

  latents, uncond = trajectory[-1], null_text.detach().clone()
  rows = []
  for i in range(steps):
    with torch.no_grad():
      cond = unet(latents[None], timesteps[i], text[None])[0]

    # The null text that leads to the next latents of the trajectory.
    uncond = uncond.clone().requires_grad_()
    adam, losses = torch.optim.Adam([uncond], lr=1e-2 * (1 - i / 100)), []
    for _ in range(inner_steps):
      moved = denoise(i, latents, uncond, cond)
      loss = torch.nn.functional.mse_loss(moved, trajectory[steps - 1 - i])
      adam.zero_grad()
      loss.backward()
      adam.step()
      losses.append(loss.detach())
    uncond = uncond.detach()

    # The step with this text.
    with torch.no_grad():
      latents = denoise(i, latents, uncond, cond)
    rows.append((uncond, torch.stack(losses), latents))
  return tuple(map(torch.stack, zip(*rows, strict=True)))


def _timesteps(timesteps, device):
  """Timesteps as tensors; as numbers, each would be the constant of another compiled program."""
  return [torch.tensor(int(timestep), device=device) for timestep in timesteps]


def _move(update, latents, epsilon):
  """Latents after a `diffusion.Update` by DDIM."""
  return float(update.latents) * latents + float(update.noise) * epsilon
