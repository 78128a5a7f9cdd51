"""From a clip's latents to the latents that sampling starts from.

| method | how | UNet calls for S steps |
|---|---|---|
| ddim | walks the DDIM update backwards, with the noise of the cleaner latents | S |
| direct | the same walk; the reconstruction is its trajectory, and is not sampled | S |
| fixed_point | predicts the noise again, k times, of the latents a step arrives at | S (k + 1) |
| obelm | inverts the O-BELM sampler, exactly; clips are then sampled with it | S + 8 |
| null_text | ddim, then optimises the unconditional text of every step | S (3 k + 3) |

All take a callable `denoise(params, latents f[F, H, W, C], timestep i32[], text f[T, E]) -> epsilon
f32[F, H, W, C]`; keep it the same object from call to call so that programs are reused.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method.diffusion import ddim_update, guide, obelm_update, sampler_updates

METHODS = ('ddim', 'direct', 'fixed_point', 'obelm', 'null_text')
INNER_STEPS = {'fixed_point': 2, 'null_text': 10}  # unless it is asked for another number
# of the two DDIM steps that O-BELM starts with: in float32 they are exact then
START_INNER_STEPS = 4


def unet_calls(method, steps, inner_steps=0):
  """The UNet calls of an unguided inversion; gradients count as two more, early stops as none."""
  if method == 'null_text':
    return steps * (1 + 1 + 3 * inner_steps + 1)  # inversion; cond, updates, and the step itself
  if method == 'obelm':
    return steps + START_INNER_STEPS * min(steps, 2)
  return steps * (1 + inner_steps)


@functools.partial(jax.jit, static_argnums=0)
def _step(denoise, params, before, latents, seen, texts, timestep, update, guidance):
  """Moves `latents` by the noise that `seen` shows; texts f[1 or 2, T, E]: (uncond,) cond."""
  # One half after the other: the same program body, and the memory of one row.
  halves = jax.lax.map(lambda text: denoise(params, seen, timestep, text), texts)
  return update(before, latents, guide(halves[0], halves[-1], guidance))


def _walk(denoise, params, latents, text, sampler, null_text, progress, *, ddim_steps, inner_steps):
  """From z_0 up through all levels: the first steps by DDIM, the others by O-BELM.

  Each of the `ddim_steps` is repeated `inner_steps` times; other arguments as of `ddim_invert`.
  """
  steps, guidance = sampler.steps, sampler.guidance
  if guidance != 1.0 and null_text is None:
    raise ValueError(
      f'inversion guidance is {guidance} without a null text; accepted: 1, or give null_text'
    )
  guided = guidance != 1.0 and null_text is not text
  texts = jnp.stack([null_text, text] if guided else [text])
  timesteps = sampler.schedule.timesteps(steps)[::-1]
  levels = sampler.schedule.levels(steps)[::-1]

  def move(before, latents, seen, timestep, update):
    scale = np.float32(guidance)
    return _step(denoise, params, before, latents, seen, texts, timestep, update, scale)

  trajectory = [jnp.asarray(latents, jnp.float32)]
  for i in progress(range(steps)):
    here = moved = trajectory[-1]
    if i < ddim_steps:
      for _ in range(1 + inner_steps):
        moved = move(here, here, moved, timesteps[i], ddim_update(*levels[i : i + 2]))
    else:
      update = obelm_update(*levels[i - 1 : i + 2])
      moved = move(trajectory[-2], here, here, timesteps[i - 1], update)
    trajectory.append(jax.block_until_ready(moved))
  return jnp.stack(trajectory)


def ddim_invert(
  denoise, params, latents, text, sampler, *, null_text=None, inner_steps=0, progress=iter
):
  """DDIM inversion; the paper inverts real videos with the null prompt and without guidance.

  A denoising step predicts the noise of the noisier latents, which its inverse does not know yet:
  it predicts that of the cleaner ones at the noisier timestep. `inner_steps` repeat this with the
  latents found so far (fixed-point iteration, as in ReNoise, Garibi et al. 2024), and sampling with
  the same prompt and guidance then comes back.

  Args:
    denoise: see the module's docstring.
    params: its parameters.
    latents: f32[*b, F, H, W, C], the encoded clip z_0.
    text: f[*b, T, E], the prompt to invert with: null for a real video in the paper.
    sampler: `Sampler` of the schedule, of S steps, and of the guidance while inverting (1 = none);
      its kind is not read.
    null_text: f[*b, T, E], the encoded null prompt; needed for guidance other than 1. A `null_text`
      that is `text` itself (the same object) needs no second half.
    inner_steps: repetitions k of every step.
    progress: wraps the iterable of step indices.

  Returns:
    f32[S + 1, *b, F, H, W, C]: z_0, ..., z_T.

  Raises:
    ValueError: guidance without a null text.
  """
  walk = functools.partial(_walk, ddim_steps=sampler.steps, inner_steps=inner_steps)
  return walk(denoise, params, latents, text, sampler, null_text, progress)


def obelm_invert(denoise, params, latents, text, sampler, *, null_text=None, progress=iter):
  """Inverts O-BELM sampling (`diffusion.obelm_update`): the same formula, the levels in reverse.

  Sampling with the same prompt and guidance that starts with z_T and, after its first step, the
  z_{T-1} found here comes back to the clip within rounding. Arguments and results as of
  `ddim_invert`.
  """
  # The sampler's last step is DDIM's; any method may find the latents before its last two.
  walk = functools.partial(_walk, ddim_steps=2, inner_steps=START_INNER_STEPS)
  return walk(denoise, params, latents, text, sampler, null_text, progress)


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
  import optax  # late: other methods do not need it

  timestep, move, guidance, learning_rate, threshold = numbers
  epsilon_cond = denoise(params, latents, timestep, cond)
  adam = optax.adam(learning_rate)

  def denoised(uncond):
    epsilon = guide(denoise(params, latents, timestep, uncond), epsilon_cond, guidance)
    return move(latents, latents, epsilon)

  def unfinished(carry):
    _, _, losses, j = carry
    return (j < inner_steps) & ~((j > 0) & (losses[j - 1] < threshold))

  def update(carry):
    uncond, state, losses, j = carry
    loss, gradient = jax.value_and_grad(lambda text: jnp.mean((denoised(text) - target) ** 2))(
      uncond
    )
    change, state = adam.update(gradient, state)
    return optax.apply_updates(uncond, change), state, losses.at[j].set(loss), j + 1

  losses = jnp.full(inner_steps, jnp.nan)
  uncond, _, losses, _ = jax.lax.while_loop(
    unfinished, update, (uncond, adam.init(uncond), losses, 0)
  )
  return uncond, denoised(uncond), losses


def optimise_null_text(
  denoise, params, trajectory, text, null_text, sampler, inner_steps=10, epsilon=1e-5, progress=iter
):
  """Null-text inversion: one optimised unconditional text a step, each from the one before.

  Adam with a fresh state in every step i and learning rate 1e-2 (1 - i / 100); a step stops after
  the update whose loss was below epsilon + 2e-5 i (null-text inversion of Mokady et al.; the
  numbers are the UniEdit release's).

  Args:
    denoise, params: as in `ddim_invert`; a `denoise` with rematerialisation saves much memory here.
    trajectory: f32[S + 1, F, H, W, C] of an unguided `ddim_invert` with `text`.
    text: f[T, E], the source prompt.
    null_text: f[T, E], the encoded null prompt that the first step starts from.
    sampler: `Sampler` of the sampling to be repaired, of S steps.
    inner_steps: most updates in a step.
    epsilon: loss below which the first step stops.
    progress: wraps the iterable of step indices.

  Returns:
    `NullText`.
  """
  steps = len(trajectory) - 1
  timesteps = sampler.schedule.timesteps(steps)
  updates = sampler_updates('ddim', sampler.schedule.levels(steps))
  uncond, latents = jnp.asarray(null_text, jnp.float32), trajectory[-1]
  found = []
  for i in progress(range(steps)):
    scalars = np.float32([sampler.guidance, 1e-2 * (1 - i / 100), epsilon + 2e-5 * i])
    numbers = timesteps[i], updates[i], *scalars
    target = trajectory[steps - 1 - i]
    uncond, latents, losses = jax.block_until_ready(
      _null_text_step(denoise, params, latents, target, text, uncond, inner_steps, numbers)
    )
    found.append((uncond, losses, latents))
  return NullText(*map(jnp.stack, zip(*found, strict=True)))
