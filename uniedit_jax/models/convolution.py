"""3x3 convolutions of frames in the form that is fastest for a shape on a platform; all forms add
up the same.
"""

import functools
import operator

import jax
import jax.numpy as jnp

from uniedit_jax.models.attention_kernels import mapped_rows

# Winograd's minimal filtering F(2x2, 3x3) (Lavin & Gray 2016): result = OUT (KERNEL k KERNEL^T * IN
# x IN^T) OUT^T.
IN = (1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)
KERNEL = (1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)
OUT = (1, 1, 1, 0), (0, 1, -1, -1)
# With fewer channels, or fewer tiles in all rows, its additions outweigh the products that it saves
# on a CPU.
CHANNELS, TILES = 256, 512
# A frame of more tiles than this leaves the cache.
TILES_OF_A_FRAME = 2048
PADDING = (1, 1), (1, 1)


def convolve(x, kernel, strides, padding, **options):
  """`lax.conv_general_dilated` of f[B, H, W, C], as linen's convolutions call it."""
  if kernel.shape[:2] != (3, 3) or strides != (1, 1) or tuple(map(tuple, padding)) != PADDING:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
  return _padded(x, kernel, tuple(options.items()))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _padded(x, kernel, options):
  """The convolution, padded by 1 and in steps of 1, in the best form."""
  height, width = x.shape[1:3]
  direct = functools.partial(
    jax.lax.conv_general_dilated, window_strides=(1, 1), padding=PADDING, **dict(options)
  )
  precision = dict(options)['precision']
  if height * width <= 4:
    return _as_one_product(x, kernel, precision)
  tiles = -(-height // 2) * -(-width // 2)
  fitting = tiles <= TILES_OF_A_FRAME and tiles * x.shape[0] * mapped_rows() >= TILES
  if x.dtype != jnp.float32 or min(kernel.shape[2:]) < CHANNELS or not fitting:
    return direct(x, kernel)
  minimal = functools.partial(winograd, precision=precision)
  return jax.lax.platform_dependent(x, kernel, cpu=minimal, default=direct)


def _forward(x, kernel, options):
  saved = x.value if kernel.perturbed else None, kernel.value if x.perturbed else None
  return _padded(x.value, kernel.value, options), saved


def _backward(options, saved, gradient):
  """Both gradients, for JAX's own have their faults in jaxlib 0.10.2.

  In a loop, XLA's CPU compiler makes them up to 60 times as slow as these. And mapped over sharded
  samples of a frame each, XLA partitions the convolution that gives those of the kernel into one
  that is wrong.
  """
  x, kernel = saved
  of_x = (
    None if kernel is None else _padded(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), options)
  )
  return of_x, None if x is None else _gradient_of_kernel(x, gradient, dict(options)['precision'])


def _gradient_of_kernel(x, gradient, precision):
  product = functools.partial(jnp.einsum, 'bhwc,bhwd->cd', precision=precision)
  products = [product(shifted, gradient) for shifted in _neighbours(x)]
  return jnp.stack(products).reshape(3, 3, *products[0].shape)


_padded.defvjp(_forward, _backward, symbolic_zeros=True)


def _as_one_product(x, kernel, precision):
  """As one matrix product: CPU convolutions of a few tokens are slow, and a small model has such
  grids.
  """
  patches = jnp.concatenate(_neighbours(x), axis=-1)
  return jnp.dot(patches, kernel.reshape(-1, kernel.shape[-1]), precision=precision)


def _neighbours(x):
  """What each place of a kernel sees: nine arrays shaped as f[B, H, W, C], zero outside of the
  frame.
  """
  height, width = x.shape[1:3]
  x = jnp.pad(x, ((0, 0), *PADDING, (0, 0)))
  return [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


def winograd(x, kernel, precision=None):
  """The convolution of f[B, H, W, C], padded by 1, with f[3, 3, C, D]: 16 products for four results
  and not 36.

  It goes over so many frames at once that a product has about `TILES` rows: what lies between stays
  in the cache.
  """
  batch, height, width, _ = x.shape
  rows, columns = -(-height // 2), -(-width // 2)
  frames = next(
    n for n in range(1, batch + 1) if batch % n == 0 and (n * rows * columns >= TILES or n == batch)
  )
  kernel = _stack(_transform(KERNEL, [[kernel[i, j] for j in range(3)] for i in range(3)]))

  def piece(x):
    x = jnp.pad(x, ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0)))
    # 4x4 tiles that overlap by two: one array for each of their places.
    tiles = [
      [x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for j in range(4)]
      for i in range(4)
    ]
    products = jnp.einsum(
      'tnc,tcd->tnd', _stack(_transform(IN, tiles)), kernel, precision=precision
    )
    out = _transform(OUT, products.reshape(4, 4, frames, rows, columns, -1))
    # [frames, rows, 2, columns, 2, D]
    out = jnp.stack([jnp.stack(parts, axis=3) for parts in out], axis=2)
    return out.reshape(frames, 2 * rows, 2 * columns, -1)[:, :height, :width]

  return jax.lax.map(piece, x.reshape(-1, frames, *x.shape[1:])).reshape(*x.shape[:3], -1)


def _stack(grid):
  """A grid of arrays [..., C] as one [places, N, C]."""
  return jnp.stack([part.reshape(-1, part.shape[-1]) for row in grid for part in row])


def _transform(matrix, parts):
  """The grid matrix @ parts @ matrix^T, of a grid of arrays, as additions, without what is times
  zero.
  """
  rows = [[_combine(weights, column) for column in zip(*parts, strict=True)] for weights in matrix]
  return [[_combine(weights, row) for weights in matrix] for row in rows]


def _combine(weights, arrays):
  return functools.reduce(operator.add, (w * x for w, x in zip(weights, arrays, strict=True) if w))
