"""Plain text-to-video for many prompts at once, for the checks of training and for scoring."""

import functools

import jax
import jax.numpy as jnp

from uniedit_jax.method.diffusion import guide, sampler_updates


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _step(apply, params, latents, texts, null, timestep, update, guidance):
  """One step of every clip, both guidance halves in one pass."""
  predict = lambda x, text: apply({'params': params}, x, timestep, text)[0]
  both = jax.vmap(predict)(jnp.concatenate([latents, latents]), jnp.concatenate([null, texts]))
  epsilon = guide(*jnp.split(both, 2), guidance)
  return update(latents, latents, epsilon)


def sample_prompts(apply, params, noise, texts, null, schedule, steps, guidance, progress=iter):
  """Samples one clip a prompt.

  Args:
    apply: `unet.apply`, the same object in every call, or the step compiles again.
    params: the UNet's parameters.
    noise: f32[P, F, H, W, C]; F = 1 makes stills with the temporal layers of a clip of one frame.
    texts: f[P, T, E].
    null: f[T, E], the null prompt.
    schedule: `NoiseSchedule`.
    steps: number of DDIM steps.
    guidance: scale.
    progress: wraps the iterable of steps.

  Returns:
    f32[P, F, H, W, C].
  """
  # A step's result is committed to the device of the texts; uncommitted start latents would compile
  # the step twice.
  latents = jax.device_put(jnp.array(noise), texts.sharding)
  null = jnp.broadcast_to(null, texts.shape)
  timesteps, updates = schedule.timesteps(steps), sampler_updates('ddim', schedule.levels(steps))
  for i in progress(range(steps)):
    latents = _step(apply, params, latents, texts, null, timesteps[i], updates[i], guidance)
  return latents
