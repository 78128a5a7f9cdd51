"""What the forms of a CPU's products, convolutions and attention reach: the reasons for those that
are taken.

  python -m experiments.docs.kernel_table

Prints tables for docs/performance.md, in GFLOP/s of the work itself, at the sizes of LaVie's UNet
with one row, and for gradients at those of the model of sprites. YNNPACK is what jaxlib 0.10 takes
where it is left alone, and Eigen what `uniedit_jax/__init__.py` makes it take.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from experiments.timing import fastest
from uniedit_jax.models import attention_kernels, convolution
from uniedit_jax.reports import tables

YNNPACK = 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION'
BACKENDS = {'YNNPACK': {'xla_cpu_experimental_ynn_fusion_type': YNNPACK}, 'Eigen': {}}
PRODUCTS = (
  (40960, 320, 320),
  (40960, 320, 2560),
  (40960, 1280, 320),
  (10240, 640, 5120),
  (2560, 1280, 1280),
)
CONVOLUTIONS = (
  *((16, 40, 64, 320, 320), (16, 40, 64, 960, 320), (16, 20, 32, 640, 640)),
  *((16, 10, 16, 1280, 1280), (16, 5, 8, 1280, 1280)),
)
GRADIENTS = (16, 8, 8, 48, 48), (16, 4, 4, 96, 96), (16, 8, 8, 144, 144)  # in the model of sprites
LOOP = 10
OPTIONS = {'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'), 'precision': None}
ATTENTIONS = (16, 2560, 8, 40), (16, 640, 8, 80), (16, 160, 8, 160), (2560, 16, 8, 40)


def rate(function, flops, shapes, options=None):
  """GFLOP/s of the fastest of some runs on random arrays."""
  rng = np.random.default_rng(0)
  given = [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]
  compiled = jax.jit(function, compiler_options=options).lower(*given).compile()
  return flops / fastest(lambda: compiled(*given), jax.block_until_ready) / 1e9


def convolve(x, kernel):
  """The convolution as XLA has it."""
  return jax.lax.conv_general_dilated(x, kernel, (1, 1), convolution.PADDING, **OPTIONS)


def convolve_own(x, kernel):
  """The convolution as the package has it."""
  return convolution.convolve(x, kernel, (1, 1), convolution.PADDING, **OPTIONS)


def work_of(frames, height, width, features, made):
  """What a convolution is called, its operations, and the shapes of its frames and its kernel."""
  name = f'{frames} x {height} x {width}, {features} to {made}'
  flops = 2 * frames * height * width * 9 * features * made
  return name, flops, ((frames, height, width, features), (3, 3, features, made))


def looped_gradient(convolve, argnum):
  """A loop of convolutions of which each step takes the gradient of the frames (0) or of the kernel
  (1).
  """

  def step(given, _):
    gradient = jax.grad(lambda *given: jnp.square(convolve(*given)).mean(), argnum)(*given)
    return tuple(gradient if i == argnum else x for i, x in enumerate(given)), None

  return lambda *given: jax.lax.scan(step, given, None, LOOP)[0]


def divided_first(q, k, v):
  """`attention_kernels.attend` in one piece, with a softmax of its own."""
  return jnp.einsum('bhnm,bmhd->bnhd', attention_kernels.attention_map(q, k), v)


def main(_):
  """Prints the tables."""
  if jax.default_backend() != 'cpu':
    raise SystemExit(f'the backend is {jax.default_backend()}; accepted: cpu (JAX_PLATFORMS=cpu)')
  jax.config.update('jax_default_matmul_precision', 'highest')
  lines = []
  for n, inner, outer in PRODUCTS:
    measure = functools.partial(
      rate, jnp.matmul, 2 * n * inner * outer, ((n, inner), (inner, outer))
    )
    lines.append(
      [f'product {n} x {inner} x {outer}', *(f'{measure(o):.0f}' for o in BACKENDS.values()), '']
    )
  for sizes in CONVOLUTIONS:
    name, flops, shapes = work_of(*sizes)
    measure = functools.partial(rate, flops=flops, shapes=shapes)
    found = [
      *(measure(convolve, options=o) for o in BACKENDS.values()),
      measure(convolution.winograd),
    ]
    lines.append([f'convolution {name}', *(f'{one:.0f}' for one in found)])
  print(tables.markdown(['work', *BACKENDS, "Winograd's"], lines))

  lines = []
  for sizes in GRADIENTS:
    name, flops, shapes = work_of(*sizes)
    found = [
      rate(looped_gradient(one, argnum), 2 * LOOP * flops, shapes)
      for argnum in (0, 1)
      for one in (convolve, convolve_own)
    ]
    lines.append([name, *(f'{one:.0f}' for one in found)])
  heads = 'of the frames, by JAX', 'by convolution.py', 'of the kernel, by JAX', 'by convolution.py'
  print(tables.markdown(['convolution and gradient in a loop', *heads], lines))

  lines = []
  for batch, n, heads, d in ATTENTIONS:
    measure = functools.partial(
      rate, flops=4 * batch * heads * n * n * d, shapes=((batch, n, heads, d),) * 3
    )
    # Whole, the logits of the largest would need gigabytes.
    first = divided_first if n < 1000 else lambda q, k, v: jax.lax.map(lambda x: divided_first(*x), tuple(
      x[:, None] for x in (q, k, v)))[:, 0]  # fmt: skip
    lines.append(
      [
        f'{batch} x {n} x {n}, head dim {d}',
        f'{measure(first):.0f}',
        f'{measure(attention_kernels.attend):.0f}',
      ]
    )
  print(tables.markdown(['attention', 'divided before the product', 'and after it'], lines))


if __name__ == '__main__':
  app.run(main)
