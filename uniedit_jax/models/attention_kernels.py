"""What computes attention: one function that picks a kernel by backend, shape and dtype, and says
which it took.
"""

import contextlib
import functools

import jax
import jax.numpy as jnp
from absl import logging

from uniedit_jax.method.overrides import EDIT_AXIS, ROW_AXIS

# Attention whose logits would be larger than this is computed in chunks; all rows together count.
LOGITS_BYTES = 256 * 2**20
# Fewer queries or keys than this are no work for a fused kernel.
FUSED_LENGTH = 64

_chosen = {}


def chosen():
  """The kernels of all attention that this process has traced: {'queries x keys x head dim, dtype':
  name}.
  """
  return dict(sorted(_chosen.items()))


def attend(q, k, v, bias=None, q_group=None, k_group=None, logits_bytes=LOGITS_BYTES):
  """softmax(q k^T / sqrt(D) + bias) v, by the best kernel that there is.

  On GPUs that is cuDNN's in half precision, without bias and groups; otherwise XLA's products
  ('xla'), in chunks ('chunked') where the logits would exceed a budget. Every chunk is
  rematerialised in the backward pass, so gradients keep the same budget.

  Args:
    q: f[*b, N, heads, D].
    k, v: f[*b, M, heads, D], same *b.
    bias: f[heads, N, M] added to the logits, unscaled, or None.
    q_group, k_group: i32[*b, N] and i32[*b, M], or None. A query attends only to keys of its own
      group; a negative query group attends to all keys. Every group of a query must have a key.
    logits_bytes: most bytes of float32 logits held at once, over all rows of the traced program.

  Returns:
    f[*b, N, heads, D], dtype of v.
  """
  *batch, n, heads, d = q.shape
  m = k.shape[-3]
  flat = lambda x, trailing: None if x is None else x.reshape(-1, *x.shape[x.ndim - trailing :])
  q, k, v, q_group, k_group = flat(q, 3), flat(k, 3), flat(v, 3), flat(q_group, 1), flat(k_group, 1)
  # queries whose logits fit the budget
  fitting = max(logits_bytes // (4 * heads * m * mapped_rows()), 1)
  if (
    bias is None
    and q_group is None
    and min(n, m) >= FUSED_LENGTH
    and _has_cudnn(n, m, heads, d, q.dtype.name)
  ):
    name, out = 'cudnn', _cudnn(q, k, v)
  elif q.shape[0] * n <= fitting:
    name, out = 'xla', _whole(q, k, v, bias, q_group, k_group)
  else:
    name, out = 'chunked', _chunked(q, k, v, bias, q_group, k_group, fitting)
  _chosen[f'{n} x {m} x {d}, {q.dtype.name}'] = name
  return out.reshape(*batch, n, heads, d)


def attention_map(q, k, bias=None):
  """The probabilities of `attend`, f32[*b, heads, N, M], materialised; for `taps`."""
  logits = (
    jnp.einsum('...nhd,...mhd->...hnm', q, k, preferred_element_type=jnp.float32)
    * q.shape[-1] ** -0.5
  )
  return jax.nn.softmax(logits if bias is None else logits + bias, axis=-1)


def _cudnn(q, k, v):
  return jax.nn.dot_product_attention(q, k, v, implementation='cudnn')


@functools.cache
def _has_cudnn(n, m, heads, d, dtype):
  """Whether cuDNN computes attention of this shape and its gradient; asked of the compiler, once."""
  if jax.default_backend() != 'gpu' or dtype not in ('bfloat16', 'float16'):
    return False
  q, k = (jax.ShapeDtypeStruct((1, length, heads, d), dtype) for length in (n, m))
  try:
    jax.jit(jax.grad(lambda *qkv: _cudnn(*qkv).astype(jnp.float32).sum(), argnums=(0, 1, 2))).lower(
      q, k, k
    ).compile()
  # of many types: no cuDNN, too old, not for this card, not this head dim
  except Exception as error:
    logging.warning(
      'attention of %d x %d tokens, head dim %d, goes without cuDNN: %s', n, m, d, error
    )
    return False
  return True


def _whole(q, k, v, bias, q_group, k_group):
  """Attention with materialised logits; the arguments of `attend`, all with the same single batch
  axis.
  """
  logits = jnp.einsum(
    'bnhd,bmhd->bhnm', q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32
  )
  if bias is not None:
    logits = logits + bias
  if q_group is not None:
    allowed = (q_group[:, :, None] < 0) | (q_group[:, :, None] == k_group[:, None, :])
    logits = jnp.where(allowed[:, None], logits, -jnp.inf)
  weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True)))
  # The sums divide what is small, N x D, and not the weights, N x M.
  out = jnp.einsum(
    'bhnm,bmhd->bhnd', weights.astype(v.dtype), v, preferred_element_type=jnp.float32
  )
  return jnp.moveaxis(out / weights.sum(axis=-1, keepdims=True), 1, 2).astype(v.dtype)


def _chunked(q, k, v, bias, q_group, k_group, fitting):
  """`_whole`, of at most `fitting` queries at once."""
  b, n = q.shape[:2]
  size_b, size_n = _largest_divisor(b, fitting // n), _largest_divisor(n, fitting)
  whole = jax.checkpoint(_whole)

  def over_batch(chunk):
    q, k, v, q_group, k_group = chunk

    def over_queries(chunk):
      q, bias, q_group = chunk
      return whole(q, k, v, bias, q_group, k_group)

    out = jax.lax.map(
      over_queries, (_split(q, size_n, 1), _split(bias, size_n, 1), _split(q_group, size_n, 1))
    )
    return jnp.moveaxis(out, 0, 1).reshape(q.shape)

  chunks = tuple(_split(x, size_b, 0) for x in (q, k, v, q_group, k_group))
  return jax.lax.map(over_batch, chunks).reshape(q.shape)


def _largest_divisor(n, limit):
  return max(d for d in range(1, n + 1) if n % d == 0 and d <= max(limit, 1))


def _split(x, size, axis):
  """Splits an axis into chunks of `size` and puts the chunk axis first: f[n / size, ..., size,
  ...].
  """
  if x is None:
    return None
  shape = (*x.shape[:axis], x.shape[axis] // size, size, *x.shape[axis + 1 :])
  return jnp.moveaxis(x.reshape(shape), axis, 0)


def mapped_rows():
  """How many rows, of all edits, are computed side by side where this is traced: 1 in the plain
  model.
  """
  count = 1
  for axis in (ROW_AXIS, EDIT_AXIS):
    with contextlib.suppress(NameError):  # not bound here
      count *= jax.lax.axis_size(axis)
  return count
