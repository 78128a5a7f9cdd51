"""What the parts of the sprites model are trained for; losses for `training.update`."""

import jax
import jax.numpy as jnp


def vae_loss(vae, kl_weight):
  """Mean squared error of reconstructed frames plus the weighted KL divergence from N(0, 1), a mean over latents.

  Args:
    vae: `VAE` whose config.scale is 1.
    kl_weight: float.

  Returns:
    A loss whose batch is u8[B, H, W, 3].
  """

  def loss(params, frames, key):
    frames = frames.astype(jnp.float32) / 127.5 - 1
    mean, log_variance = vae.apply({'params': params}, frames, method='posterior')
    latents = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
    error = jnp.mean((vae.apply({'params': params}, latents, method='decode') - frames) ** 2)
    kl = 0.5 * jnp.mean(mean**2 + jnp.exp(log_variance) - 1 - log_variance)
    return error + kl_weight * kl, {'error': error, 'kl': kl}

  return loss


def denoising_loss(unet, text_encoder, schedule):
  """The noise that the UNet fails to predict, on clips and on single frames, which bypass temporal attention.

  A sample with signal power a weighs sqrt(clip((1 - a) / a, 1, 64)), and timesteps are drawn in proportion to
  themselves, stratified over the batch: so few latents show their content and their motion through much noise, so the
  noisiest steps decide what is made, and plain weighting neglects them.

  Args:
    unet, text_encoder: modules, trained together.
    schedule: `NoiseSchedule`.

  Returns:
    A loss whose params are {'unet', 'text'} and whose batch has 'clips' or 'images' or both, each
    (latents f[B, F, H, W, C], tokens i32[B, T]), F = 1 for images.
  """
  alphas = jnp.asarray(schedule.alphas_cumprod)
  weights = jnp.sqrt(jnp.clip((1 - alphas) / alphas, 1, 64))

  def part_loss(params, latents, tokens, key, temporal):
    time_key, noise_key = jax.random.split(key)
    size = len(latents)
    strata = (jnp.arange(size) + jax.random.uniform(time_key, (size,))) / size
    timesteps = (jnp.sqrt(strata) * schedule.train_steps).astype(jnp.int32)
    noise = jax.random.normal(noise_key, latents.shape)
    alpha = alphas[timesteps][:, None, None, None, None]
    noisy = jnp.sqrt(alpha) * latents + jnp.sqrt(1 - alpha) * noise
    text = text_encoder.apply({'params': params['text']}, tokens)
    predict = lambda *inputs: unet.apply({'params': params['unet']}, *inputs, temporal=temporal)[0]
    error = jnp.mean((jax.vmap(predict)(noisy, timesteps, text) - noise) ** 2, axis=(1, 2, 3, 4))
    return jnp.mean(weights[timesteps] * error)

  def loss(params, batch, key):
    keys = dict(zip(batch, jax.random.split(key, len(batch)), strict=True))
    parts = {name: part_loss(params, *batch[name], keys[name], name == 'clips') for name in batch}
    return sum(parts.values()) / len(parts), parts

  return loss
