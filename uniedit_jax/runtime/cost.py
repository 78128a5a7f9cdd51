"""What a traced function costs: the arithmetic of its matrix products and convolutions, and the
time that must take.
"""

from typing import NamedTuple

import jax
import numpy as np


class Product(NamedTuple):
  """A matrix product or convolution.

  Attributes:
    flops: floating-point operations; a multiply and an add are two.
    bytes: of its operands and its result, each moved once.
    times: how often it runs.
  """

  flops: int
  bytes: int
  times: int


def products(function, *args):
  """Lists the products of a function, those in loops and differentiated blocks too.

  Args:
    function: traceable.
    *args: pytrees of arrays or `jax.ShapeDtypeStruct`s.

  Returns:
    list of `Product`.

  Raises:
    ValueError: a loop whose length is not known before it runs.
  """
  found = []
  _walk(jax.make_jaxpr(function)(*args).jaxpr, 1, found)
  return found


def flops(found):
  """Operations of a list of `Product`."""
  return sum(one.flops * one.times for one in found)


def roofline(found, peak, bandwidth):
  """The least seconds for a list of `Product`: each at the peak, or as fast as its bytes move.

  Args:
    found: list of `Product`.
    peak: operations per second.
    bandwidth: bytes per second of the device's memory.
  """
  return sum(one.times * max(one.flops / peak, one.bytes / bandwidth) for one in found)


def _walk(jaxpr, times, found):
  for equation in jaxpr.eqns:
    name, shapes = (
      equation.primitive.name,
      [variable.aval for variable in (*equation.invars, *equation.outvars)],
    )
    if name in ('dot_general', 'conv_general_dilated'):
      count = (_dot if name == 'dot_general' else _convolution)(equation)
      found.append(Product(count, sum(x.size * x.dtype.itemsize for x in shapes), times))
    inner = [
      getattr(x, 'jaxpr', x)
      for p in equation.params.values()
      for x in (p if isinstance(p, tuple) else (p,))
    ]
    inner = [x for x in inner if hasattr(x, 'eqns')]
    if name == 'cond' and equation.params['branches_platforms']:
      # the form of other platforms, to which all are equal: no trick of one of them counts
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
