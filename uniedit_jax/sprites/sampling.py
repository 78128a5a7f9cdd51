"""Plain text-to-video for many prompts at once, for the checks of training and for scoring."""

import functools

import jax
import jax.numpy as jnp

from uniedit_jax.method.diffusion import guide, sampler_updates


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _step(apply, params, latents, texts, null, move):
  """One step of every clip, both guidance halves in one pass; `move` has its numbers."""
  timestep, update, guidance = move
  predict = lambda x, text: apply({'params': params}, x, timestep, text)[0]
  both = jax.vmap(predict)(jnp.concatenate([latents, latents]), jnp.concatenate([null, texts]))
  epsilon = guide(*jnp.split(both, 2), guidance)
  return update(latents, latents, epsilon)


def sample_prompts(network, noise, texts, null, sampler, progress=iter):
  """Samples one clip a prompt by DDIM.

  Args:
    network: `Network`.
    noise: f32[P, F, H, W, C]; F = 1 makes stills with the temporal layers of a clip of one frame.
    texts: f[P, T, E].
    null: f[T, E], the null prompt.
    sampler: `Sampler`.
    progress: wraps the iterable of steps.

  Returns:
    f32[P, F, H, W, C].
  """
  # A step's result is committed to a device as the texts are; start latents that are not would
  # compile it again.
  latents = jax.device_put(jnp.array(noise), texts.sharding)
  null = jnp.broadcast_to(null, texts.shape)
  timesteps = sampler.schedule.timesteps(sampler.steps)
  updates = sampler_updates('ddim', sampler.schedule.levels(sampler.steps))
  for i in progress(range(sampler.steps)):
    move = timesteps[i], updates[i], sampler.guidance
    latents = _step(network.apply, network.params, latents, texts, null, move)
  return latents
