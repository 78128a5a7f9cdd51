"""Training losses of the sprites model's VAE and UNet, for `training.update`."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

STARTS = 0.3  # share of a batch that is like the latents that sampling starts from


def vae_loss(vae, kl_weight):
  """Mean squared error of reconstructed frames plus the weighted mean KL divergence from N(0, 1).

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
    words: bool[B, T], the tokens that describe the object; all False for a dropped prompt.
    coverage: f[B, F, H, W], share of a latent that the object covers.
  """

  latents: jax.Array
  others: jax.Array
  tokens: jax.Array
  words: jax.Array
  coverage: jax.Array


def localization(maps, words, coverage):
  """The distance between the object and the places that attend to its words.

  It is KL(coverage || attention to a word), both normalised over the clip, averaged over the words.
  The idea is from FastComposer (Xiao et al. 2023, section 4.2), whose linear loss would accept one
  word that takes all attention.

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
  """The error of the predicted noise, on clips and on single frames (without temporal attention).

  A sample weighs sqrt(max(noise / signal, 1)), a ratio of powers; timesteps are drawn in proportion
  to themselves, stratified over the batch. The noisiest steps decide the content, and plain
  weighting neglects them.

  Even at the last timestep, noisy latents of a clip show where everything moves, so a model trained
  on them alone could ignore the prompt. Sampling, however, starts from pure noise, and an edit from
  inverted latents of a clip that does not match its prompt. So a share `STARTS` of every batch
  imitates such starts, at timesteps of the last tenth: half of them are noise alone, half the noisy
  latents of another sample. Their target is the noise that leads to the clip.

  `localization` trains the attention maps to show where a word is, from which masks are made.

  Args:
    unet, text_encoder: modules, trained together.
    schedule: `NoiseSchedule`.
    blocks: attention blocks, all on the latents' grid, whose mean cross-attention map is to find
      the object.
    weight: of the mean `localization` in the loss.

  Returns:
    A loss whose params are {'unet', 'text'} and whose batch has 'clips' or 'images' or both, each
    `Samples`.
  """
  signals, noises = jnp.asarray(schedule.train_levels.T, jnp.float32)
  weights = jnp.sqrt(jnp.maximum(noises / signals, 1))
  taps = tuple(f'{block}/text_map' for block in blocks)
  per_sample = lambda x: x[:, None, None, None, None]

  def draw_timesteps(key, starts, others):
    """i32[starts + others], stratified; the starts have the last tenth."""
    start_key, other_key = jax.random.split(key)
    late = 0.9 + 0.1 * _strata(start_key, starts)
    times = jnp.concatenate([late, jnp.sqrt(_strata(other_key, others))])
    return (times * schedule.train_steps).astype(jnp.int32)

  def part_loss(params, samples, key, temporal):
    """(weighted error, mean `localization`) of clips or of single frames, f32[] each."""
    # Noisy latents; the first samples are starts, by turns noise and another sample under noise.
    time_key, noise_key = jax.random.split(key)
    size, starts = len(samples.latents), round(STARTS * len(samples.latents))
    timesteps = draw_timesteps(time_key, starts, size - starts)
    signal_power, noise_power = per_sample(signals[timesteps]), per_sample(noises[timesteps])
    noise = jax.random.normal(noise_key, samples.latents.shape)
    diffuse = lambda latents: jnp.sqrt(signal_power) * latents + jnp.sqrt(noise_power) * noise
    index = per_sample(jnp.arange(size))
    start = jnp.where(index % 2, noise, diffuse(samples.others))
    noisy = jnp.where(index < starts, start, diffuse(samples.latents))

    # The target is `noise` for all but the starts.
    target = (noisy - jnp.sqrt(signal_power) * samples.latents) / jnp.sqrt(noise_power)
    text = text_encoder.apply({'params': params['text']}, samples.tokens)
    denoise = functools.partial(unet.apply, {'params': params['unet']}, temporal=temporal)

    def predict(noisy, timestep, text):
      noise, tapped = denoise(noisy, timestep, text, None, None, taps)
      return noise, jnp.mean(jnp.stack([tapped[name] for name in taps]), axis=(0, 1))

    predicted, maps = jax.vmap(predict)(noisy, timesteps, text)
    error = jnp.mean((predicted - target) ** 2, axis=(1, 2, 3, 4))
    distance = jax.vmap(localization)(maps, samples.words, samples.coverage)
    return jnp.mean(weights[timesteps] * error), jnp.mean(distance)

  def loss(params, batch, key):
    keys = dict(zip(batch, jax.random.split(key, len(batch)), strict=True))
    parts = {name: part_loss(params, batch[name], keys[name], name == 'clips') for name in batch}
    value = sum(error + weight * distance for error, distance in parts.values()) / len(parts)
    errors = {name: error for name, (error, _) in parts.items()}
    return value, errors | {f'{name}_localization': parts[name][1] for name in parts}

  return loss


def _strata(key, count):
  """One uniform number from each of `count` equal parts of [0, 1], f32[count]."""
  return (jnp.arange(count) + jax.random.uniform(key, (count,))) / max(count, 1)
