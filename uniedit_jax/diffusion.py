"""The noise schedule and the deterministic DDIM update, in float32 (DDIM paper Eq. 12 with eta 0)."""

import dataclasses

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class NoiseSchedule:
  """A discrete noise schedule with "leading" timestep spacing.

  Attributes:
    beta_schedule: 'linear' (LaVie, AnimateDiff) or 'scaled_linear' (linear in sqrt(beta); Stable Diffusion).
    beta_start, beta_end: first and last beta.
    train_steps: length of the training schedule.
    offset: added to every timestep (`steps_offset` of Stable Diffusion's schedulers).
  """

  beta_schedule: str = 'linear'
  beta_start: float = 1e-4
  beta_end: float = 2e-2
  train_steps: int = 1000
  offset: int = 1

  def __post_init__(self):
    if self.beta_schedule not in ('linear', 'scaled_linear'):
      raise ValueError(f"beta_schedule is {self.beta_schedule!r}; accepted: 'linear', 'scaled_linear'")
    if not 0 < self.beta_start <= self.beta_end < 1:
      raise ValueError(f'betas {self.beta_start}..{self.beta_end}; accepted: 0 < beta_start <= beta_end < 1')

  @property
  def alphas_cumprod(self):
    """f32[train_steps]: the signal power that is left at each timestep."""
    power = 1.0 if self.beta_schedule == 'linear' else 0.5
    betas = np.linspace(self.beta_start**power, self.beta_end**power, self.train_steps, dtype=np.float32)
    return np.cumprod(np.float32(1) - betas ** np.float32(1 / power), dtype=np.float32)

  def timesteps(self, steps):
    """i32[S], noisiest first: 981, 961, ..., 1 for 50 steps of 1000."""
    if not 1 <= steps < self.train_steps:
      raise ValueError(f'steps is {steps}; accepted: 1 to {self.train_steps - 1}')
    stride = self.train_steps // steps
    return (np.arange(steps)[::-1] * stride + self.offset).astype(np.int32)

  def levels(self, steps):
    """f32[S + 1]: alphas_cumprod of the latents before the first step, ..., after the last.

    After the last step it is alphas_cumprod[0], not 1 (`set_alpha_to_one=False`).
    """
    alphas = self.alphas_cumprod
    return np.append(alphas[self.timesteps(steps)], alphas[0])


def ddim_step(latents, epsilon, alpha_from, alpha_to):
  """Moves latents between two noise levels along the predicted noise.

  Denoising goes to the larger alpha, inversion to the smaller one; the update is the same.

  Args:
    latents: f[*b] at level `alpha_from`.
    epsilon: f[*b], the predicted noise.
    alpha_from, alpha_to: f32[], alphas_cumprod of the two levels.

  Returns:
    f32[*b] at level `alpha_to`.
  """
  latents, epsilon = jnp.asarray(latents, jnp.float32), jnp.asarray(epsilon, jnp.float32)
  clean = (latents - jnp.sqrt(1 - alpha_from) * epsilon) / jnp.sqrt(alpha_from)
  return jnp.sqrt(alpha_to) * clean + jnp.sqrt(1 - alpha_to) * epsilon


def guide(uncond, cond, scale):
  """Classifier-free guidance, f32: uncond + scale (cond - uncond). Equal halves come out unchanged."""
  uncond, cond = jnp.asarray(uncond, jnp.float32), jnp.asarray(cond, jnp.float32)
  return uncond + scale * (cond - uncond)
