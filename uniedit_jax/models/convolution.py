"""3x3 convolutions of frames, in the form that is fastest for a shape on a platform."""

import functools
import operator

import jax
import jax.numpy as jnp

from uniedit_jax.models.attention_kernels import mapped_rows

# Winograd's minimal filtering F(2x2, 3x3) (Lavin & Gray 2016):
# result = OUT (KERNEL k KERNEL^T * IN x IN^T) OUT^T.
IN = (1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)
KERNEL = (1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)
OUT = (1, 1, 1, 0), (0, 1, -1, -1)
# With fewer channels, or fewer tiles in all rows, its additions cost a CPU more than it saves.
CHANNELS, TILES = 256, 512
# A frame of more tiles than this leaves the cache.
TILES_OF_A_FRAME = 2048
PADDING = (1, 1), (1, 1)


def convolve(x, kernel, strides, padding, *, precision=None, **options):
  """`lax.conv_general_dilated` of f[B, H, W, C], called as linen's convolutions do."""
  dilation_and_groups = [value for name, value in options.items() if name != 'dimension_numbers']
  plain = strides == (1, 1) and all(value in (1, (1, 1)) for value in dilation_and_groups)
  if plain and kernel.shape[:2] == (3, 3) and tuple(map(tuple, padding)) == PADDING:
    return _padded(x, kernel, precision)
  return jax.lax.conv_general_dilated(x, kernel, strides, padding, precision=precision, **options)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _padded(x, kernel, precision):
  """The convolution, padded by 1 and with stride 1, in the fastest form."""
  height, width = x.shape[1:3]
  if height * width <= 4:
    return _as_one_product(x, kernel, precision)
  direct, minimal = (functools.partial(f, precision=precision) for f in (_direct, winograd))
  tiles = -(-height // 2) * -(-width // 2)
  fitting = tiles <= TILES_OF_A_FRAME and tiles * x.shape[0] * mapped_rows() >= TILES
  if x.dtype != jnp.float32 or min(kernel.shape[2:]) < CHANNELS or not fitting:
    return direct(x, kernel)
  return jax.lax.platform_dependent(x, kernel, cpu=minimal, default=direct)


def _forward(x, kernel, precision):
  saved = x.value if kernel.perturbed else None, kernel.value if x.perturbed else None
  return _padded(x.value, kernel.value, precision), saved


def _backward(precision, saved, gradient):
  """Computes both gradients without JAX's own, which jaxlib 0.10.2 compiles badly.

  Inside a loop on CPUs, the automatic gradients are up to 60 times slower. Under vmap over sharded
  samples of one frame each, the automatic gradient of the kernel is wrong.
  """
  x, kernel = saved
  of_x = of_kernel = None
  if kernel is not None:
    of_x = _padded(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), precision)
  if x is not None:
    product = functools.partial(jnp.einsum, 'bhwc,bhwd->cd', precision=precision)
    products = [product(shifted, gradient) for shifted in _neighbours(x)]
    of_kernel = jnp.stack(products).reshape(3, 3, *products[0].shape)
  return of_x, of_kernel


_padded.defvjp(_forward, _backward, symbolic_zeros=True)


def _direct(x, kernel, precision):
  layout = ('NHWC', 'HWIO', 'NHWC')
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), PADDING, dimension_numbers=layout, precision=precision
  )


def _as_one_product(x, kernel, precision):
  """One matrix product, for the tiny grids of small models, where CPU convolutions are slow."""
  patches = jnp.concatenate(_neighbours(x), axis=-1)
  return jnp.dot(patches, kernel.reshape(-1, kernel.shape[-1]), precision=precision)


def _neighbours(x):
  """The inputs of each place of a kernel: nine arrays f[B, H, W, C], zero outside the frame."""
  height, width = x.shape[1:3]
  x = jnp.pad(x, ((0, 0), *PADDING, (0, 0)))
  return [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


def winograd(x, kernel, precision=None):
  """Convolves f[B, H, W, C], padded by 1, with f[3, 3, C, D]: 16 products for 4 results, not 36.

  As many frames are computed at once as give a product about `TILES` rows, so that intermediate
  results stay in the cache.
  """
  batch, height, width, _ = x.shape
  rows, columns = -(-height // 2), -(-width // 2)
  divisors = [n for n in range(1, batch + 1) if batch % n == 0]
  frames = next((n for n in divisors if n * rows * columns >= TILES), batch)
  kernel = _stack(_transform(KERNEL, [[kernel[i, j] for j in range(3)] for i in range(3)]))

  def piece(x):
    x = jnp.pad(x, ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0)))
    # 4x4 tiles that overlap by two: one array for each of their places.
    place = lambda i, j: x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
    tiles = _stack(_transform(IN, [[place(i, j) for j in range(4)] for i in range(4)]))
    products = jnp.einsum('tnc,tcd->tnd', tiles, kernel, precision=precision)
    out = _transform(OUT, products.reshape(4, 4, frames, rows, columns, -1))
    # [frames, rows, 2, columns, 2, D]
    out = jnp.stack([jnp.stack(parts, axis=3) for parts in out], axis=2)
    return out.reshape(frames, 2 * rows, 2 * columns, -1)[:, :height, :width]

  return jax.lax.map(piece, x.reshape(-1, frames, *x.shape[1:])).reshape(*x.shape[:3], -1)


def _stack(grid):
  """A grid of arrays [..., C] as one [places, N, C]."""
  return jnp.stack([part.reshape(-1, part.shape[-1]) for row in grid for part in row])


def _transform(matrix, parts):
  """The grid matrix @ parts @ matrix^T of a grid of arrays, as additions that skip zeros."""
  rows = [[_combine(weights, column) for column in zip(*parts, strict=True)] for weights in matrix]
  return [[_combine(weights, row) for weights in matrix] for row in rows]


def _combine(weights, arrays):
  return functools.reduce(operator.add, (w * x for w, x in zip(weights, arrays, strict=True) if w))
