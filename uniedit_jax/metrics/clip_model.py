"""A converted CLIP model: frames and prompts as unit vectors of one space.

Frames are prepared as CLIP was trained: bicubic resize of the short side to `size` with the
antialiasing of PIL, the middle square, channels normalised. CLIP sees only the middle of a wide
clip.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from uniedit_jax.models.clip_image import (
  DEVIATION,
  MEAN,
  PART,
  ClipConfig,
  ImageFeatures,
  TextFeatures,
  abstract_clip,
)
from uniedit_jax.models.tokenizers import CLIPTokenizer
from uniedit_jax.runtime import checkpoint, hub, hub_checkpoint, weights
from uniedit_jax.runtime.faults import Faults

BICUBIC = Image.Resampling.BICUBIC
BATCH = 16  # frames of one program


class ClipModel(NamedTuple):
  """A loaded model; `params` holds the parameters of both towers."""

  config: ClipConfig
  params: dict[str, Any]
  tokenizer: CLIPTokenizer


# Kept, as a batch asks for every edit.
@functools.lru_cache(maxsize=1)
def read_tokenizer(folder):
  """The tokenizer of a converted model, without its weights.

  Raises FileNotFoundError if `convert.clip` did not make the folder, ValueError if a file of it is
  damaged or the vocabulary does not fit the config.
  """
  path, where = checkpoint.locate(folder), hub.hub_id(folder)
  # Parameters on the hub are fetched when they are loaded.
  files = ('config.json', 'manifest.json', *(() if where else (PART,)))
  if missing := ', '.join(name for name in files if not (path / name).exists()):
    accepted = 'accepted: a folder made by `python -m convert.clip`, or a hub id of one'
    raise FileNotFoundError(f'{str(path)!r} lacks {missing}; {accepted}')
  entry = checkpoint.read_manifest(path, [PART])[PART]
  if where:
    Faults(hub_checkpoint.lacking(where, [PART])).stop(f'{where} is no whole checkpoint')
  else:
    weights.check_files(path, PART, entry)
  return CLIPTokenizer(path / 'tokenizer', checkpoint.read_config(path, ClipConfig).text)


@functools.lru_cache(maxsize=1)
def load(folder):
  """Loads a `ClipModel` in float32 on the first local device, and keeps the last one.

  Raises as `read_tokenizer`, and ValueError if the parameters do not match config or manifest.
  """
  tokenizer, path = read_tokenizer(folder), checkpoint.locate(folder, [PART])
  weights.check_files(path, PART, checkpoint.read_manifest(path)[PART])
  config = checkpoint.read_config(path, ClipConfig)
  return ClipModel(config, checkpoint.restore(path, PART, abstract_clip(config)), tokenizer)


def image_features(model, frames):
  """Frames u8[F, H, W, 3] as unit vectors f32[F, D] of a `ClipModel`."""
  pixels = prepare(frames, model.config.image.size)
  # Batches of one size share a program.
  padded = np.pad(pixels, ((0, -len(pixels) % BATCH), (0, 0), (0, 0), (0, 0)))
  batches, tower = np.split(padded, len(padded) // BATCH), ImageFeatures(model.config)
  features = [_apply(tower, model.params, batch) for batch in batches]
  return np.concatenate(features)[: len(pixels)]


def text_features(model, prompts):
  """Prompts, list of P str, as unit vectors f32[P, D]; raises ValueError if one is too long."""
  tokens, tower = model.tokenizer.encode(prompts), TextFeatures(model.config)
  return np.concatenate([_apply(tower, model.params, row[None]) for row in tokens])


def prepare(frames, size):
  """The input of the image tower: u8[F, H, W, 3] -> f32[F, size, size, 3], normalised."""
  height, width = frames.shape[1:3]
  short = min(height, width)
  new_height, new_width = size * height // short, size * width // short
  top, left = (new_height - size) // 2, (new_width - size) // 2
  resize = lambda frame: Image.fromarray(frame).resize((new_width, new_height), BICUBIC)
  resized = np.stack([np.asarray(resize(frame)) for frame in frames])
  middle = resized[:, top : top + size, left : left + size]
  return ((middle / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)).astype(np.float32)


def _apply(module, params, x):
  # Scores of methods differ in the third digit, which reduced precision would change.
  with jax.default_matmul_precision('highest'):
    return np.asarray(_unit(module, params, x))


@functools.partial(jax.jit, static_argnums=0)
def _unit(module, params, x):
  features = module.apply({'params': params}, x)
  return features / jax.numpy.linalg.norm(features, axis=-1, keepdims=True)
