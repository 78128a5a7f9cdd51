"""Attention kernels, chosen by backend, shape and dtype, with a record of the choice."""

import contextlib
import functools

import jax
import jax.numpy as jnp
from absl import logging

from uniedit_jax.method.overrides import EDIT_AXIS, ROW_AXIS

# Attention whose logits, of all rows together, would be larger is computed in chunks.
LOGITS_BYTES = 256 * 2**20
# Fused kernels do not pay off for fewer queries or keys.
FUSED_LENGTH = 64

_chosen = {}


def chosen():
  """The kernels of all attention traced so far: {'queries x keys x head dim, dtype': name}."""
  return dict(sorted(_chosen.items()))


def attend(q, k, v, bias=None, q_group=None, k_group=None, logits_bytes=LOGITS_BYTES):
  """softmax(q k^T / sqrt(D) + bias) v, by the fastest available kernel.

  On GPUs that is cuDNN's ('cudnn') in half precision without bias and groups; otherwise XLA's
  products ('xla'), in chunks ('chunked') if the logits would exceed a budget. Every chunk is
  rematerialised in the backward pass, so gradients keep the same budget.

  Args:
    q: f[*b, N, heads, D].
    k, v: f[*b, M, heads, D], same *b.
    bias: f[heads, N, M] added to the logits, unscaled, or None.
    q_group, k_group: i32[*b, N] and i32[*b, M], or None. A query attends only to keys of its
      group; a negative query group attends to all keys. Every group of a query must have a key.
    logits_bytes: maximal bytes of float32 logits held at once, over all rows of the traced program.

  Returns:
    f[*b, N, heads, D], dtype of v.
  """
  *batch, n, heads, d = q.shape
  m = k.shape[-3]
  flat = lambda x, trailing: None if x is None else x.reshape(-1, *x.shape[x.ndim - trailing :])
  q, k, v, q_group, k_group = flat(q, 3), flat(k, 3), flat(v, 3), flat(q_group, 1), flat(k_group, 1)
  # The number of queries whose logits fit the budget.
  fitting = max(logits_bytes // (4 * heads * m * mapped_rows()), 1)
  fusable = bias is None and q_group is None and min(n, m) >= FUSED_LENGTH
  if fusable and _has_cudnn(n, m, heads, d, q.dtype.name):
    name, out = 'cudnn', _cudnn(q, k, v)
  elif q.shape[0] * n <= fitting:
    name, out = 'xla', _whole(q, k, v, bias, q_group, k_group)
  else:
    name, out = 'chunked', _chunked(q, k, v, bias, q_group, k_group, fitting)
  _chosen[f'{n} x {m} x {d}, {q.dtype.name}'] = name
  return out.reshape(*batch, n, heads, d)


def attention_map(q, k, bias=None):
  """The probabilities of `attend`, f32[*b, heads, N, M], materialised; for `taps`."""
  logits = jnp.einsum('...nhd,...mhd->...hnm', q, k, preferred_element_type=jnp.float32)
  logits = logits * q.shape[-1] ** -0.5
  return jax.nn.softmax(logits if bias is None else logits + bias, axis=-1)


def _cudnn(q, k, v):
  return jax.nn.dot_product_attention(q, k, v, implementation='cudnn')


@functools.cache
def _has_cudnn(n, m, heads, d, dtype):
  """Whether cuDNN can compute attention of this shape and its gradient, by a trial compilation."""
  if jax.default_backend() != 'gpu' or dtype not in ('bfloat16', 'float16'):
    return False
  q, k = (jax.ShapeDtypeStruct((1, length, heads, d), dtype) for length in (n, m))
  total = lambda *qkv: _cudnn(*qkv).astype(jnp.float32).sum()
  try:
    jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(q, k, k).compile()
  # Many types are raised: no cuDNN, too old, not for this card, not this head dim.
  except Exception as error:
    message = 'attention of %d x %d tokens, head dim %d, goes without cuDNN: %s'
    logging.warning(message, n, m, d, error)
    return False
  return True


def _whole(q, k, v, bias, q_group, k_group):
  """Attention with materialised logits; arguments as `attend`, all with one batch axis."""
  product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  logits = product('bnhd,bmhd->bhnm', q * q.shape[-1] ** -0.5, k)
  if bias is not None:
    logits = logits + bias
  if q_group is not None:
    allowed = (q_group[:, :, None] < 0) | (q_group[:, :, None] == k_group[:, None, :])
    logits = jnp.where(allowed[:, None], logits, -jnp.inf)
  weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True)))
  # The sums divide the output, N x D, which is smaller than the weights, N x M.
  out = product('bhnm,bmhd->bhnd', weights.astype(v.dtype), v)
  return jnp.moveaxis(out / weights.sum(axis=-1, keepdims=True), 1, 2).astype(v.dtype)


def _chunked(q, k, v, bias, q_group, k_group, fitting):
  """`_whole` of at most `fitting` queries at once."""
  b, n = q.shape[:2]
  size_b, size_n = _largest_divisor(b, fitting // n), _largest_divisor(n, fitting)
  whole = jax.checkpoint(_whole)

  def over_batch(chunk):
    q, k, v, q_group, k_group = chunk

    def over_queries(chunk):
      q, bias, q_group = chunk
      return whole(q, k, v, bias, q_group, k_group)

    out = jax.lax.map(over_queries, tuple(_split(x, size_n, 1) for x in (q, bias, q_group)))
    return jnp.moveaxis(out, 0, 1).reshape(q.shape)

  chunks = tuple(_split(x, size_b, 0) for x in (q, k, v, q_group, k_group))
  return jax.lax.map(over_batch, chunks).reshape(q.shape)


def _largest_divisor(n, limit):
  return max(d for d in range(1, n + 1) if n % d == 0 and d <= max(limit, 1))


def _split(x, size, axis):
  """Splits an axis of length n into chunks, chunk axis first: f[n / size, ..., size, ...]."""
  if x is None:
    return None
  shape = (*x.shape[:axis], x.shape[axis] // size, size, *x.shape[axis + 1 :])
  return jnp.moveaxis(x.reshape(shape), axis, 0)


def mapped_rows():
  """The number of rows, of all edits, that the traced program computes together; 1 without vmap."""
  count = 1
  for axis in (ROW_AXIS, EDIT_AXIS):
    # NameError: the program does not map this axis.
    with contextlib.suppress(NameError):
      count *= jax.lax.axis_size(axis)
  return count
