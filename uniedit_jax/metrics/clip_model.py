"""A converted CLIP model: clips and prompts as unit vectors of one space.

Pictures are prepared as CLIP was trained: bicubic resize of the short side to `size` with the
antialiasing of PIL, the middle square, mean and deviation of the channels. A wide clip thus shows
its middle only.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
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
from uniedit_jax.models.config import read_json
from uniedit_jax.models.tokenizers import CLIPTokenizer
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.files import absolute

BATCH = 16  # frames at once


class ClipModel(NamedTuple):
  """A loaded model.

  Attributes:
    config: `ClipConfig`.
    params: parameter tree of both towers.
    tokenizer: `tokenizers.CLIPTokenizer`.
  """

  config: ClipConfig
  params: dict[str, Any]
  tokenizer: CLIPTokenizer


@functools.lru_cache(maxsize=1)  # a batch asks for every edit
def read_tokenizer(folder):
  """The tokenizer of a converted model, without its weights.

  Raises:
    FileNotFoundError: the folder is none of `convert.clip`.
    ValueError: a damaged config, or a vocabulary that does not fit.
  """
  folder = epath.Path(folder).expanduser()
  missing = [
    name for name in ('config.json', 'manifest.json', PART) if not (folder / name).exists()
  ]
  if missing:
    raise FileNotFoundError(
      f'{str(folder)!r} lacks {", ".join(missing)}; accepted: a folder made by `python -m convert.clip`'
    )
  return CLIPTokenizer(folder / 'tokenizer', _read_config(folder).text)


@functools.lru_cache(maxsize=1)
def load(folder):
  """Loads a model, float32, on the first local device; the last one stays loaded, as many clips are
  measured.

  Args:
    folder: str, of `convert.clip`.

  Returns:
    `ClipModel`.

  Raises:
    FileNotFoundError, ValueError: as `read_tokenizer`; or a parameter tree that the config does not
      have.
  """
  tokenizer, path = read_tokenizer(folder), absolute(folder)
  config = _read_config(path)
  return ClipModel(config, checkpoint.restore(path, PART, abstract_clip(config)), tokenizer)


def image_features(model, frames):
  """Frames as unit vectors.

  Args:
    model: `ClipModel`.
    frames: u8[F, H, W, 3].

  Returns:
    f32[F, D].
  """
  pixels = prepare(frames, model.config.image.size)
  padded = np.concatenate([pixels, np.zeros((-len(pixels) % BATCH, *pixels.shape[1:]), np.float32)])
  parts = np.split(padded, len(padded) // BATCH)  # all of one size: one program
  return np.concatenate(
    [_apply(ImageFeatures(model.config), model.params, part) for part in parts]
  )[: len(pixels)]


def text_features(model, prompts):
  """Prompts, list of P str, as unit vectors f32[P, D].

  Raises:
    ValueError: a prompt is too long.
  """
  tokens = model.tokenizer.encode(prompts)
  return np.concatenate(
    [_apply(TextFeatures(model.config), model.params, row[None]) for row in tokens]
  )


def prepare(frames, size):
  """Frames as the image tower takes them.

  Args:
    frames: u8[F, H, W, 3].
    size: height and width.

  Returns:
    f32[F, size, size, 3], normalised.
  """
  height, width = frames.shape[1:3]
  short = min(height, width)
  new_height, new_width = size * height // short, size * width // short
  top, left = (new_height - size) // 2, (new_width - size) // 2
  resized = [
    Image.fromarray(frame).resize((new_width, new_height), Image.Resampling.BICUBIC)
    for frame in frames
  ]
  middle = np.stack(
    [np.asarray(picture)[top : top + size, left : left + size] for picture in resized]
  )
  return ((middle / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)).astype(np.float32)


def _apply(module, params, x):
  # Scores of methods differ in the third digit, which the shortened products of accelerators would
  # touch.
  with jax.default_matmul_precision('highest'):
    return np.asarray(_unit(module, params, x))


@functools.partial(jax.jit, static_argnums=0)
def _unit(module, params, x):
  features = module.apply({'params': params}, x)
  return features / jax.numpy.linalg.norm(features, axis=-1, keepdims=True)


def _read_config(folder):
  return read_json(ClipConfig, (folder / 'config.json').read_text())
