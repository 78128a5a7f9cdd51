"""`exchange` on its own: rows are vmapped by hand and read from one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uniedit_jax.method.overrides import EDIT_AXIS, ROW_AXIS, Source, exchange
from uniedit_jax.models.attention_kernels import mapped_rows

ROWS, TOKENS = 4, 6


@pytest.fixture
def x(rng):
  return rng.standard_normal((ROWS, 2, TOKENS, 3)).astype(np.float32)


def run(x, inside, outside, mask=None):
  one = lambda x, source: exchange(x, source, mask)
  return np.asarray(
    jax.vmap(one, axis_name=ROW_AXIS)(x, Source(jnp.array(inside), jnp.array(outside)))
  )


@pytest.mark.parametrize('masked', [False, True])
def test_own_row_is_the_identity(x, rng, masked):
  mask = rng.random((2, TOKENS, 1)) < 0.5 if masked else None
  np.testing.assert_array_equal(run(x, range(ROWS), range(ROWS), mask), x)


def test_every_row_reads_its_source(x):
  inside = [2, 2, 0, 3]
  np.testing.assert_array_equal(run(x, inside, inside), x[inside])


def test_mask_picks_inside_and_outside(x, rng):
  mask = rng.random((2, TOKENS, 1)) < 0.5
  inside, outside = [1, 2, 3, 0], [0, 1, 0, 2]
  np.testing.assert_array_equal(
    run(x, inside, outside, mask), np.where(mask, x[inside], x[outside])
  )


def test_permuting_rows_with_their_sources_permutes_the_result(x, rng):
  mask = rng.random((2, TOKENS, 1)) < 0.5
  inside, outside = np.array([1, 1, 3, 0]), np.array([0, 2, 2, 3])
  order = np.array([2, 0, 3, 1])  # row r of the second run is row order[r] of the first
  place = np.argsort(order)
  permuted = run(x[order], place[inside[order]], place[outside[order]], mask)
  np.testing.assert_array_equal(permuted, run(x, inside, outside, mask)[order])


def test_gradients_flow_to_the_source(x):
  total = lambda x: jnp.sum(jax.vmap(lambda x, s: exchange(x, s), axis_name=ROW_AXIS)(x, source))
  source = Source(jnp.array([0, 0, 0, 3]), jnp.array([0, 0, 0, 3]))
  counts = np.asarray(jax.grad(total)(x)).mean(axis=(1, 2, 3))
  np.testing.assert_array_equal(counts, [3, 0, 0, 1])


def test_plain_model_needs_no_axis(x):
  assert exchange(x, None) is x


def test_source_outside_of_rows_is_an_error(x):
  with pytest.raises(NameError, match=ROW_AXIS):
    exchange(x, Source(jnp.array(0), jnp.array(0)))


def test_mapped_rows():
  assert mapped_rows() == 1
  count = lambda x: x * 0 + mapped_rows()
  assert jax.vmap(count, axis_name=ROW_AXIS)(jnp.zeros(5)).tolist() == [5] * 5
  # Edits of a batch are computed side by side too; an axis of another name does not count.
  edits = jax.vmap(jax.vmap(count, axis_name=ROW_AXIS), axis_name=EDIT_AXIS)
  assert edits(jnp.zeros((2, 3))).tolist() == [[6] * 3] * 2
  assert jax.vmap(jax.vmap(count, axis_name=ROW_AXIS))(jnp.zeros((2, 3))).tolist() == [[3] * 3] * 2
