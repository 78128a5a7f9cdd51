"""The forms of a 3x3 convolution add up the same, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.tolerances import MODULE, agreement
from uniedit_jax.models import convolution, layers
from uniedit_jax.runtime import cost

OPTIONS = {'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'), 'precision': None}


def direct(x, kernel):
  return jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), **OPTIONS)


@pytest.mark.parametrize('height, width', [(6, 8), (5, 8), (6, 7), (5, 3), (2, 2), (1, 1)])
def test_winograd_is_the_convolution(rng, height, width):
  x, kernel = (
    rng.standard_normal(shape).astype(np.float32)
    for shape in ((3, height, width, 12), (3, 3, 12, 5))
  )
  with jax.enable_x64(True):
    expected = direct(np.float64(x), np.float64(kernel))
  assert agreement(convolution.winograd(x, kernel), expected) < 2 * MODULE


def gradients(function, x, kernel, weights, argnums):
  return jax.grad(lambda *given: jnp.sum(weights * function(*given)), argnums=argnums)(x, kernel)


WINOGRAD, PLAIN = 1, 256


@pytest.mark.parametrize(
  'height, width, channels',
  [(5, 6, WINOGRAD), (6, 4, WINOGRAD), (5, 6, PLAIN), (2, 2, PLAIN), (1, 1, PLAIN)],
)
def test_gradients(rng, monkeypatch, height, width, channels):
  monkeypatch.setattr(convolution, 'CHANNELS', channels)
  monkeypatch.setattr(convolution, 'TILES', 1)
  shapes = (2, height, width, 4), (3, 3, 4, 3), (2, height, width, 3)
  given = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
  convolve = lambda x, kernel: convolution.convolve(x, kernel, (1, 1), ((1, 1), (1, 1)), **OPTIONS)
  expected = gradients(direct, *given, (0, 1))
  for found, wanted in zip(gradients(convolve, *given, (0, 1)), expected, strict=True):
    assert agreement(found, wanted) < 3 * MODULE
  for argnum, wanted in enumerate(expected):
    assert agreement(gradients(convolve, *given, argnum), wanted) < 3 * MODULE
  work = 2 * 2 * height * width * 9 * 4 * 3
  counted = [
    cost.flops(cost.products(lambda *a, n=n: gradients(convolve, *a, n), *given))
    for n in (0, 1, (0, 1))
  ]
  # nothing is computed for what is not differentiated
  assert counted == [2 * work, 2 * work, 3 * work]


def products_of(shape, features, strides=1, platform=None):
  """Operations of a convolution, and the HLO that it becomes on this machine."""
  conv = layers.Conv(features, strides=strides)
  x = jax.ShapeDtypeStruct(shape, np.float32)
  params = jax.eval_shape(conv.init, jax.random.key(0), x)
  return cost.flops(cost.products(conv.apply, params, x)), jax.jit(conv.apply).lower(
    params, x
  ).compile().as_text()


def test_wide_convolutions_of_many_tokens_have_fewer_products_on_a_cpu():
  wide = convolution.CHANNELS
  counted, text = products_of((4, 32, 32, wide), wide)
  assert ' convolution(' not in text and ' dot(' in text
  # what is counted is the work, and not a form of it
  assert counted == 2 * 4 * 32 * 32 * 9 * wide * wide
  for shape, features, strides in (
    ((4, 32, 32, wide), wide - 8, 1),
    ((4, 32, 32, wide), wide, 2),
    ((1, 4, 4, wide), wide, 1),
  ):
    assert ' convolution(' in products_of(shape, features, strides)[1]


def test_rows_and_edits_are_mapped_over_it(rng):
  wide = convolution.CHANNELS
  x, kernel = (
    rng.standard_normal(shape).astype(np.float32)
    for shape in ((2, 4, 32, 32, wide), (3, 3, wide, wide))
  )
  convolve = lambda x: convolution.convolve(x, kernel, (1, 1), ((1, 1), (1, 1)), **OPTIONS)
  found = jax.vmap(convolve)(x)
  for row, out in zip(x, found, strict=True):
    assert agreement(out, direct(row, kernel)) < 5 * MODULE


@pytest.mark.parametrize(
  'size, strides', [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 3), (1, 1)), ((2, 2), (2, 2))]
)
def test_convolutions_of_tiny_grids(rng, size, strides):
  x = rng.standard_normal((5, *size, 6)).astype(np.float32)
  kernel = rng.standard_normal((3, 3, 6, 7)).astype(np.float32)
  options = dict(dimension_numbers=('NHWC', 'HWIO', 'NHWC'), precision='highest')
  padding = ((1, 1), (1, 1))
  expected = jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
  assert agreement(convolution.convolve(x, kernel, strides, padding, **options), expected) < MODULE
