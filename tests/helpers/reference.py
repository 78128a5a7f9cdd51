"""The golden numbers of the PyTorch originals, and the rule that their weights are rebuilt from.

The originals are LaVie's UNet with UniEdit's injections and diffusers' DDIM, run in float32 on the
CPU. Nothing is shipped but their outputs: a weight is a function of its name and shape."""

import json
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from convert import rules
from uniedit_jax.models.unet import UNet, UNetConfig

GOLDENS = pathlib.Path(__file__).parents[1] / 'goldens'
# The models of the two manifests.
SMALL = UNetConfig(channels=(64, 128, 128, 128), heads=2, text_width=48)
WIDE = UNetConfig(channels=(256,) * 4, heads=8, text_width=32)


class Model:
  """A UNet with parameters; `apply` stays one object, so that all tests reuse the same programs.

  Attributes:
    config: `UNetConfig`.
    apply: `unet.apply`.
    params: its parameters.
    denoise: the callable that inversion takes.
  """

  def __init__(self, config, params, remat=False):
    self.config, self.params = config, params
    self.apply = UNet(config, remat=remat).apply
    self.denoise = lambda params, *inputs: self.apply({'params': params}, *inputs)[0]


def golden(name):
  """The arrays of a file, in torch order: batch, channel, frame, height, width."""
  with np.load(GOLDENS / f'{name}.npz') as arrays:
    return dict(arrays)


def from_torch(x):
  """[*b, C, F, H, W] -> [*b, F, H, W, C]."""
  return np.moveaxis(x, -4, -1)


def to_torch(x):
  """[*b, F, H, W, C] -> [*b, C, F, H, W]."""
  return np.moveaxis(np.asarray(x), -1, -4)


def weight(name, shape, salt=0):
  """The weight rule, f32[shape]; the same numbers on every machine."""
  if name.endswith('rotary_emb.freqs'):
    return np.float32(10000.0 ** (-np.arange(shape[0]) / shape[0]))
  z = (
    np.random.default_rng([salt, zlib.crc32(name.encode())])
    .standard_normal(shape)
    .astype(np.float32)
  )
  if 'relative_attention_bias' in name:
    return np.float32(0.5) * z
  if len(shape) == 1:
    return np.float32(0.1) * z + np.float32(name.endswith('weight'))
  return z / np.float32(np.sqrt(np.prod(shape[1:])))


def state_dict(manifest, part=None):
  """The state dict {torch name: f32 in torch layout} of a manifest, or of a part of it."""
  shapes = json.loads((GOLDENS / f'{manifest}_manifest.json').read_text())
  shapes = shapes[part] if part else shapes
  return {name: weight(name, shape) for name, shape in shapes.items()}


def abstract_params(config):
  """The parameter tree of a UNet as shapes."""
  inputs = (
    jax.ShapeDtypeStruct((2, 8, 8, config.latent_channels), jnp.float32),
    jax.ShapeDtypeStruct((), jnp.int32),
    jax.ShapeDtypeStruct((7, config.text_width), jnp.float32),
  )
  return jax.eval_shape(UNet(config).init, jax.random.key(0), *inputs)['params']


def golden_params(manifest, config):
  """The parameters of a manifest, taken through the converter."""
  return rules.convert(state_dict(manifest), abstract_params(config))


def random_params(config, salt):
  """Parameters by the weight rule of a model without goldens: norms near 1, nothing zero, unit
  gain.
  """

  def leaf(path, shape):
    name = '/'.join(part.key for part in path)
    z = np.random.default_rng([salt, zlib.crc32(name.encode())]).standard_normal(shape.shape)
    if name.endswith('scale'):
      return np.float32(1 + 0.1 * z)
    if name.endswith(('bias', 'embedding')):
      return np.float32(0.1 * z)
    return np.float32(z / np.sqrt(np.prod(shape.shape[:-1])))

  return jax.tree_util.tree_map_with_path(leaf, abstract_params(config))
