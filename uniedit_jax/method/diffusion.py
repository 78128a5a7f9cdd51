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

  Noisy latents are sqrt(signal) x_0 + sqrt(noise) epsilon. The pair (signal, noise) is a *level*:
  the powers of clean latents and of noise, (alphas_cumprod s^2, 1 - alphas_cumprod). The signal
  scale s is 1 everywhere but in VideoCrafter2, where the two powers do not add up to 1.

  Attributes:
    beta_schedule: 'linear' (LaVie, AnimateDiff) or 'scaled_linear' (linear in sqrt(beta); Stable
      Diffusion).
    beta_start, beta_end: first and last beta.
    train_steps: length of the training schedule.
    offset: added to every timestep (`steps_offset` of Stable Diffusion's schedulers).
    signal_end: the signal scale falls linearly from 1 to this (`scale_arr` of VideoCrafter).
    signal_steps: the timesteps in which it falls; it is `signal_end` from the last of them on.
    set_alpha_to_one: whether the latents after the last step are free of noise (the original
      AnimateDiff); False: they are at the level of timestep 0.
  """

  beta_schedule: str = 'linear'
  beta_start: float = 1e-4
  beta_end: float = 2e-2
  train_steps: int = 1000
  offset: int = 1
  signal_end: float = 1.0
  signal_steps: int = 400
  set_alpha_to_one: bool = False

  def __post_init__(self):
    if self.beta_schedule not in ('linear', 'scaled_linear'):
      raise ValueError(
        f"beta_schedule is {self.beta_schedule!r}; accepted: 'linear', 'scaled_linear'"
      )
    if not 0 < self.beta_start <= self.beta_end < 1:
      raise ValueError(
        f'betas {self.beta_start}..{self.beta_end}; accepted: 0 < beta_start <= beta_end < 1'
      )
    if not 0 < self.signal_end <= 1:
      raise ValueError(f'signal_end is {self.signal_end}; accepted: above 0 and at most 1')
    if self.signal_steps < 2:
      raise ValueError(f'signal_steps is {self.signal_steps}; accepted: at least 2')

  @property
  def alphas_cumprod(self):
    """f32[train_steps]: the power of clean latents at each timestep, without the signal scale."""
    power = 1.0 if self.beta_schedule == 'linear' else 0.5
    betas = np.linspace(
      self.beta_start**power, self.beta_end**power, self.train_steps, dtype=np.float32
    )
    return np.cumprod(np.float32(1) - betas ** np.float32(1 / power), dtype=np.float32)

  @property
  def signal_scale(self):
    """f64[train_steps]: the factor s of the clean latents at each timestep."""
    timesteps = np.arange(self.train_steps)
    return np.interp(timesteps, [0, self.signal_steps - 1], [1.0, self.signal_end])

  @property
  def train_levels(self):
    """f64[train_steps, 2]: the level of each timestep."""
    alphas = np.float64(self.alphas_cumprod)
    return np.stack([alphas * self.signal_scale**2, 1 - alphas], axis=-1)

  def timesteps(self, steps):
    """i32[S], noisiest first: 981, 961, ..., 1 for 50 steps of 1000."""
    if not 1 <= steps < self.train_steps:
      raise ValueError(f'steps is {steps}; accepted: 1 to {self.train_steps - 1}')
    stride = self.train_steps // steps
    return (np.arange(steps)[::-1] * stride + self.offset).astype(np.int32)

  def levels(self, steps):
    """f64[S + 1, 2]: the level of the latents before the first step, ..., after the last."""
    levels = self.train_levels
    last = [1.0, 0.0] if self.set_alpha_to_one else levels[0]
    return np.concatenate([levels[self.timesteps(steps)], [last]])


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


def ddim_update(level_from, level_to):
  """Deterministic DDIM between two levels (signal, noise); denoising reduces the noise."""
  (signal_from, noise_from), (signal_to, noise_to) = np.float64([level_from, level_to])
  scale = np.sqrt(signal_to / signal_from)
  return Update(*np.float32([0, scale, np.sqrt(noise_to) - scale * np.sqrt(noise_from)]))


def obelm_update(level_before, level_from, level_to):
  """O-BELM (Wang et al. 2024, arXiv 2410.07273), inverted exactly by the same formula.

  As a function of sigma = sqrt(noise / signal), x / sqrt(signal) has the slope epsilon. O-BELM
  follows the parabola through the last two latents with the predicted slope at the last one. The
  arguments are three successive levels (signal, noise), in either direction.
  """
  signal, noise = np.float64([level_before, level_from, level_to]).T
  last, this = np.diff(np.sqrt(noise / signal))
  ratio = this / last
  before, latents = np.sqrt(signal[2] / signal[:2]) * [ratio**2, 1 - ratio**2]
  return Update(*np.float32([before, latents, np.sqrt(signal[2]) * this * (1 + ratio)]))


def sampler_updates(sampler, levels):
  """The S `Update`s between successive levels f64[S + 1, 2] (`NoiseSchedule.levels`).

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
