"""Attention kernels against float64 numpy: in one piece and in chunks, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.tolerances import MODULE, agreement
from uniedit_jax.method.overrides import ROW_AXIS
from uniedit_jax.models import attention_kernels

HEADS, N, M, D = 2, 12, 10, 8


def softmax(logits):
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True)


def plain_attention(q, k, v, bias=0.0, allowed=True):
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  logits = np.einsum('...nhd,...mhd->...hnm', q, k) / np.sqrt(q.shape[-1]) + bias
  return np.einsum('...hnm,...mhd->...nhd', softmax(np.where(allowed, logits, -np.inf)), v)


def make_inputs(rng, batch, bias, groups):
  """q, k, v and the options of `attend`."""
  f = lambda *shape: rng.standard_normal(shape).astype(np.float32)
  q, k, v = f(*batch, N, HEADS, D), f(*batch, M, HEADS, D), f(*batch, M, HEADS, D)
  options = {'bias': f(HEADS, N, M)} if bias else {}
  if groups:
    options['q_group'] = rng.integers(-1, 2, (*batch, N))
    options['k_group'] = np.broadcast_to(np.arange(M) % 2, (*batch, M)).copy()
  return (q, k, v), options


def expected(qkv, bias=0.0, q_group=None, k_group=None):
  allowed = True
  if q_group is not None:
    q_group, k_group = q_group[..., None, :, None], k_group[..., None, None, :]
    allowed = (q_group < 0) | (q_group == k_group)
  return plain_attention(*qkv, bias, allowed)


ROW_BYTES = 4 * HEADS * M  # logits of one query
# Everything in one piece, some batch elements, one, half of the queries, an awkward number, one
# query at a time.
BUDGETS = [10**9, 3 * N * ROW_BYTES, N * ROW_BYTES, N * ROW_BYTES // 2, 5 * ROW_BYTES, ROW_BYTES, 1]


@pytest.mark.parametrize('budget', BUDGETS)
@pytest.mark.parametrize(
  'batch, bias, groups', [((), True, False), ((6,), False, True), ((2, 3), True, True)]
)
def test_chunks_agree_with_the_whole(rng, batch, bias, groups, budget):
  qkv, options = make_inputs(rng, batch, bias, groups)
  out = attention_kernels.attend(*qkv, **options, logits_bytes=budget)
  assert agreement(out, expected(qkv, **options)) < 2 * MODULE


@pytest.mark.parametrize('budget', [3 * N * ROW_BYTES, 5 * ROW_BYTES])
@pytest.mark.parametrize('groups', [False, True])
def test_gradients_of_chunks_agree_with_the_whole(rng, budget, groups):
  qkv, options = make_inputs(rng, (6,), True, groups)
  bias = options.pop('bias')
  weights = rng.standard_normal((6, N, HEADS, D)).astype(np.float32)

  def loss(budget, *inputs):
    *qkv, bias = inputs
    return jnp.sum(weights * attention_kernels.attend(*qkv, bias, **options, logits_bytes=budget))

  whole, chunked = (
    jax.jit(jax.grad(functools.partial(loss, size), argnums=(0, 1, 2, 3)))(*qkv, bias)
    for size in (10**9, budget)
  )
  for a, b in zip(chunked, whole, strict=True):
    assert np.isfinite(a).all()
    assert agreement(a, b) < 3 * MODULE


def largest_buffer(function, *inputs):
  """Elements of the largest array that a traced function makes, including its loops."""
  sizes, pending = [0], [jax.make_jaxpr(function)(*inputs).jaxpr]
  while pending:
    jaxpr = pending.pop()
    sizes += [np.prod(v.aval.shape, dtype=int) for equation in jaxpr.eqns for v in equation.outvars]
    inner = [getattr(p, 'jaxpr', p) for equation in jaxpr.eqns for p in equation.params.values()]
    pending += [p for p in inner if hasattr(p, 'eqns')]
  return max(sizes)


def test_all_rows_together_keep_the_budget(rng):
  rows, size = 4, 64
  q = rng.standard_normal((rows, 3, size, 1, 2)).astype(np.float32)
  attend = lambda q: attention_kernels.attend(q, q, q, logits_bytes=4 * rows * size * 16)
  out = jax.vmap(attend, axis_name=ROW_AXIS)(q)
  assert agreement(out, expected((q, q, q))) < 2 * MODULE
  assert largest_buffer(jax.vmap(attend, axis_name=ROW_AXIS), q) <= rows * size * 16


def test_attention_map_holds_the_probabilities(rng):
  (q, k, v), options = make_inputs(rng, (2,), True, False)
  probabilities = attention_kernels.attention_map(q, k, options['bias'])
  np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-6)
  out = np.einsum('bhnm,bmhd->bnhd', probabilities, v)
  assert agreement(out, expected((q, k, v), **options)) < 2 * MODULE


def test_without_cudnn_a_gpu_falls_back_says_so_once_and_it_is_recorded(rng, monkeypatch, caplog):
  q, k, v = rng.standard_normal((3, 2, attention_kernels.FUSED_LENGTH, 1, 24)).astype(jnp.bfloat16)
  shape = f'{attention_kernels.FUSED_LENGTH} x {attention_kernels.FUSED_LENGTH} x 24, bfloat16'
  monkeypatch.setattr(attention_kernels, '_chosen', {})
  attention_kernels._has_cudnn.cache_clear()
  out = attention_kernels.attend(q, k, v)
  assert attention_kernels.chosen() == {shape: 'xla'} and not caplog.records
  attention_kernels._has_cudnn.cache_clear()
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  for _ in range(2):
    np.testing.assert_array_equal(attention_kernels.attend(q, k, v), out)
  assert [record.levelname for record in caplog.records] == ['WARNING']
  assert 'goes without cuDNN' in caplog.text and attention_kernels.chosen() == {shape: 'xla'}
  attention_kernels._has_cudnn.cache_clear()


def test_cudnn_is_taken_where_the_compiler_has_it(rng, monkeypatch):
  taken = []

  def cudnn(q, k, v):
    taken.append(q.shape)
    return attention_kernels._whole(q, k, v, None, None, None)

  has_cudnn = lambda n, m, heads, d, dtype: dtype == 'bfloat16'
  monkeypatch.setattr(attention_kernels, '_has_cudnn', has_cudnn)
  monkeypatch.setattr(attention_kernels, '_cudnn', cudnn)
  q, k, v = rng.standard_normal((3, 2, 5, 96, 1, 8)).astype(jnp.bfloat16)
  attention_kernels.attend(q, k, v)
  assert taken == [(10, 96, 1, 8)]
  bias, groups = np.zeros((1, 96, 96), np.float32), np.zeros((2, 5, 96), np.int32)
  attention_kernels.attend(q, k, v, bias)
  attention_kernels.attend(q, k, v, q_group=groups, k_group=groups)
  attention_kernels.attend(*(np.float32(x) for x in (q, k, v)))
  attention_kernels.attend(q[:, :, :16], k[:, :, :16], v[:, :, :16])
  assert len(taken) == 1
