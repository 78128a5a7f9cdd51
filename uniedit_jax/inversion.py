"""From a clip's latents to the latents that sampling starts from.

`ddim_invert` walks the DDIM update backwards. *Direct* inversion is the same walk: its trajectory is kept, and the
reconstruction reads it at every step instead of being sampled. `optimise_null_text` repairs the drift of guided
sampling by optimising the unconditional text of every step.

All take a callable `denoise(params, latents f[F, H, W, C], timestep i32[], text f[T, E]) -> epsilon f32[F, H, W, C]`;
keep it the same object from call to call so that programs are reused.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from uniedit_jax.diffusion import ddim_step, guide


@functools.partial(jax.jit, static_argnums=0)
def _invert_step(denoise, params, latents, texts, timestep, alpha_from, alpha_to, guidance):
  """Predicts the noise at the noisier level's timestep and moves there; texts f[1 or 2, T, E]: (uncond,) cond."""
  # One half after the other: the same program body, and the memory of one row.
  halves = jax.lax.map(lambda text: denoise(params, latents, timestep, text), texts)
  return ddim_step(latents, guide(halves[0], halves[-1], guidance), alpha_from, alpha_to)


def ddim_invert(denoise, params, latents, text, schedule, steps, *, guidance=1.0, null_text=None, progress=iter):
  """DDIM inversion (of the DDIM paper; the paper inverts real videos with the null prompt and no guidance).

  Args:
    denoise: see the module's docstring.
    params: its parameters.
    latents: f32[F, H, W, C], the encoded clip z_0.
    text: f[T, E], the prompt to invert with: null for a real video in the paper.
    schedule: `NoiseSchedule`.
    steps: number of steps S.
    guidance: scale of classifier-free guidance; 1 is none.
    null_text: f[T, E], the encoded null prompt; needed for guidance other than 1. A `null_text` that is `text`
      itself (the same object) needs no second half.
    progress: wraps the iterable of step indices.

  Returns:
    f32[S + 1, F, H, W, C]: z_0, ..., z_T.

  Raises:
    ValueError: guidance without a null text.
  """
  if guidance != 1.0 and null_text is None:
    raise ValueError(f'inversion guidance is {guidance} without a null text; accepted: 1, or give null_text')
  guided = guidance != 1.0 and null_text is not text
  texts = jnp.stack([null_text, text] if guided else [text])
  timesteps, levels = schedule.timesteps(steps)[::-1], schedule.levels(steps)[::-1]
  trajectory = [jnp.asarray(latents, jnp.float32)]
  for i in progress(range(steps)):
    moved = _invert_step(
      *(denoise, params, trajectory[-1], texts, timesteps[i], levels[i], levels[i + 1], np.float32(guidance))
    )
    trajectory.append(jax.block_until_ready(moved))
  return jnp.stack(trajectory)


class NullText(NamedTuple):
  """What null-text inversion found.

  Attributes:
    texts: f32[S, T, E], the unconditional text of every denoising step.
    losses: f32[S, inner_steps], the loss before each update; nan after a step has stopped early.
    latents: f32[S, F, H, W, C], the reconstruction after every step.
  """

  texts: jax.Array
  losses: jax.Array
  latents: jax.Array


@functools.partial(jax.jit, static_argnums=(0, 6))
def _null_text_step(denoise, params, latents, target, cond, uncond, inner_steps, numbers):
  """Optimises the unconditional text of one step; `numbers` holds the step's scalars."""
  timestep, alpha_from, alpha_to, guidance, learning_rate, threshold = numbers
  epsilon_cond = denoise(params, latents, timestep, cond)
  adam = optax.adam(learning_rate)

  def denoised(uncond):
    epsilon = guide(denoise(params, latents, timestep, uncond), epsilon_cond, guidance)
    return ddim_step(latents, epsilon, alpha_from, alpha_to)

  def unfinished(carry):
    _, _, losses, j = carry
    return (j < inner_steps) & ~((j > 0) & (losses[j - 1] < threshold))

  def update(carry):
    uncond, state, losses, j = carry
    loss, gradient = jax.value_and_grad(lambda text: jnp.mean((denoised(text) - target) ** 2))(uncond)
    change, state = adam.update(gradient, state)
    return optax.apply_updates(uncond, change), state, losses.at[j].set(loss), j + 1

  losses = jnp.full(inner_steps, jnp.nan)
  uncond, _, losses, _ = jax.lax.while_loop(unfinished, update, (uncond, adam.init(uncond), losses, 0))
  return uncond, denoised(uncond), losses


def optimise_null_text(
  denoise, params, trajectory, text, null_text, schedule, *, guidance=7.5, inner_steps=10, epsilon=1e-5, progress=iter
):
  """Null-text inversion: one optimised unconditional text per step, each starting from the one before.

  Adam with a fresh state in every step i and learning rate 1e-2 (1 - i / 100); a step stops after the update whose
  loss was below epsilon + 2e-5 i (null-text inversion of Mokady et al.; the numbers are the UniEdit release's).

  Args:
    denoise, params, schedule: as in `ddim_invert`; a `denoise` with rematerialisation saves much memory here.
    trajectory: f32[S + 1, F, H, W, C] of an unguided `ddim_invert` with `text`.
    text: f[T, E], the source prompt.
    null_text: f[T, E], the encoded null prompt that the first step starts from.
    guidance: scale of classifier-free guidance of the sampling to be repaired.
    inner_steps: most updates in a step.
    epsilon: loss below which the first step stops.
    progress: wraps the iterable of step indices.

  Returns:
    `NullText`.
  """
  steps = len(trajectory) - 1
  timesteps, levels = schedule.timesteps(steps), schedule.levels(steps)
  uncond, latents = jnp.asarray(null_text, jnp.float32), trajectory[-1]
  found = []
  for i in progress(range(steps)):
    learning_rate, threshold = 1e-2 * (1 - i / 100), epsilon + 2e-5 * i
    numbers = [timesteps[i], *np.float32([levels[i], levels[i + 1], guidance, learning_rate, threshold])]
    uncond, latents, losses = jax.block_until_ready(
      _null_text_step(denoise, params, latents, trajectory[steps - 1 - i], text, uncond, inner_steps, numbers)
    )
    found.append((uncond, losses, latents))
  return NullText(*map(jnp.stack, zip(*found, strict=True)))
