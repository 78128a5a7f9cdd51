"""What the parts of the sprites model are trained for; losses for `training.update`."""

import jax
import jax.numpy as jnp

STARTS = 0.3  # of a batch, that is what sampling starts from


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

  A sample with signal power a weighs sqrt(max((1 - a) / a, 1)), and timesteps are drawn in proportion to themselves,
  stratified over the batch: the noisiest steps decide what is made, and plain weighting neglects them.

  A clip's latents still show where everything moves at the last timestep, so that a model of them alone need not listen
  to the prompt; but sampling starts from pure noise, and an edit from the inverted latents of a clip that the prompt
  does not describe. Of every batch, the share `STARTS` is such starts, at one of the last tenth of the timesteps: by
  turns the signal of another sample under noise, and noise alone. Right is the prediction that leads to the clip.

  Args:
    unet, text_encoder: modules, trained together.
    schedule: `NoiseSchedule`.

  Returns:
    A loss whose params are {'unet', 'text'} and whose batch has 'clips' or 'images' or both, each
    (latents f[B, F, H, W, C], latents of other samples, tokens i32[B, T]), F = 1 for images.
  """
  alphas = jnp.asarray(schedule.alphas_cumprod)
  weights = jnp.sqrt(jnp.maximum((1 - alphas) / alphas, 1))

  def part_loss(params, latents, others, tokens, key, temporal):
    time_key, noise_key = jax.random.split(key)
    size, starts = len(latents), round(STARTS * len(latents))
    strata = lambda count, key: (jnp.arange(count) + jax.random.uniform(key, (count,))) / max(count, 1)
    keys = jax.random.split(time_key)
    times = jnp.concatenate([0.9 + 0.1 * strata(starts, keys[0]), jnp.sqrt(strata(size - starts, keys[1]))])
    timesteps = (times * schedule.train_steps).astype(jnp.int32)
    each = lambda x: x[:, None, None, None, None]
    alpha, noise = each(alphas[timesteps]), jax.random.normal(noise_key, latents.shape)
    noisy = jnp.sqrt(alpha) * latents + jnp.sqrt(1 - alpha) * noise
    index = each(jnp.arange(size))
    misleading = jnp.sqrt(alpha) * others + jnp.sqrt(1 - alpha) * noise
    noisy = jnp.where(index < starts, jnp.where(index % 2, noise, misleading), noisy)
    target = (noisy - jnp.sqrt(alpha) * latents) / jnp.sqrt(1 - alpha)  # the noise, but for starts
    text = text_encoder.apply({'params': params['text']}, tokens)
    predict = lambda *inputs: unet.apply({'params': params['unet']}, *inputs, temporal=temporal)[0]
    error = jnp.mean((jax.vmap(predict)(noisy, timesteps, text) - target) ** 2, axis=(1, 2, 3, 4))
    return jnp.mean(weights[timesteps] * error)

  def loss(params, batch, key):
    keys = dict(zip(batch, jax.random.split(key, len(batch)), strict=True))
    parts = {name: part_loss(params, *batch[name], keys[name], name == 'clips') for name in batch}
    return sum(parts.values()) / len(parts), parts

  return loss
