"""CLIP's text tower: ViT-L/14's conditions Stable Diffusion 1.x and LaVie, OpenCLIP's 2.x.

Parameter paths are the names of the PyTorch checkpoint with `.N` written `_N`.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from uniedit_jax.models import layers

ACTIVATIONS = {
  'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
  'gelu': functools.partial(nn.gelu, approximate=False),
}


@dataclasses.dataclass(frozen=True)
class TextConfig:
  """Sizes of the text tower; the defaults are CLIP ViT-L/14's.

  Attributes:
    vocabulary: number of token ids.
    positions: longest prompt T, including begin and end tokens; every prompt is padded to it.
    width: width E of the embedding.
    layers: number of layers that are read; Stable Diffusion 2.x leaves out OpenCLIP's last.
    heads: attention heads of a layer.
    mlp_width: hidden width of the feed-forward network.
    bos, eos: ids of the begin and end tokens.
    activation: of the feed-forward network, 'quick_gelu' (CLIP) or 'gelu' (OpenCLIP).
    pad: id of the token that fills a prompt up; -1 is the end token (CLIP).
  """

  vocabulary: int = 49408
  positions: int = 77
  width: int = 768
  layers: int = 12
  heads: int = 12
  mlp_width: int = 3072
  bos: int = 49406
  eos: int = 49407
  activation: str = 'quick_gelu'
  pad: int = -1

  def __post_init__(self):
    if self.width % self.heads:
      raise ValueError(f'width is {self.width}; accepted: multiples of heads={self.heads}')
    if self.activation not in ACTIVATIONS:
      raise ValueError(f'activation is {self.activation!r}; accepted: {tuple(ACTIVATIONS)}')


class SelfAttention(nn.Module):
  """Self-attention; if `causal`, a token sees only itself and the tokens before it."""

  heads: int
  causal: bool
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """f[B, T, E] -> f[B, T, E]."""
    dense = functools.partial(layers.Dense, x.shape[-1], dtype=self.dtype)
    split = lambda y: y.reshape(*y.shape[:-1], self.heads, -1)
    q, k, v = (split(dense(name=name)(x)) for name in ('q_proj', 'k_proj', 'v_proj'))
    # Logits and softmax are in float32.
    out = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
    return dense(name='out_proj')(out.reshape(x.shape))


class MLP(nn.Module):
  """Two projections with an activation between them, one of `ACTIVATIONS`."""

  hidden: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x):
    hidden = layers.Dense(self.hidden, dtype=self.dtype, name='fc1')(x)
    hidden = ACTIVATIONS[self.activation](hidden)
    return layers.Dense(x.shape[-1], dtype=self.dtype, name='fc2')(hidden)


# Under jit, all layers are traced once.
@nn.jit
class Layer(nn.Module):
  """Attention and feed-forward, each a residual after a layer norm."""

  config: Any
  causal: bool
  dtype: Any
  activation: str

  @nn.compact
  def __call__(self, x):
    norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
    attention = SelfAttention(self.config.heads, self.causal, self.dtype, name='self_attn')
    x += attention(norm(name='layer_norm1')(x))
    mlp = MLP(self.config.mlp_width, self.activation, self.dtype, name='mlp')
    return x + mlp(norm(name='layer_norm2')(x))


class Layers(nn.Module):
  """All layers of a tower; `config` has layers, heads and mlp_width."""

  config: Any
  causal: bool
  dtype: Any
  activation: str = 'quick_gelu'

  @nn.compact
  def __call__(self, x):
    for i in range(self.config.layers):
      x = Layer(self.config, self.causal, self.dtype, self.activation, name=f'layers_{i}')(x)
    return x


class Embeddings(nn.Module):
  """The sum of the embeddings of a token and of its position."""

  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(self, tokens):
    embed = functools.partial(layers.Embed, features=self.config.width, dtype=self.dtype)
    token = embed(self.config.vocabulary, name='token_embedding')(tokens)
    position = embed(self.config.positions, name='position_embedding')
    return token + position(jnp.arange(tokens.shape[-1]))


class TextModel(nn.Module):
  """Embeddings, layers and the final layer norm."""

  config: TextConfig
  dtype: Any

  @nn.compact
  def __call__(self, tokens):
    x = Embeddings(self.config, self.dtype, name='embeddings')(tokens)
    activation = self.config.activation
    encoder = Layers(
      self.config, causal=True, dtype=self.dtype, activation=activation, name='encoder'
    )
    x = encoder(x)
    return layers.LayerNorm(dtype=self.dtype, name='final_layer_norm')(x)


class TextEncoder(nn.Module):
  """Encodes prompts: `text_encoder.apply({'params': p}, tokens)`.

  `dtype` is that of activations; statistics and softmax stay in float32.
  """

  config: TextConfig
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens):
    """Token ids i32[*b, T] to f[*b, T, E], the last hidden state after the final layer norm.

    There is no padding mask, as in Stable Diffusion's training. Raises ValueError if T is more than
    `config.positions`.
    """
    length = tokens.shape[-1]
    if length > self.config.positions:
      raise ValueError(f'tokens has {length} positions; accepted: at most {self.config.positions}')
    text = TextModel(self.config, self.dtype, name='text_model')(tokens.reshape(-1, length))
    return text.reshape(*tokens.shape, -1)
