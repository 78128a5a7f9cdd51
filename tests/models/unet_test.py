"""The UNet: sizes, agreement with the original, taps, remat, configuration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.tolerances import MODULE, UNET, agreement
from uniedit_jax.models import attention
from uniedit_jax.models.unet import UNet, UNetConfig
from uniedit_jax.models.unet_blocks import Transformer


@functools.partial(jax.jit, static_argnums=0)
def run_pair(model, params, latents, timestep, text):
  """The noise of two videos in one program."""
  return jax.vmap(lambda x, c: model.denoise(params, x, timestep, c))(latents, text)


def test_full_size_has_the_parameters_of_lavie():
  leaves = jax.tree.leaves(reference.abstract_params(UNetConfig()))
  # The 830 tensors of the checkpoint less the 16 copies of the rotary frequencies.
  assert (sum(leaf.size for leaf in leaves), len(leaves)) == (909_124_100, 814)


@pytest.mark.parametrize('timestep', [981, 501, 1])
def test_agrees_with_the_original(small, timestep):
  numbers = reference.golden('unet_small')
  x = reference.from_torch(numbers['x'])
  out = run_pair(small, small.params, x, np.int32(timestep), numbers['text'])
  assert agreement(reference.to_torch(out), numbers[f'y{timestep}']) < UNET


def test_agrees_with_the_original_at_an_odd_size(small):
  numbers = reference.golden('unet_small')
  x = reference.from_torch(numbers['x_odd'])
  out = run_pair(small, small.params, x, np.int32(321), numbers['text'][:1])
  assert agreement(reference.to_torch(out), numbers['y_odd']) < UNET


KINDS = attention.TAPS


@pytest.fixture(scope='module')
def tapped(tiny):
  """The inputs of one run, and its results without taps and with all taps of blocks 1 and 3."""
  rng = np.random.default_rng(1)
  inputs = (
    rng.standard_normal((3, 6, 5, 4)).astype(np.float32),
    np.int32(501),
    rng.standard_normal((7, 16)).astype(np.float32),
  )
  names = tuple(f'{block}/{kind}' for block in (1, 3) for kind in KINDS)
  run = jax.jit(
    lambda params, *inputs, taps=(): tiny.apply({'params': params}, *inputs, taps=taps),
    static_argnames='taps',
  )
  return run(tiny.params, *inputs), run(tiny.params, *inputs, taps=names)


def test_taps_have_names_and_shapes(tiny, tapped):
  (_, nothing), (_, found) = tapped
  assert nothing == {}
  assert len(found) == 2 * len(KINDS)
  heads, frames, text = tiny.config.heads, 3, 7
  grids = tiny.config.grids(6, 5)
  for block, width in ((1, 64), (3, 32)):
    tokens, d = int(np.prod(grids[block])), width // heads
    shapes = {
      'spatial_map': (frames, heads, tokens, tokens),
      'temporal_map': (tokens, heads, frames, frames),
      'text_map': (heads, frames, tokens, text),
    }
    shapes |= {name: (frames, tokens, heads, d) for name in attention.SPATIAL_TAPS}
    shapes |= {name: (tokens, frames, heads, d) for name in attention.TEMPORAL_TAPS}
    assert {kind: found[f'{block}/{kind}'].shape for kind in KINDS} == shapes


def test_taps_do_not_change_the_result(tapped):
  (plain, _), (watched, _) = tapped
  np.testing.assert_array_equal(plain, watched)


def test_tapped_maps_are_probabilities_of_the_tapped_tensors(tapped):
  found = tapped[1][1]
  for name in ('1/spatial_map', '1/temporal_map', '1/text_map', '3/spatial_map'):
    np.testing.assert_allclose(found[name].sum(-1), 1, atol=1e-5)
  q, k = found['1/spatial_q'], found['1/spatial_k']
  logits = np.einsum('fnhd,fmhd->fhnm', q, k, dtype=np.float64) / np.sqrt(q.shape[-1])
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  assert agreement(found['1/spatial_map'], weights / weights.sum(-1, keepdims=True)) < 1e-5


@pytest.mark.parametrize(
  'tap', ['4/spatial_q', '1/spatial', 'spatial_q', '-1/text_map', '1/spatial_map/x']
)
def test_unknown_taps_are_an_error(tiny, tap):
  inputs = (jnp.zeros((1, 4, 4, 4)), 0, jnp.zeros((1, 16)))
  with pytest.raises(ValueError, match=rf"taps has '{tap}'; accepted: '<0..3>/<spatial_q\|"):
    tiny.apply({'params': tiny.params}, *inputs, taps=('0/spatial_q', tap))


def test_recomputing_activations_changes_no_value_and_no_gradient(tiny, rng):
  x = rng.standard_normal((2, 4, 4, 4)).astype(np.float32)
  text = rng.standard_normal((7, 16)).astype(np.float32)

  def value_and_gradient(model):
    loss = lambda text: jnp.sum(model.denoise(model.params, x, 501, text) ** 2)
    return jax.jit(jax.value_and_grad(loss))(text)

  (value, gradient), expected = (
    value_and_gradient(m) for m in (reference.Model(tiny.config, tiny.params, remat=True), tiny)
  )
  assert np.abs(gradient).max() > 0
  np.testing.assert_allclose(value, expected[0], rtol=MODULE)
  assert agreement(gradient, expected[1]) < 10 * MODULE


def test_recomputing_has_the_same_parameters(tiny):
  again = reference.abstract_params(tiny.config)
  assert jax.tree.map(np.shape, tiny.params) == jax.tree.map(lambda leaf: leaf.shape, again)


def test_output_is_float32_in_half_precision(tiny, rng):
  apply = UNet(tiny.config, dtype=jnp.bfloat16).apply
  x = jax.ShapeDtypeStruct((2, 4, 4, 4), jnp.float32)
  text = jax.ShapeDtypeStruct((7, 16), jnp.float32)
  out, found = jax.eval_shape(
    lambda *a: apply({'params': tiny.params}, a[0], 1, a[1], taps=('0/spatial_q',)), x, text
  )
  assert out.dtype == jnp.float32
  assert found['0/spatial_q'].dtype == jnp.bfloat16


@pytest.mark.parametrize(
  'change, fault',
  [
    ({'channels': (320, 650)}, 'channels has 650; accepted: multiples of groups=32 and of heads=8'),
    ({'channels': (320,), 'heads': 7}, 'channels has 320; accepted: .* of heads=7'),
    ({'channels': (128,)}, 'channels has 128; .* at least rotary_dim=32 channels a head'),
    ({'channels': (320,), 'head_dim': 48}, 'channels has 320; accepted: .* of head_dim=48'),
    ({'head_dim': 16}, 'channels has 320; .* at least rotary_dim=32 channels a head'),
    ({'temporal': ('block', 'module')}, r"temporal is \('block', 'module'\); accepted: \('block',"),
    ({'temporal': ('input', 'middle')}, 'temporal is .*; accepted: .* with any of'),
    ({'temporal': ('module', 'input')}, "temporal has 'input', .* head_dim, which is 0"),
    ({'clip_norms': ('resnets',)}, r"clip_norms is \('resnets',\); accepted: any of \('resnet', "),
    ({'relative_buckets': 2}, 'relative_buckets is 2; accepted: 0, or at least 4'),
  ],
)
def test_sizes_that_do_not_fit(change, fault):
  with pytest.raises(ValueError, match=fault):
    UNetConfig(**change)


def test_config_is_hashable_even_from_json():
  assert hash(UNetConfig(channels=[320, 640, 1280, 1280])) == hash(UNetConfig())


def test_grids_in_execution_order():
  config = UNetConfig()
  assert config.blocks == 16
  big, mid, low = (40, 64), (20, 32), (10, 16)
  assert (
    config.grids(40, 64)
    == [big] * 2 + [mid] * 2 + [low] * 2 + [(5, 8)] + [low] * 3 + [mid] * 3 + [big] * 3
  )
  # Odd sizes round up on the way down, and come back on the way up.
  grids = [config.grids(18, 30)[block] for block in (0, 2, 4, 6, 7, 10, 13)]
  assert grids == [(18, 30), (9, 15), (5, 8), (3, 4), (5, 8), (9, 15), (18, 30)]


def test_single_frames_bypass_temporal_attention(tiny):
  rng = np.random.default_rng(2)
  latents = rng.standard_normal((1, 4, 4, 4)).astype(np.float32)
  text = rng.standard_normal((5, 16)).astype(np.float32)
  run = jax.jit(
    lambda params, temporal: tiny.apply({'params': params}, latents, 5, text, temporal=temporal)[0],
    static_argnums=1,
  )
  temporal = lambda path: any(
    name in jax.tree_util.keystr(path) for name in ('attn_temp', 'norm_temp')
  )
  changed = jax.tree_util.tree_map_with_path(
    lambda path, x: x + 1 if temporal(path) else x, tiny.params
  )
  np.testing.assert_array_equal(run(tiny.params, False), run(changed, False))
  assert np.abs(run(tiny.params, True) - run(changed, True)).max() > 1e-3
  # SA-T changes even a single frame.
  assert np.abs(run(tiny.params, True) - run(tiny.params, False)).max() > 1e-3


def test_the_group_norm_of_transformers_has_an_epsilon_of_1e_6(tiny, rng):
  # Features whose variance is the epsilon: they come out with a variance of 1 / 2.
  block = Transformer(tiny.config, 0, jnp.float32, (), False)
  features = 1e-3 * rng.standard_normal((1, 16, 16, 8)).astype(np.float32)
  text = np.zeros((7, 16), np.float32)
  is_norm = lambda module, _: module.name == 'norm'
  _, state = block.init_with_output(
    jax.random.key(0), features, text, None, None, capture_intermediates=is_norm
  )
  ((normed,),) = jax.tree.leaves(
    state['intermediates']['norm'], is_leaf=lambda x: isinstance(x, tuple)
  )
  np.testing.assert_allclose(normed.var(), 0.5, rtol=0.1)
