"""Attention against float64 numpy: positions, mask-guided groups."""

import jax
import numpy as np
import pytest

from tests.helpers.tolerances import MODULE, agreement
from tests.models.attention_kernels_test import HEADS, M, N, make_inputs, plain_attention
from uniedit_jax.method.overrides import ROW_AXIS, AttentionOverride, Source, TokenMasks
from uniedit_jax.models import attention, attention_kernels


def test_rotation_equals_complex_numbers(rng):
  x = rng.standard_normal((5, 7, 2, 40)).astype(np.float32)
  out = np.asarray(attention.rotate(x, 32))
  pairs = x[..., :32:2] + 1j * x[..., 1:32:2]
  turns = np.exp(1j * np.arange(7)[:, None, None] * 10000.0 ** (-np.arange(16) / 16))
  np.testing.assert_allclose(out[..., :32:2], (pairs * turns).real, atol=1e-5)
  np.testing.assert_allclose(out[..., 1:32:2], (pairs * turns).imag, atol=1e-5)
  np.testing.assert_array_equal(out[..., 32:], x[..., 32:])
  np.testing.assert_array_equal(out[:, 0], x[:, 0])  # frame 0 is not rotated


def test_rotated_products_depend_on_the_distance_of_frames_alone(rng):
  q, k = rng.standard_normal((2, 1, 1, 32)).astype(np.float32)
  q, k = (attention.rotate(np.broadcast_to(x, (9, 1, 32)), 32)[:, 0] for x in (q, k))
  products = np.asarray(q @ k.T)
  for distance in range(-8, 9):
    np.testing.assert_allclose(
      np.diagonal(products, distance), products.diagonal(distance)[0], atol=2e-5
    )
  assert np.ptp(products) > 1


def test_relative_buckets():
  buckets = attention.relative_buckets(30, 32, 32)
  known = [*range(8), 8, 8, 9, 9, 10, 10, 11, 11, *[12] * 4, *[13] * 3, *[14] * 4, *[15] * 3]
  for i, j in np.ndindex(30, 30):
    # the future: upper half
    assert buckets[i, j] == known[abs(i - j)] + (16 if j > i else 0), (i, j)
  used = np.unique(attention.relative_buckets(16, 32, 32)).tolist()
  assert used == [*range(12), *range(17, 28)]


def test_relative_bias_looks_up_heads_unscaled(rng):
  table = rng.standard_normal((32, 3)).astype(np.float32)
  module = attention.RelativeBias(3, 32, 32)
  bias = module.apply({'params': {'relative_attention_bias': {'embedding': table}}}, 5)
  for head, i, j in np.ndindex(3, 5, 5):
    assert bias[head, i, j] == table[abs(i - j) + (16 if j > i else 0), head]


def guided_attention(q, k, v, foreground_q, foreground_k):
  """Mask-guided attention as the paper writes it: two masked attentions, blended by query masks."""
  inside, outside = (
    plain_attention(q, k, v, allowed=m[:, None, None, :]) for m in (foreground_k, ~foreground_k)
  )
  return np.where(foreground_q[:, :, None, None], inside, outside)


def test_frame_positions_distinguish_equal_frames(rng):
  """Attention over equal values returns that value: without a table, equal frames stay equal."""
  tokens = np.broadcast_to(rng.standard_normal((1, 3, 32)), (5, 3, 32)).astype(np.float32)
  attn = attention.TemporalAttention(heads=1, frame_positions=6)
  params = attn.init(jax.random.key(0), tokens)['params']
  params = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape).astype(np.float32), params)
  spread = lambda module, params: np.ptp(module.apply({'params': params}, tokens)[0], axis=0).max()
  assert spread(attn, params) > 0.05
  assert params.pop('frame_positions').shape == (6, 32)
  assert spread(attention.TemporalAttention(heads=1), params) < 1e-5
  with pytest.raises(
    ValueError, match='the clip has 7 frames; accepted: at most frame_positions=6'
  ):
    attn.init(jax.random.key(0), np.zeros((7, 3, 32)))


def test_mask_guided_attention_equals_the_papers_two_attentions(rng):
  (q, k, v), _ = make_inputs(rng, (3,), False, False)
  foreground_q, foreground_k = rng.random((3, N)) < 0.5, rng.random((3, M)) < 0.5
  groups = attention.guided_groups(foreground_q[..., None], foreground_k[..., None], np.bool_(True))
  out = attention_kernels.attend(q, k, v, q_group=groups[0], k_group=groups[1])
  assert agreement(out, guided_attention(q, k, v, foreground_q, foreground_k)) < 2 * MODULE


@pytest.mark.parametrize('first, masked', [(False, False), (True, False), (True, True)])
def test_keys_and_values_of_the_first_frame(rng, first, masked):
  frames, tokens = 3, 6
  x = rng.standard_normal((frames, tokens, 8)).astype(np.float32)
  own = Source(np.int32(0), np.int32(0))
  override = AttentionOverride(*(own,) * 6, guided=np.bool_(masked), first_frame=np.bool_(first))
  foreground = rng.random((2, frames, tokens, 1)) < 0.5
  foreground[:, :, 0], foreground[:, :, 1] = False, True  # both sides have tokens in every frame
  masks = TokenMasks(guided_q=foreground[0], guided_k=foreground[1]) if masked else None
  module = attention.SpatialAttention(HEADS)
  params = jax.tree.map(
    lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32),
    module.init(jax.random.key(0), x),
  )
  taps = 'spatial_q', 'spatial_k', 'spatial_v'
  apply = lambda x: module.apply(params, x, override, masks, taps)
  out, tapped = jax.tree.map(
    lambda leaf: np.asarray(leaf[0]), jax.vmap(apply, axis_name=ROW_AXIS)(x[None])
  )

  _, plain = module.apply(params, x, taps=taps)
  q, k, v = (np.asarray(plain[name]) for name in taps)
  read = [0] * frames if first else list(range(frames))
  for name, expected in zip(taps, (q, k[read], v[read]), strict=True):
    assert agreement(tapped[name], expected) < 2 * MODULE, name
  allowed = True
  if masked:
    allowed = (foreground[0] == foreground[1][read].swapaxes(1, 2))[:, None]
  dense = params['params']['to_out_0']
  expected = (
    plain_attention(q, k[read], v[read], allowed=allowed).reshape(x.shape) @ dense['kernel']
    + dense['bias']
  )
  assert agreement(out, expected) < 5 * MODULE


@pytest.mark.parametrize('ground', [False, True])
def test_queries_without_keys_of_their_side_see_all_keys(rng, ground):
  (q, k, v), _ = make_inputs(rng, (2,), False, False)
  foreground_q = rng.random((2, N)) < 0.5
  foreground_k = np.stack([np.full(M, ground), np.arange(M) < 4])  # frame 0 has but one ground
  groups = attention.guided_groups(foreground_q[..., None], foreground_k[..., None], np.bool_(True))
  out = np.asarray(attention_kernels.attend(q, k, v, q_group=groups[0], k_group=groups[1]))
  assert np.isfinite(out).all()
  np.testing.assert_allclose(out[0], plain_attention(q, k, v)[0], atol=1e-5)
  second = (x[1:] for x in (q, k, v, foreground_q, foreground_k))
  np.testing.assert_allclose(out[1:], guided_attention(*second), atol=1e-5)


def test_guidance_by_masks_can_be_off(rng):
  (q, k, v), _ = make_inputs(rng, (3,), False, False)
  masks = rng.random((3, N, 1)) < 0.5, rng.random((3, M, 1)) < 0.5
  q_group, k_group = attention.guided_groups(*masks, np.bool_(False))
  np.testing.assert_array_equal(
    attention_kernels.attend(q, k, v, q_group=q_group, k_group=k_group),
    attention_kernels.attend(q, k, v),
  )


def test_text_attention_with_no_key_order(rng):
  """Every token sees the whole prompt: permuting the prompt's tokens changes nothing."""
  module = attention.TextAttention(HEADS)
  x = rng.standard_normal((3, 5, 16)).astype(np.float32)
  text = rng.standard_normal((7, 6)).astype(np.float32)
  variables = module.init(jax.random.key(0), x, text)
  out, tapped = module.apply(variables, x, text, ('text_map',))
  assert tapped['text_map'].shape == (HEADS, 3, 5, 7)
  np.testing.assert_allclose(module.apply(variables, x, text[::-1])[0], out, atol=1e-5)
