"""Cost of a traced function: the operations of its products and convolutions, and their least time.

Elementwise work is not counted.
"""

from typing import NamedTuple

import jax
import numpy as np


class Product(NamedTuple):
  """A matrix product or convolution.

  Attributes:
    flops: floating-point operations; a multiply and an add are two.
    bytes: of its operands and its result, each moved once.
    times: number of runs.
  """

  flops: int
  bytes: int
  times: int


def products(function, *args):
  """Lists every `Product` of a function of pytrees of arrays or `jax.ShapeDtypeStruct`s.

  Those in loops and differentiated blocks count; raises ValueError if the function branches or has
  a loop of unknown length.
  """
  found = []
  _walk(jax.make_jaxpr(function)(*args).jaxpr, 1, found)
  return found


def flops(found):
  """Operations of a list of `Product`."""
  return sum(product.flops * product.times for product in found)


def roofline(found, peak, bandwidth):
  """The least seconds for a list of `Product`, each bound by operations or by memory.

  `peak` is operations a second, `bandwidth` bytes of the device's memory a second.
  """
  seconds = lambda product: max(product.flops / peak, product.bytes / bandwidth)
  return sum(product.times * seconds(product) for product in found)


def _walk(jaxpr, times, found):
  for equation in jaxpr.eqns:
    name = equation.primitive.name
    if name in ('dot_general', 'conv_general_dilated'):
      shapes = [variable.aval for variable in (*equation.invars, *equation.outvars)]
      count = _dot(equation) if name == 'dot_general' else _convolution(equation)
      found.append(Product(count, sum(x.size * x.dtype.itemsize for x in shapes), times))
    params = [p if isinstance(p, tuple) else (p,) for p in equation.params.values()]
    inner = [getattr(x, 'jaxpr', x) for values in params for x in values]
    inner = [x for x in inner if hasattr(x, 'eqns')]
    if name == 'cond' and equation.params['branches_platforms']:
      # The last branch is the default of all platforms: the work is counted, not a form of it.
      inner = inner[-1:]
    elif inner and name in ('while', 'cond'):
      raise ValueError(f'the function has a {name}; accepted: loops of known length, no branches')
    for body in inner:
      _walk(body, times * equation.params.get('length', 1) if name == 'scan' else times, found)


def _dot(equation):
  (contracted, _), _ = equation.params['dimension_numbers']
  left, out = equation.invars[0].aval, equation.outvars[0].aval
  return 2 * out.size * int(np.prod([left.shape[axis] for axis in contracted]))


def _convolution(equation):
  kernel, out = equation.invars[1].aval, equation.outvars[0].aval
  features = kernel.shape[equation.params['dimension_numbers'].rhs_spec[0]]
  return 2 * out.size * (kernel.size // features)
