"""Random clips with captions, their latents, and batches that depend on the seed and the step alone."""

import jax
import numpy as np

from uniedit_jax.models.vae import encode_frames
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import random_scene
from uniedit_jax.video import to_model


def draw_clips(seed, count, size, held_out=False, progress=iter):
  """Renders random scenes.

  Args:
    seed, count: which scenes, and how many of them.
    size: height and width in pixels.
    held_out: whether to draw among the combinations that are held out.
    progress: wraps an iterable.

  Returns:
    (frames u8[count, F, H, W, 3], scenes: list of `Scene`).
  """
  rng = np.random.default_rng(seed)
  scenes = [random_scene(rng, held_out) for _ in range(count)]
  return np.stack([render(scene, size).frames for scene in progress(scenes)]), scenes


def encode_clips(vae, params, clips, progress=iter):
  """Frames u8[N, F, H, W, 3] to latents f16[N, F, H/8, W/8, C], a clip at a time."""
  return np.stack([np.asarray(encode_frames(vae, params, to_model(clip)), np.float16) for clip in progress(clips)])


def frame_batch(frames, seed, step, size):
  """Frames u8[N, H, W, 3] -> u8[size, H, W, 3], drawn at random."""
  return frames[np.random.default_rng([seed, step]).integers(len(frames), size=size)]


def text_batch(latents, tokens, null, seed, step, images, clips, dropout):
  """Single frames and whole clips with their prompts, drawn at random.

  Args:
    latents: f[N, F, H, W, C].
    tokens: i32[N, T], one caption a clip.
    null: i32[T], the null prompt.
    seed, step: of the random numbers.
    images, clips: how many of each; a kind of which there are none is left out.
    dropout: probability that a prompt is replaced by the null prompt.

  Returns:
    The batch of `losses.denoising_loss`.
  """
  rng = np.random.default_rng([seed, step])
  batch = {}
  for name, count in (('images', images), ('clips', clips)):
    clip = rng.integers(len(latents), size=count)
    frame = rng.integers(latents.shape[1], size=count)
    dropped = rng.random(count) < dropout
    if count:
      picked = (latents[clip, frame][:, None] if name == 'images' else latents[clip]).astype(np.float32)
      batch[name] = picked, np.roll(picked, 1, axis=0), np.where(dropped[:, None], null, tokens[clip])
  return batch


def shard(batch, mesh):
  """Places a batch on a mesh, split along its first axis."""
  return jax.device_put(batch, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data')))
