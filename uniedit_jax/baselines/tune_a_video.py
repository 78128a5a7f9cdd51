"""Tune-A-Video (Wu et al. 2023): the model is tuned on the one clip, then samples it from its
inversion.

Every frame attends to the first and the one before it (sparse-causal attention), never to itself;
temporal attention and the queries of both other attentions are tuned to predict the noise of the
clip.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from uniedit_jax.baselines.method import MAIN, Row, denoiser, invert, lay_out_rows
from uniedit_jax.method import sampling
from uniedit_jax.method.overrides import AttentionOverride
from uniedit_jax.pipeline.model import unet_apply

# Modules whose parameters are tuned; a table of positions in them is fixed, as the rotary
# frequencies are.
TUNED, FIXED = (('attn1', 'to_q'), ('attn2', 'to_q'), ('attn_temp',)), 'frame_positions'
WEIGHT_DECAY, LARGEST_GRADIENT = 1e-2, 1.0


@dataclasses.dataclass(frozen=True)
class TuneAVideo:
  """The method and its options.

  Attributes:
    tuning_steps: updates of the parameters.
    learning_rate: of AdamW, constant.
    sparse_causal: whether spatial attention reads the first frame and the one before; False: its
      own, as LaVie's.
  """

  tuning_steps: int = 500
  learning_rate: float = 3e-5
  sparse_causal: bool = True

  negative_prompt = ''

  def faults(self, setup):
    """What is wrong with the options, as a list of sentences."""
    del setup
    faults = []
    if self.tuning_steps < 0:
      faults.append(f'baseline.tuning_steps is {self.tuning_steps}; accepted: 0 or more')
    if self.learning_rate <= 0:
      faults.append(f'baseline.learning_rate is {self.learning_rate}; accepted: a positive number')
    return faults

  def routes(self, setup):
    """What every row reads, leaves [L, ...], or None."""
    if not self.sparse_causal:
      return None
    return AttentionOverride(frames=np.stack([sparse_causal_frames(setup.frames)] * setup.blocks))

  def lay_out(self, setup):
    """Two rows in every step."""
    rows = [Row(MAIN, setup.uncond), Row(MAIN, setup.target)]
    routes = jax.tree.map(lambda leaf: np.stack([leaf] * len(rows)), self.routes(setup))
    return lay_out_rows([rows] * setup.steps, [routes] * setup.steps)

  def cost(self, setup):
    """What is computed beside the rows of the layout."""
    return {'inversion_rows': setup.steps, 'tuning_steps': self.tuning_steps}

  def edit(self, run):
    """Tunes, inverts with the tuned model, and samples."""
    config, routes = run.model.config, self.routes(run.setup)
    params, losses = tune(
      *(denoiser(config, run.dtype, remat=True), run.model.params['unet'], routes),
      *(run.latents, run.texts[run.setup.source], run.schedule, self, run.setup.seed),
      run.progress('tune'),
    )
    trajectory = invert(run, params, routes)
    start = trajectory[-1]
    apply = unet_apply(config, run.dtype)
    sampled = sampling.edit(
      *(apply, params, start, run.texts, run.layout, run.schedule, run.guidance),
      progress=run.progress('edit'),
    )
    return sampled, {'tuning_losses': losses}


def sparse_causal_frames(frames):
  """The first frame and the one before each, i32[F, 2]; frame 0 sees itself twice, and so does
  frame 1 see frame 0.
  """
  before = np.maximum(np.arange(frames) - 1, 0)
  return np.stack([np.zeros_like(before), before], axis=1).astype(np.int32)


def split(params):
  """(tuned, frozen): the parameters by path."""
  flat = traverse_util.flatten_dict(params)
  tuned = {path: leaf for path, leaf in flat.items() if _is_tuned(path)}
  return tuned, {path: leaf for path, leaf in flat.items() if path not in tuned}


def _is_tuned(path):
  parts = ['/'.join(names) for names in TUNED]
  return FIXED not in path and any(f'/{part}/' in f'/{"/".join(path)}/' for part in parts)


@functools.cache
def _optimizer(learning_rate):
  """AdamW after clipping; it knows the tuned parameters alone, and so does the norm of their
  gradient.
  """
  import optax  # late: other methods do not need it

  adam = optax.adamw(learning_rate, weight_decay=WEIGHT_DECAY)
  return optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), adam)


@functools.partial(jax.jit, static_argnums=0)
def noise_loss(denoise, tuned, frozen, routes, latents, text, alphas, key):
  """The mean squared error of the noise that is predicted at one random timestep of the whole clip,
  f32[].
  """
  time_key, noise_key = jax.random.split(key)
  timestep = jax.random.randint(time_key, (), 0, len(alphas))
  noise = jax.random.normal(noise_key, latents.shape)
  noisy = jnp.sqrt(alphas[timestep]) * latents + jnp.sqrt(1 - alphas[timestep]) * noise
  params = traverse_util.unflatten_dict({**frozen, **tuned})
  return jnp.mean((denoise((params, routes), noisy, timestep, text) - noise) ** 2)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _update(denoise, optimizer, tuned, state, *inputs):
  import optax

  loss, gradient = jax.value_and_grad(noise_loss, argnums=1)(denoise, tuned, *inputs)
  change, state = optimizer.update(gradient, state, tuned)
  return optax.apply_updates(tuned, change), state, loss


def tune(denoise, params, routes, latents, text, schedule, options, seed, progress=iter):
  """Tunes the parameters that `split` names on one clip.

  Args:
    denoise: see `method.denoiser`; with rematerialisation it saves much memory here.
    params: the UNet's parameters, which stay as they are.
    routes: `AttentionOverride` with leaves [L, ...], or None.
    latents: f32[F, H, W, C], the encoded clip.
    text: f[T, E], its prompt.
    schedule: `NoiseSchedule`; timesteps are drawn from all of its training steps.
    options: `TuneAVideo`.
    seed: of timesteps and noise.
    progress: wraps the iterable of updates.

  Returns:
    (parameters; list of the loss before every update).
  """
  tuned, frozen = split(params)
  if not options.tuning_steps:
    return params, []
  # Whatever the model computes in, small updates add up in float32. A copy, as it is donated.
  tuned = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), tuned)
  optimizer, key = _optimizer(options.learning_rate), jax.random.key(seed)
  state, losses = optimizer.init(tuned), []
  inputs = (
    frozen,
    routes,
    jnp.asarray(latents, jnp.float32),
    text,
    jnp.asarray(schedule.alphas_cumprod),
  )
  for i in progress(range(options.tuning_steps)):
    tuned, state, loss = _update(
      denoise, optimizer, tuned, state, *inputs, jax.random.fold_in(key, i)
    )
    losses.append(float(loss))
  return traverse_util.unflatten_dict({**frozen, **tuned}), losses
