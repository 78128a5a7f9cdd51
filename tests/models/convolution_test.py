"""All forms of a 3x3 convolution compute the same, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.tolerances import MODULE, agreement
from uniedit_jax.models import convolution, layers
from uniedit_jax.runtime import cost

OPTIONS = {'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'), 'precision': None}


def direct(x, kernel):
  return jax.lax.conv_general_dilated(x, kernel, (1, 1), convolution.PADDING, **OPTIONS)


def convolve(x, kernel):
  return convolution.convolve(x, kernel, (1, 1), convolution.PADDING, **OPTIONS)


def normal(rng, *shapes):
  return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize('height, width', [(6, 8), (5, 8), (6, 7), (5, 3), (2, 2), (1, 1)])
def test_winograd_is_the_convolution(rng, height, width):
  x, kernel = normal(rng, (3, height, width, 12), (3, 3, 12, 5))
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
  given = normal(rng, (2, height, width, 4), (3, 3, 4, 3), (2, height, width, 3))
  expected = gradients(direct, *given, (0, 1))
  for found, wanted in zip(gradients(convolve, *given, (0, 1)), expected, strict=True):
    assert agreement(found, wanted) < 3 * MODULE
  for argnum, wanted in enumerate(expected):
    assert agreement(gradients(convolve, *given, argnum), wanted) < 3 * MODULE
  work = 2 * 2 * height * width * 9 * 4 * 3
  # Nothing is computed for arguments that are not differentiated.
  for argnums, products in ((0, 2), (1, 2), ((0, 1), 3)):
    function = functools.partial(gradients, convolve, argnums=argnums)
    assert cost.flops(cost.products(function, *given)) == products * work


def products_of(shape, features, strides=1):
  """Operations of a convolution, and its HLO on this machine."""
  conv = layers.Conv(features, strides=strides)
  x = jax.ShapeDtypeStruct(shape, np.float32)
  params = jax.eval_shape(conv.init, jax.random.key(0), x)
  text = jax.jit(conv.apply).lower(params, x).compile().as_text()
  return cost.flops(cost.products(conv.apply, params, x)), text


def test_wide_convolutions_of_many_tokens_have_fewer_products_on_a_cpu():
  wide = convolution.CHANNELS
  counted, text = products_of((4, 32, 32, wide), wide)
  assert ' convolution(' not in text and ' dot(' in text
  # The count is that of the plain convolution, whatever its form.
  assert counted == 2 * 4 * 32 * 32 * 9 * wide * wide
  assert ' convolution(' in products_of((4, 32, 32, wide), wide - 8)[1]
  assert ' convolution(' in products_of((4, 32, 32, wide), wide, strides=2)[1]
  assert ' convolution(' in products_of((1, 4, 4, wide), wide)[1]


def test_rows_and_edits_are_mapped_over_it(rng):
  wide = convolution.CHANNELS
  x, kernel = normal(rng, (2, 4, 32, 32, wide), (3, 3, wide, wide))
  found = jax.vmap(convolve, in_axes=(0, None))(x, kernel)
  for row, out in zip(x, found, strict=True):
    assert agreement(out, direct(row, kernel)) < 5 * MODULE


@pytest.mark.parametrize(
  'size, strides', [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 3), (1, 1)), ((2, 2), (2, 2))]
)
def test_convolutions_of_tiny_grids(rng, size, strides):
  x, kernel = normal(rng, (5, *size, 6), (3, 3, 6, 7))
  options, padding = OPTIONS | {'precision': 'highest'}, convolution.PADDING
  expected = jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
  assert agreement(convolution.convolve(x, kernel, strides, padding, **options), expected) < MODULE


@pytest.mark.parametrize('size', [(2, 2), (5, 6)])
def test_dilated_and_grouped_convolutions_are_left_alone(rng, size):
  x, kernel, narrow = normal(rng, (2, *size, 4), (3, 3, 4, 4), (3, 3, 2, 4))
  for options, weights in (
    ({'rhs_dilation': (2, 2)}, kernel),
    ({'feature_group_count': 2}, narrow),
  ):
    arguments = (x, weights, (1, 1), convolution.PADDING)
    expected = jax.lax.conv_general_dilated(*arguments, **OPTIONS, **options)
    found = convolution.convolve(*arguments, **OPTIONS, **options)
    np.testing.assert_array_equal(found, expected)
