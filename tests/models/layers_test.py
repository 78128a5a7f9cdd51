"""Layers against numpy formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.tolerances import MODULE, agreement
from uniedit_jax.models import layers


def normalise(x, axes, groups, epsilon):
  """Group normalisation in float64; `axes` of x share statistics, as do the channels of a group."""
  x = np.asarray(x, np.float64)
  grouped = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
  axes = (*(axis - 1 for axis in axes), -1)
  mean, var = grouped.mean(axes, keepdims=True), grouped.var(axes, keepdims=True)
  return ((grouped - mean) / np.sqrt(var + epsilon)).reshape(x.shape)


NORMS = [(layers.GroupNorm, (-3, -2)), (layers.VideoGroupNorm, (-4, -3, -2))]


@pytest.fixture
def clip(rng):
  """Frames of different mean and scale, so that the two kinds of statistics differ much."""
  scale = 1 + np.arange(3).reshape(3, 1, 1, 1)
  return (rng.standard_normal((3, 4, 5, 8)) * scale + scale).astype(np.float32)


@pytest.mark.parametrize('kind, axes', NORMS)
@pytest.mark.parametrize('epsilon', [1e-5, 0.1])
def test_group_norm_statistics(clip, kind, axes, epsilon):
  norm = kind(4, epsilon=epsilon)
  out = norm.apply(norm.init(jax.random.key(0), clip), clip)
  assert agreement(out, normalise(clip, axes, 4, epsilon)) < MODULE


def test_group_norms_default_to_the_epsilon_of_resnets(clip):
  for kind, axes in NORMS:
    # The clip is faint enough that epsilon matters.
    norm, faint = kind(4), 1e-3 * clip
    out = norm.apply(norm.init(jax.random.key(0), faint), faint)
    assert agreement(out, normalise(faint, axes, 4, 1e-5)) < 5 * MODULE


def test_only_the_video_norm_couples_frames(clip):
  for kind, coupled in ((layers.GroupNorm, False), (layers.VideoGroupNorm, True)):
    norm = kind(4)
    variables = norm.init(jax.random.key(0), clip)
    change = agreement(norm.apply(variables, clip)[:1], norm.apply(variables, clip[:1]))
    assert (change > 0.1) == coupled


@pytest.mark.parametrize('kind, axes', NORMS)
def test_variance_survives_a_large_mean(rng, kind, axes):
  x = (100 + 0.1 * rng.standard_normal((2, 16, 16, 8))).astype(np.float32)
  norm = kind(4)
  out = norm.apply(norm.init(jax.random.key(0), x), x)
  # The rounding of a mean of 100 in units of .1 is all that may remain; E[x^2] - E[x]^2 is off by
  # several 1e-2.
  assert agreement(out, normalise(x, axes, 4, 1e-5)) < 2e-3


def test_layer_norm_survives_a_large_mean(rng):
  x = (100 + 0.1 * rng.standard_normal((2, 64))).astype(np.float32)
  out = layers.LayerNorm().apply({'params': {'scale': jnp.ones(64), 'bias': jnp.zeros(64)}}, x)
  assert agreement(out, normalise(x, (), 1, 1e-5)) < 2e-3


@pytest.mark.parametrize('kind, axes', NORMS)
@pytest.mark.parametrize('leading', [(), (2,), (2, 2)])
def test_group_norms_take_leading_dimensions(clip, rng, kind, axes, leading):
  factor = np.arange(1.0, 1 + math.prod(leading)).reshape(*leading, 1, 1, 1, 1)
  x = np.float32(clip * factor + rng.standard_normal(clip.shape))
  norm = kind(4)
  out = norm.apply(norm.init(jax.random.key(0), x), x)
  assert agreement(out, normalise(x, axes, 4, 1e-5)) < MODULE


@pytest.mark.parametrize('strides, size', [(1, (5, 6)), (2, (3, 3))])
def test_convolution_pads_symmetrically(rng, strides, size):
  x = rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
  conv = layers.Conv(4, strides=strides)
  kernel = rng.standard_normal((3, 3, 3, 4)).astype(np.float32)
  out = conv.apply({'params': {'kernel': kernel, 'bias': np.ones(4, np.float32)}}, x)
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  expected = np.ones((2, *size, 4))
  for f, i, j in np.ndindex(2, *size):
    window = padded[f, i * strides : i * strides + 3, j * strides : j * strides + 3]
    expected[f, i, j] += np.einsum('hwi,hwio->o', window, kernel)
  assert agreement(out, expected) < MODULE


@pytest.mark.parametrize(
  'old, new', [((3, 4), (6, 8)), ((3, 4), (5, 7)), ((5, 8), (9, 15)), ((4, 4), (3, 2))]
)
def test_resize_nearest_is_the_floor_rule(rng, old, new):
  x = rng.standard_normal((2, 3, *old, 2)).astype(np.float32)
  out = np.asarray(layers.resize_nearest(x, *new))
  assert out.shape == (2, 3, *new, 2)
  for i, j in np.ndindex(*new):
    source = x[..., math.floor(i * old[0] / new[0]), math.floor(j * old[1] / new[1]), :]
    np.testing.assert_array_equal(out[..., i, j, :], source)


def test_timestep_embedding_is_cosines_then_sines():
  out = layers.timestep_embedding(981, 8)
  angles = 981 * 10000.0 ** (-np.arange(4) / 4)
  assert out.dtype == jnp.float32
  # The limit is that of float32 angles up to 981.
  np.testing.assert_allclose(out, [*np.cos(angles), *np.sin(angles)], atol=1e-4)
  np.testing.assert_array_equal(layers.timestep_embedding(0, 6), [1, 1, 1, 0, 0, 0])


def test_geglu_gates_the_first_half_with_the_exact_gelu(rng):
  x = 2 * rng.standard_normal((5, 3)).astype(np.float32)
  kernel = rng.standard_normal((3, 8)).astype(np.float32)
  params = {'proj': {'kernel': kernel, 'bias': np.zeros(8, np.float32)}}
  out = layers.GEGLU(4).apply({'params': params}, x)
  value, gate = np.split(x.astype(np.float64) @ kernel, 2, axis=-1)
  gelu = gate * (1 + np.vectorize(math.erf)(gate / math.sqrt(2))) / 2
  assert agreement(out, value * gelu) < MODULE
