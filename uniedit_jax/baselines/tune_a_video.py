"""Tune-A-Video (Wu et al. 2023): fine-tunes the model on one clip, then samples from its inversion.

Every frame attends to the first and the previous frame (sparse-causal attention), never to itself.
Temporal attention and the queries of both other attentions are tuned to predict the clip's noise.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from uniedit_jax.baselines.method import MAIN, Row, denoiser, invert, plan_of_rows
from uniedit_jax.baselines.overrides import ComparisonOverride
from uniedit_jax.method import sampling
from uniedit_jax.method.overrides import AttentionOverride
from uniedit_jax.pipeline.model import unet_apply

# Modules whose parameters are tuned. A table of positions in them stays fixed, like the rotary
# frequencies.
TUNED = re.compile(
  r'/attn[12]/to_q/|/attn_temp/|/(temp_attentions_\d+|transformer_in)/.*/attn[12]/to_\w+/'
)
FIXED = 'frame_positions'
WEIGHT_DECAY, LARGEST_GRADIENT = 1e-2, 1.0


@dataclasses.dataclass(frozen=True)
class TuneAVideo:
  """The method and its options.

  Attributes:
    tuning_steps: updates of the parameters.
    learning_rate: constant learning rate of AdamW.
    sparse_causal: whether spatial attention reads the first and the previous frame; False: its own
      frame, as in LaVie.
  """

  tuning_steps: int = 500
  learning_rate: float = 3e-5
  sparse_causal: bool = True

  negative_prompt = ''

  def faults(self, setup):
    del setup
    faults = []
    if self.tuning_steps < 0:
      faults.append(f'baseline.tuning_steps is {self.tuning_steps}; accepted: 0 or more')
    if self.learning_rate <= 0:
      faults.append(f'baseline.learning_rate is {self.learning_rate}; accepted: a positive number')
    return faults

  def routes(self, setup):
    """`AttentionOverride` of every row, leaves [L, ...], or None."""
    if not self.sparse_causal:
      return None
    frames = np.stack([sparse_causal_frames(setup.frames)] * setup.blocks)
    return AttentionOverride(comparison=ComparisonOverride(frames=frames))

  def plan(self, setup):
    """Two rows in every step."""
    rows = [Row(MAIN, setup.uncond), Row(MAIN, setup.target)]
    routes = jax.tree.map(lambda leaf: np.stack([leaf] * len(rows)), self.routes(setup))
    return plan_of_rows([rows] * setup.steps, [routes] * setup.steps)

  def cost(self, setup):
    """What is computed in addition to the rows of the plan."""
    return {'inversion_rows': setup.steps, 'tuning_steps': self.tuning_steps}

  def edit(self, run):
    """Tunes, inverts with the tuned model, and samples."""
    config, setup, routes = run.model.config, run.setup, self.routes(run.setup)
    params, losses = tune(
      denoiser(config, run.dtype, remat=True),
      run.model.params['unet'],
      routes,
      run.latents,
      run.texts[setup.source],
      run.sampler.schedule,
      self,
      setup.seed,
      run.progress('tune'),
    )
    sampled = sampling.sample_edit(
      sampling.Network(unet_apply(config, run.dtype), params),
      invert(run, params, routes)[-1],
      run.plan,
      run.sampler,
      sampling.Conditioning(run.texts),
      progress=run.progress('edit'),
    )
    return sampled, {'tuning_losses': losses}


def sparse_causal_frames(frames):
  """The first and the previous frame of each, i32[F, 2]; frames 0 and 1 read frame 0 twice."""
  before = np.maximum(np.arange(frames) - 1, 0)
  return np.stack([np.zeros_like(before), before], axis=1).astype(np.int32)


def split(params):
  """Splits the parameters into (tuned, frozen), two dicts by path."""
  flat = traverse_util.flatten_dict(params)
  tuned = {path: leaf for path, leaf in flat.items() if _is_tuned(path)}
  return tuned, {path: leaf for path, leaf in flat.items() if path not in tuned}


def _is_tuned(path):
  return FIXED not in path and bool(TUNED.search(f'/{"/".join(path)}'))


@functools.cache
def _optimizer(learning_rate):
  """AdamW after clipping the gradient's norm, both over the tuned parameters alone."""
  # Late, as other methods do not need it.
  import optax

  adam = optax.adamw(learning_rate, weight_decay=WEIGHT_DECAY)
  return optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), adam)


@functools.partial(jax.jit, static_argnums=0)
def noise_loss(denoise, tuned, frozen, routes, latents, text, levels, key):
  """The mean squared error of the clip's predicted noise at one random timestep, f32[].

  The `levels` are f32[train_steps, 2], of all timesteps; other arguments as of `tune`.
  """
  time_key, noise_key = jax.random.split(key)
  timestep = jax.random.randint(time_key, (), 0, len(levels))
  noise = jax.random.normal(noise_key, latents.shape)
  signal_power, noise_power = levels[timestep]
  noisy = jnp.sqrt(signal_power) * latents + jnp.sqrt(noise_power) * noise
  params = traverse_util.unflatten_dict(frozen | tuned)
  return jnp.mean((denoise((params, routes), noisy, timestep, text) - noise) ** 2)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _update(denoise, optimizer, tuned, state, *inputs):
  import optax

  loss, gradient = jax.value_and_grad(noise_loss, argnums=1)(denoise, tuned, *inputs)
  change, state = optimizer.update(gradient, state, tuned)
  return optax.apply_updates(tuned, change), state, loss


def tune(denoise, params, routes, latents, text, schedule, options, seed, progress=iter):
  """Tunes the parameters that `split` selects on one clip.

  Args:
    denoise: see `method.denoiser`; rematerialisation saves much memory here.
    params: the UNet's parameters; not changed in place.
    routes: `AttentionOverride` with leaves [L, ...], or None.
    latents: f32[F, H, W, C], the encoded clip.
    text: f[T, E], its prompt.
    schedule: `NoiseSchedule`; timesteps are drawn from all of its training steps.
    options: `TuneAVideo`.
    seed: seed of timesteps and noise.
    progress: wraps the iterable of updates.

  Returns:
    (tuned parameters, list of the losses before every update).
  """
  tuned, frozen = split(params)
  if not options.tuning_steps:
    return params, []
  # In float32, so that small updates add up whatever the compute dtype; a copy, as it is donated.
  tuned = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), tuned)
  optimizer, key = _optimizer(options.learning_rate), jax.random.key(seed)
  state, losses = optimizer.init(tuned), []
  latents, levels = (jnp.asarray(x, jnp.float32) for x in (latents, schedule.train_levels))
  inputs = (frozen, routes, latents, text, levels)
  for i in progress(range(options.tuning_steps)):
    step_key = jax.random.fold_in(key, i)
    tuned, state, loss = _update(denoise, optimizer, tuned, state, *inputs, step_key)
    losses.append(float(loss))
  return traverse_util.unflatten_dict(frozen | tuned), losses
