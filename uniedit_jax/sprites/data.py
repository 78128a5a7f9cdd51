"""Random clips with captions, their latents, and batches determined by seed and step alone."""

from typing import NamedTuple

import jax
import numpy as np

from uniedit_jax.media.video import to_model
from uniedit_jax.models.vae import encode_frames
from uniedit_jax.sprites.losses import Samples
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import random_scene


class Bank(NamedTuple):
  """Clips to draw batches from.

  Attributes:
    latents: f16[N, F, H, W, C].
    tokens: i32[N, T], one caption a clip.
    words, coverage: as in `losses.Samples`: bool[N, T], f16[N, F, H, W].
  """

  latents: np.ndarray
  tokens: np.ndarray
  words: np.ndarray
  coverage: np.ndarray


def draw_clips(seed, count, size, held_out=False, progress=iter):
  """Renders `count` random scenes.

  Args:
    seed, count: ints.
    size: height and width in pixels.
    held_out: whether to draw from the held-out combinations.
    progress: wraps an iterable.

  Returns:
    (frames u8[count, F, H, W, 3], masks of the objects bool[count, F, H, W], scenes: list of
    `Scene`).
  """
  rng = np.random.default_rng(seed)
  scenes = [random_scene(rng, held_out) for _ in range(count)]
  renderings = [render(scene, size) for scene in progress(scenes)]
  return np.stack([r.frames for r in renderings]), np.stack([r.masks for r in renderings]), scenes


def cover(masks, height, width):
  """The share of every cell that masks cover: bool[..., H, W] -> f16[..., height, width]."""
  *batch, rows, columns = masks.shape
  cells = masks.reshape(*batch, height, rows // height, width, columns // width)
  return cells.mean(axis=(-3, -1), dtype=np.float32).astype(np.float16)


def encode_clips(vae, params, clips, progress=iter):
  """Frames u8[N, F, H, W, 3] to latents f16[N, F, H/8, W/8, C], a clip at a time."""
  return np.stack(
    [np.asarray(encode_frames(vae, params, to_model(clip)), np.float16) for clip in progress(clips)]
  )


def frame_batch(frames, seed, step, size):
  """Frames u8[N, H, W, 3] -> u8[size, H, W, 3], drawn at random."""
  return frames[np.random.default_rng([seed, step]).integers(len(frames), size=size)]


def text_batch(bank, null, seed, step, images, clips, dropout):
  """Single frames and whole clips with their prompts, drawn at random.

  Args:
    bank: `Bank`.
    null: i32[T], the null prompt.
    seed, step: of the random numbers.
    images, clips: how many of each; 0 leaves the entry out.
    dropout: probability that a prompt is replaced by the null prompt.

  Returns:
    The batch of `losses.denoising_loss`.
  """
  rng = np.random.default_rng([seed, step])
  batch = {}
  for name, count in (('images', images), ('clips', clips)):
    clip = rng.integers(len(bank.latents), size=count)
    frame = rng.integers(bank.latents.shape[1], size=count)
    dropped = (rng.random(count) < dropout)[:, None]
    if count:
      picked = (clip[:, None], frame[:, None]) if name == 'images' else clip
      latents, coverage = (x[picked].astype(np.float32) for x in (bank.latents, bank.coverage))
      batch[name] = Samples(
        latents=latents,
        others=np.roll(latents, 1, axis=0),
        tokens=np.where(dropped, null, bank.tokens[clip]),
        words=bank.words[clip] & ~dropped,
        coverage=coverage,
      )
  return batch


def shard(batch, mesh):
  """Places a batch on a mesh, split along its first axis."""
  return jax.device_put(batch, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data')))
