"""CLIP's image tower, and both towers with the projections to their common space.

Radford et al. 2021. Parameter paths are the names of transformers' `CLIPModel` with `.N` written
`_N`.
"""

import dataclasses
import functools
import json
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from uniedit_jax.models import layers
from uniedit_jax.models.clip_text import Layers, TextConfig, TextModel

PART = 'clip'  # of a checkpoint folder
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
LETTERS = {768: 'b', 1024: 'l'}  # names of the widths of published towers


@dataclasses.dataclass(frozen=True)
class ImageConfig:
  """Sizes of the image tower; the defaults are ViT-B/32's.

  Attributes:
    size: height and width of a picture in pixels.
    patch: height and width of the patches that become tokens.
    width, layers, heads, mlp_width: as in `TextConfig`.
  """

  size: int = 224
  patch: int = 32
  width: int = 768
  layers: int = 12
  heads: int = 12
  mlp_width: int = 3072

  def __post_init__(self):
    if self.width % self.heads:
      raise ValueError(f'width is {self.width}; accepted: multiples of heads={self.heads}')
    if self.size % self.patch:
      raise ValueError(f'size is {self.size}; accepted: multiples of patch={self.patch}')


@dataclasses.dataclass(frozen=True)
class ClipConfig:
  """Both towers; the defaults are ViT-B/32's.

  Attributes:
    text, image: their sizes.
    width: dimension D of the common space.
  """

  text: TextConfig = dataclasses.field(
    default_factory=lambda: TextConfig(width=512, heads=8, mlp_width=2048)
  )
  image: ImageConfig = dataclasses.field(default_factory=ImageConfig)
  width: int = 512

  @property
  def name(self):
    """The suffix of measures: 'vitb32', 'vitl14', 'vitl14_336' for larger pictures."""
    image = self.image
    letter = LETTERS.get(image.width, f'{image.width}_')
    return f'vit{letter}{image.patch}' + (f'_{image.size}' if image.size != 224 else '')

  def to_json(self):
    return json.dumps(dataclasses.asdict(self), indent=2) + '\n'


VITB32 = ClipConfig()
VITL14 = ClipConfig(
  TextConfig(), ImageConfig(patch=14, width=1024, layers=24, heads=16, mlp_width=4096), 768
)


class ImageEmbeddings(nn.Module):
  """A class token and the tokens of all patches, plus the embeddings of their positions."""

  config: ImageConfig
  dtype: Any

  @nn.compact
  def __call__(self, pixels):
    width, patch = self.config.width, (self.config.patch, self.config.patch)
    conv = functools.partial(nn.Conv, width, patch, patch, 'VALID', use_bias=False)
    x = conv(dtype=self.dtype, name='patch_embedding')(pixels).reshape(len(pixels), -1, width)
    first = self.param('class_embedding', nn.initializers.normal(), (width,))
    first = jnp.broadcast_to(first.astype(x.dtype), (len(x), 1, width))
    x = jnp.concatenate([first, x], axis=1)
    position = layers.Embed(x.shape[1], width, dtype=self.dtype, name='position_embedding')
    return x + position(jnp.arange(x.shape[1]))


class ImageModel(nn.Module):
  """Embeddings, layers and layer norms; returns the class token."""

  config: ImageConfig
  dtype: Any

  @nn.compact
  def __call__(self, pixels):
    x = ImageEmbeddings(self.config, self.dtype, name='embeddings')(pixels)
    x = layers.LayerNorm(dtype=self.dtype, name='pre_layrnorm')(x)
    x = Layers(self.config, causal=False, dtype=self.dtype, name='encoder')(x)
    return layers.LayerNorm(dtype=self.dtype, name='post_layernorm')(x[:, 0])


class ImageFeatures(nn.Module):
  """Pictures in the common space: `ImageFeatures(config).apply({'params': params}, pixels)`."""

  config: ClipConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, pixels):
    """f[B, size, size, 3], normalised, -> f[B, D], not unit; raises ValueError for other sizes."""
    size = self.config.image.size
    if pixels.shape[1:] != (size, size, 3):
      raise ValueError(f'pixels has shape {pixels.shape}; accepted: [B, {size}, {size}, 3]')
    x = ImageModel(self.config.image, self.dtype, name='vision_model')(pixels)
    dense = functools.partial(layers.Dense, self.config.width, use_bias=False, dtype=self.dtype)
    return dense(name='visual_projection')(x)


class TextFeatures(nn.Module):
  """Prompts in the common space; used as `ImageFeatures`."""

  config: ClipConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens):
    """i32[B, T] of a tokenizer -> f[B, D], not unit; read at the first end token."""
    x = TextModel(self.config.text, self.dtype, name='text_model')(tokens)
    end = jnp.argmax(tokens == self.config.text.eos, axis=-1)
    x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
    dense = functools.partial(layers.Dense, self.config.width, use_bias=False, dtype=self.dtype)
    return dense(name='text_projection')(x)


def abstract_clip(config):
  """The parameters of both towers as `jax.ShapeDtypeStruct`s, and 'logit_scale', f32[], a log."""
  pixels = jnp.zeros((1, config.image.size, config.image.size, 3))
  tokens = jnp.zeros((1, 1), jnp.int32)

  def init(key):
    image = ImageFeatures(config).init(key, pixels)['params']
    return image | TextFeatures(config).init(key, tokens)['params'] | {'logit_scale': jnp.zeros(())}

  return jax.eval_shape(init, jax.random.key(0))
