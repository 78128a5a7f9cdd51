"""What the parts of the sprites model are trained for; losses for `training.update`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

STARTS = 0.3  # of a batch, that is what sampling starts from


def vae_loss(vae, kl_weight):
  """Mean squared error of reconstructed frames plus the weighted KL divergence from N(0, 1), a mean
  over latents.

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


class Samples(NamedTuple):
  """Clips, or single frames (F = 1), with their captions.

  Attributes:
    latents: f[B, F, H, W, C].
    others: latents of other samples, same shape.
    tokens: i32[B, T].
    words: bool[B, T], the tokens that speak of the object; none of a dropped prompt.
    coverage: f[B, F, H, W], how much of a latent the object covers, 0..1.
  """

  latents: jax.Array
  others: jax.Array
  tokens: jax.Array
  words: jax.Array
  coverage: jax.Array


def localization(maps, words, coverage):
  """How far the places that attend to the object's words are from the object.

  The mean over these words of the Kullback-Leibler divergence from the coverage to the attention,
  both divided by their sum over the clip. (FastComposer, Xiao et al. 2023, section 4.2, has the
  idea; its loss is linear, and one word that takes all attention would satisfy it.)

  Args:
    maps: f32[F, N, T], attention of the tokens of frames to those of the prompt.
    words: bool[T].
    coverage: f[F, H, W] with H W = N.

  Returns:
    f32[], 0 where there are no words.
  """
  wanted = coverage.reshape(*maps.shape[:2], 1) / jnp.sum(coverage)
  share = maps / jnp.sum(maps, axis=(0, 1))
  divergence = jnp.sum(jax.scipy.special.rel_entr(wanted, share), axis=(0, 1))
  return jnp.sum(divergence * words) / jnp.maximum(jnp.sum(words), 1)


def denoising_loss(unet, text_encoder, schedule, blocks, weight):
  """The noise that the UNet fails to predict, on clips and on single frames, which bypass temporal
  attention.

  A sample with signal power a weighs sqrt(max((1 - a) / a, 1)), and timesteps are drawn in
  proportion to themselves, stratified over the batch: the noisiest steps decide what is made, and
  plain weighting neglects them.

  A clip's latents still show where everything moves at the last timestep, so that a model of them
  alone need not listen to the prompt; but sampling starts from pure noise, and an edit from the
  inverted latents of a clip that the prompt does not describe. Of every batch, the share `STARTS`
  is such starts, at one of the last tenth of the timesteps: by turns the signal of another sample
  under noise, and noise alone. Right is the prediction that leads to the clip.

  Nothing in all this asks attention to say where a word is, which masks are made from:
  `localization` does.

  Args:
    unet, text_encoder: modules, trained together.
    schedule: `NoiseSchedule`.
    blocks: attention blocks whose mean map of CA-S is to find the object, all of the latents' grid.
    weight: of the mean `localization` in the loss.

  Returns:
    A loss whose params are {'unet', 'text'} and whose batch has 'clips' or 'images' or both, each
    `Samples`.
  """
  alphas = jnp.asarray(schedule.alphas_cumprod)
  weights = jnp.sqrt(jnp.maximum((1 - alphas) / alphas, 1))
  taps = tuple(f'{block}/text_map' for block in blocks)

  def part_loss(params, samples, key, temporal):
    latents, others, tokens, words, coverage = samples
    time_key, noise_key = jax.random.split(key)
    size, starts = len(latents), round(STARTS * len(latents))
    strata = lambda count, key: (
      (jnp.arange(count) + jax.random.uniform(key, (count,))) / max(count, 1)
    )
    keys = jax.random.split(time_key)
    times = jnp.concatenate(
      [0.9 + 0.1 * strata(starts, keys[0]), jnp.sqrt(strata(size - starts, keys[1]))]
    )
    timesteps = (times * schedule.train_steps).astype(jnp.int32)
    each = lambda x: x[:, None, None, None, None]
    alpha, noise = each(alphas[timesteps]), jax.random.normal(noise_key, latents.shape)
    noisy = jnp.sqrt(alpha) * latents + jnp.sqrt(1 - alpha) * noise
    index = each(jnp.arange(size))
    misleading = jnp.sqrt(alpha) * others + jnp.sqrt(1 - alpha) * noise
    noisy = jnp.where(index < starts, jnp.where(index % 2, noise, misleading), noisy)
    target = (noisy - jnp.sqrt(alpha) * latents) / jnp.sqrt(1 - alpha)  # the noise, but for starts
    text = text_encoder.apply({'params': params['text']}, tokens)

    def predict(noisy, timestep, text):
      inputs = noisy, timestep, text, None, None, taps
      noise, tapped = unet.apply({'params': params['unet']}, *inputs, temporal=temporal)
      return noise, jnp.mean(jnp.stack([tapped[name] for name in taps]), axis=(0, 1))

    predicted, maps = jax.vmap(predict)(noisy, timesteps, text)
    error = jnp.mean((predicted - target) ** 2, axis=(1, 2, 3, 4))
    return jnp.mean(weights[timesteps] * error), jnp.mean(
      jax.vmap(localization)(maps, words, coverage)
    )

  def loss(params, batch, key):
    keys = dict(zip(batch, jax.random.split(key, len(batch)), strict=True))
    parts = {name: part_loss(params, batch[name], keys[name], name == 'clips') for name in batch}
    value = sum(error + weight * where for error, where in parts.values()) / len(parts)
    measures = {name: error for name, (error, _) in parts.items()}
    return value, measures | {f'{name}_localization': where for name, (_, where) in parts.items()}

  return loss
