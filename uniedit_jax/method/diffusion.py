"""The noise schedule and the deterministic samplers DDIM (Eq. 12, eta 0) and O-BELM, in float32."""

import dataclasses
import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

SAMPLERS = ('ddim', 'obelm')


@dataclasses.dataclass(frozen=True)
class NoiseSchedule:
  """A discrete noise schedule with "leading" timestep spacing.

  Attributes:
    beta_schedule: 'linear' (LaVie, AnimateDiff) or 'scaled_linear' (linear in sqrt(beta); Stable
      Diffusion).
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
      raise ValueError(
        f"beta_schedule is {self.beta_schedule!r}; accepted: 'linear', 'scaled_linear'"
      )
    if not 0 < self.beta_start <= self.beta_end < 1:
      raise ValueError(
        f'betas {self.beta_start}..{self.beta_end}; accepted: 0 < beta_start <= beta_end < 1'
      )

  @property
  def alphas_cumprod(self):
    """f32[train_steps]: the signal power left at each timestep."""
    power = 1.0 if self.beta_schedule == 'linear' else 0.5
    betas = np.linspace(
      self.beta_start**power, self.beta_end**power, self.train_steps, dtype=np.float32
    )
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


class Update(NamedTuple):
  """A step of a linear sampler: x_to = before * x_before + latents * x + noise * epsilon(x).

  Data, so that samplers share one program. All fields are f32[], or f32[S] if stacked.
  """

  before: np.ndarray
  latents: np.ndarray
  noise: np.ndarray

  def __call__(self, before, latents, epsilon):
    """Moves latents f[*b] to the next level, f32[*b]; `before`: those one level earlier."""
    terms = zip(self, (before, latents, epsilon), strict=True)
    return sum(weight * jnp.asarray(x, jnp.float32) for weight, x in terms)


def ddim_update(alpha_from, alpha_to):
  """Deterministic DDIM between two levels of alphas_cumprod; denoising increases alpha."""
  alpha_from, alpha_to = np.float64(alpha_from), np.float64(alpha_to)
  scale = np.sqrt(alpha_to / alpha_from)
  return Update(*np.float32([0, scale, np.sqrt(1 - alpha_to) - scale * np.sqrt(1 - alpha_from)]))


def obelm_update(alpha_before, alpha_from, alpha_to):
  """O-BELM (Wang et al. 2024, arXiv 2410.07273), inverted exactly by the same formula.

  As a function of sigma = sqrt((1 - alpha) / alpha), x / sqrt(alpha) has the slope epsilon. O-BELM
  follows the parabola through the last two latents with the predicted slope at the last one. The
  arguments are alphas_cumprod of three successive levels, in either direction.
  """
  alphas = np.float64([alpha_before, alpha_from, alpha_to])
  sigmas = np.sqrt((1 - alphas) / alphas)
  last, this = np.diff(sigmas)
  ratio = this / last
  before, latents = np.sqrt(alphas[2] / alphas[:2]) * [ratio**2, 1 - ratio**2]
  return Update(*np.float32([before, latents, np.sqrt(alphas[2]) * this * (1 + ratio)]))


def sampler_updates(sampler, levels):
  """The S `Update`s between successive levels f32[S + 1] (`NoiseSchedule.levels`).

  The sampler is 'ddim' or 'obelm'. The latter takes its first and last steps by DDIM: the first has
  no latents before it, and the last is so short relative to the step before it that its inverse
  would amplify every error.

  Raises:
    ValueError: an unknown sampler.
  """
  if sampler not in SAMPLERS:
    raise ValueError(f'sampler is {sampler!r}; accepted: {SAMPLERS}')
  updates = [ddim_update(*pair) for pair in itertools.pairwise(levels)]
  if sampler == 'obelm':
    updates[1:-1] = [obelm_update(*levels[i - 1 : i + 2]) for i in range(1, len(updates) - 1)]
  return updates


def guide(uncond, cond, scale):
  """Classifier-free guidance, f32: uncond + scale (cond - uncond); equal halves stay unchanged."""
  uncond, cond = jnp.asarray(uncond, jnp.float32), jnp.asarray(cond, jnp.float32)
  return uncond + scale * (cond - uncond)
