"""Speed of the forms of products, convolutions and attention on a CPU: why the code uses its own.

  python -m experiments.docs.kernel_table

Prints tables for docs/performance.md, in GFLOP/s of the direct algorithm's operations, at the sizes
of LaVie's UNet with one row, and for gradients at those of the sprites model. YNNPACK is the
default of jaxlib 0.10, and Eigen the choice of `uniedit_jax/__init__.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from experiments.timing import fastest
from uniedit_jax.models import attention_kernels, convolution
from uniedit_jax.reports import tables

YNNPACK = 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION'
BACKENDS = {'YNNPACK': {'xla_cpu_experimental_ynn_fusion_type': YNNPACK}, 'Eigen': {}}
# Sizes of LaVie's UNet with one row: (n, inner, outer); (frames, height, width, features, made);
# (batch, n, heads, d).
PRODUCTS = (
  (40960, 320, 320),
  (40960, 320, 2560),
  (40960, 1280, 320),
  (10240, 640, 5120),
  (2560, 1280, 1280),
)
CONVOLUTIONS = (
  (16, 40, 64, 320, 320),
  (16, 40, 64, 960, 320),
  (16, 20, 32, 640, 640),
  (16, 10, 16, 1280, 1280),
  (16, 5, 8, 1280, 1280),
)
ATTENTIONS = (16, 2560, 8, 40), (16, 640, 8, 80), (16, 160, 8, 160), (2560, 16, 8, 40)
# Convolutions of the sprites model.
GRADIENTS = (16, 8, 8, 48, 48), (16, 4, 4, 96, 96), (16, 8, 8, 144, 144)
LOOP = 10
OPTIONS = {'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'), 'precision': None}


def rate(function, flops, shapes, options=None):
  """GFLOP/s of the fastest of some runs on random arrays, as text."""
  rng = np.random.default_rng(0)
  given = [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]
  compiled = jax.jit(function, compiler_options=options).lower(*given).compile()
  return f'{flops / fastest(lambda: compiled(*given), jax.block_until_ready) / 1e9:.0f}'


def convolve(x, kernel):
  """The convolution of XLA."""
  return jax.lax.conv_general_dilated(x, kernel, (1, 1), convolution.PADDING, **OPTIONS)


def convolve_own(x, kernel):
  """The convolution of the package."""
  return convolution.convolve(x, kernel, (1, 1), convolution.PADDING, **OPTIONS)


def work_of(frames, height, width, features, made):
  """The name of a convolution, its operations, and the shapes of its frames and its kernel."""
  name = f'{frames} x {height} x {width}, {features} to {made}'
  flops = 2 * frames * height * width * 9 * features * made
  return name, flops, ((frames, height, width, features), (3, 3, features, made))


def looped_gradient(convolve, argnum):
  """A loop over the gradient of a convolution by its frames (`argnum` 0) or its kernel (1)."""

  def step(given, _):
    gradient = jax.grad(lambda *given: jnp.square(convolve(*given)).mean(), argnum)(*given)
    return tuple(gradient if i == argnum else x for i, x in enumerate(given)), None

  return lambda *given: jax.lax.scan(step, given, None, LOOP)[0]


def divided_first(q, k, v):
  """`attention_kernels.attend` in one piece, with the softmax divided before the product."""
  return jnp.einsum('bhnm,bmhd->bnhd', attention_kernels.attention_map(q, k), v)


def divided_first_in_turn(q, k, v):
  """`divided_first`, one element of the batch after another: whole, the logits need gigabytes."""
  attend = lambda given: divided_first(*given)
  return jax.lax.map(attend, (q[:, None], k[:, None], v[:, None]))[:, 0]


def forms_table():
  """The forms of products and of convolutions."""
  lines = []
  for n, inner, outer in PRODUCTS:
    flops, shapes = 2 * n * inner * outer, ((n, inner), (inner, outer))
    found = [rate(jnp.matmul, flops, shapes, options) for options in BACKENDS.values()]
    lines.append([f'product {n} x {inner} x {outer}', *found, ''])
  for sizes in CONVOLUTIONS:
    name, flops, shapes = work_of(*sizes)
    found = [rate(convolve, flops, shapes, options) for options in BACKENDS.values()]
    lines.append([f'convolution {name}', *found, rate(convolution.winograd, flops, shapes)])
  return tables.markdown(['work', *BACKENDS, "Winograd's"], lines)


def gradients_table():
  """The gradients of convolutions in a loop."""
  lines = []
  for sizes in GRADIENTS:
    name, flops, shapes = work_of(*sizes)
    found = [
      rate(looped_gradient(form, argnum), 2 * LOOP * flops, shapes)
      for argnum in (0, 1)
      for form in (convolve, convolve_own)
    ]
    lines.append([name, *found])
  heads = 'of the frames, by JAX', 'by convolution.py', 'of the kernel, by JAX', 'by convolution.py'
  return tables.markdown(['convolution and gradient in a loop', *heads], lines)


def attention_table():
  """The forms of attention."""
  lines = []
  for batch, n, heads, d in ATTENTIONS:
    flops, shapes = 4 * batch * heads * n * n * d, ((batch, n, heads, d),) * 3
    forms = divided_first if n < 1000 else divided_first_in_turn, attention_kernels.attend
    found = [rate(form, flops, shapes) for form in forms]
    lines.append([f'{batch} x {n} x {n}, head dim {d}', *found])
  return tables.markdown(['attention', 'divided before the product', 'and after it'], lines)


def main(_):
  if jax.default_backend() != 'cpu':
    raise SystemExit(f'the backend is {jax.default_backend()}; accepted: cpu (JAX_PLATFORMS=cpu)')
  jax.config.update('jax_default_matmul_precision', 'highest')
  for table in (forms_table, gradients_table, attention_table):
    print(table(), flush=True)


if __name__ == '__main__':
  app.run(main)
