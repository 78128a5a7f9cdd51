"""What holds on every backbone, whatever its weights: routes, rows, frames, taps, configurations.

The models are tiny. Those of two levels have 4 attention blocks, the second of which is the middle,
with 6 tokens a frame.
"""

import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import backbones, reference
from tests.helpers.tolerances import MODULE, agreement
from uniedit_jax.method.injection import SLOTS, Branch, Injections, StructureControl, compose
from uniedit_jax.method.overrides import ROW_AXIS, AttentionOverride, Source, TokenMasks
from uniedit_jax.models.config import ModelConfig, of_fields
from uniedit_jax.models.temporal import TemporalTransformer
from uniedit_jax.models.unet import UNet, UNetConfig
from uniedit_jax.models.unet_blocks import Transformer

FULL = {'lavie': reference.SMALL} | {name: backbones.CONFIGS[name] for name in backbones.GOLDENS}
TINY = {
  name: dataclasses.replace(
    config,
    channels=(16, 32),
    heads=2,
    head_dim=8 if config.head_dim else 0,
    groups=4,
    layers_per_block=1,
    text_width=8,
    rotary_dim=4 if config.rotary_dim else 0,
  )
  for name, config in FULL.items()
  if name != 'modelscope'  # VideoCrafter2's without the frames a second
}
ROWS, FRAMES = 3, 3


@pytest.fixture(scope='module', params=TINY)
def model(request):
  config = TINY[request.param]
  return reference.Model(config, reference.random_params(config, salt=2))


@pytest.fixture(scope='module')
def inputs():
  rng = np.random.default_rng(3)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
  return draw(ROWS, FRAMES, 4, 5, 4), draw(ROWS, 6, 8)


@functools.partial(jax.jit, static_argnums=0)
def predict(apply, params, latents, text, routes, masks=None):
  """The noise of rows f[R, F, H, W, C]; `routes` has leaves [R, L] or is None."""
  row = lambda x, text, routes: apply({'params': params}, x, 501, text, routes, masks)[0]
  return jax.vmap(row, axis_name=ROW_AXIS)(latents, text, routes)


def routes_of(reads):
  """Routes of q, k and v of SA-S and SA-T; `reads` is {slot: {(row, block): source}}."""
  tables = {slot: np.tile(np.arange(ROWS)[:, None], 4) for slot in SLOTS}
  for slot, places in reads.items():
    for place, source in places.items():
      tables[slot][place] = source
  return AttentionOverride(**{slot: Source(t, t) for slot, t in tables.items()})


@pytest.fixture(scope='module')
def noise(model, inputs):
  """`predict` of this model as a function of routes, and what it gives where nothing is routed."""
  run = lambda routes, order=slice(None): np.asarray(
    predict(model.apply, model.params, inputs[0][order], inputs[1][order], routes)
  )
  return run, run(routes_of({}))


def test_own_rows_are_the_plain_model(model, inputs, noise):
  plain = predict(model.apply, model.params, *inputs, None)
  assert agreement(noise[1], plain) < 10 * MODULE


@pytest.mark.parametrize('slot', SLOTS)
@pytest.mark.parametrize('block', range(4))
def test_every_block_reads_every_slot_and_the_source_stays(noise, slot, block):
  run, plain = noise
  found = run(routes_of({slot: {(1, block): 2}}))
  np.testing.assert_array_equal(found[[0, 2]], plain[[0, 2]])
  assert np.abs(found[1] - plain[1]).max() > 1e-3 * plain.std()


def test_permuting_rows_with_their_routes_permutes_the_noise(noise):
  run, _ = noise
  reads = {slot: {(1, block): 2, (0, block): 1} for slot in SLOTS for block in (0, 1, 3)}
  routes, order = routes_of(reads), np.array([2, 0, 1])
  place = np.argsort(order)
  permuted = jax.tree.map(lambda leaf: place[leaf[order]], routes)
  assert agreement(run(permuted, order), run(routes)[order]) < MODULE


def test_masks_hold_on_the_grid_of_every_module(model, inputs, noise):
  run, plain = noise
  routed = routes_of({slot: {(1, block): 2 for block in range(4)} for slot in SLOTS})
  own = routes_of({})
  mixed = AttentionOverride(
    **{s: Source(getattr(routed, s).inside, getattr(own, s).outside) for s in SLOTS}
  )
  for inside, expected in ((True, run(routed)), (False, plain)):
    masks = {
      (h, w): TokenMasks(*[np.full((FRAMES, h * w, 1), inside)] * 3)
      for h, w in set(model.config.grids(4, 5))
    }
    found = predict(model.apply, model.params, *inputs, mixed, masks)
    assert agreement(found, expected) < MODULE


def test_rows_of_equal_inputs_read_each_other_without_effect(model, inputs):
  latents, text = (np.stack([x[0]] * ROWS) for x in inputs)
  everything = {slot: {(0, block): 2 for block in range(4)} for slot in SLOTS}
  found = predict(model.apply, model.params, latents, text, routes_of(everything))
  assert agreement(found[0], found[1]) < MODULE


def test_frames_of_the_image_model_do_not_see_each_other(model, inputs):
  latents, text = inputs[0][0], inputs[1][0]
  run = lambda x: model.apply({'params': model.params}, x, 501, text, temporal=False)[0]
  alone = np.concatenate([run(latents[i : i + 1]) for i in range(FRAMES)])
  assert agreement(run(latents), alone) < 10 * MODULE


def test_all_taps_of_a_block_are_found_and_change_nothing(model, inputs):
  latents, text = inputs[0][0], inputs[1][0]
  taps = tuple(f'{block}/{kind}' for block in range(4) for kind in model.config.taps(block))
  run = lambda taps: model.apply({'params': model.params}, latents, 501, text, taps=taps)
  epsilon, found = run(taps)
  assert set(found) == set(taps)
  np.testing.assert_array_equal(epsilon, run(())[0])


def test_recomputed_activations_and_half_precision(model, inputs):
  latents, text = inputs[0][0], inputs[1][0]
  given = {'params': model.params}, latents, 501, text
  recomputed = jax.eval_shape(UNet(model.config, remat=True).apply, *given)[0]
  half, found = jax.eval_shape(
    lambda *a: UNet(model.config, dtype=jnp.bfloat16).apply(*a, taps=('2/temporal_q',)), *given
  )
  assert recomputed.dtype == half.dtype == jnp.float32
  assert found['2/temporal_q'].dtype == jnp.bfloat16


def test_a_middle_block_without_temporal_attention_has_no_temporal_taps(inputs):
  config = TINY['animatediff']
  params = reference.abstract_params(config)
  run = lambda params: UNet(config).apply(
    {'params': params}, inputs[0][0], 501, inputs[1][0], taps=('1/temporal_q',)
  )
  with pytest.raises(ValueError, match=r"taps has '1/temporal_q'; accepted: '<0..3>/<spatial_q"):
    jax.eval_shape(run, params)


def sites(config):
  """[(kind, block, name of the level)] of the modules that read routes, in execution order."""
  found = []

  def note(call, args, options, context):
    module = context.module
    if isinstance(module, Transformer | TemporalTransformer) and context.method_name == '__call__':
      found.append((type(module).__name__, module.block, module.path[0]))
    return call(*args, **options)

  with nn.intercept_methods(note):
    reference.abstract_params(config)
  return found


@pytest.mark.parametrize(
  'name, owners',
  [
    ('lavie', []),
    ('videocrafter', [0, *range(16)]),
    ('modelscope', [0, *range(16)]),
    ('animatediff', [0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, *range(7, 16)]),
    ('animatediff_mid', [0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 6, *range(7, 16)]),
  ],
)
def test_temporal_modules_belong_to_the_block_executed_last(name, owners):
  found = sites(FULL[name])
  assert [block for kind, block, _ in found if kind == 'Transformer'] == list(range(16))
  assert [block for kind, block, _ in found if kind == 'TemporalTransformer'] == owners
  # Blocks 10 to 15 are those of the last two levels, on every backbone.
  late = {level for _, block, level in found if block >= 10}
  assert late == {'up_blocks_2', 'up_blocks_3'}
  assert all(block >= 10 for _, block, level in found if level in late)


def test_the_middle_block_of_lavie_reads_its_queries_and_keys():
  # At 8 x 8 it has one token a frame, whose softmax is 1 whatever q and k are.
  model = reference.Model(reference.SMALL, reference.random_params(reference.SMALL, salt=3))
  rng = np.random.default_rng(4)
  latents = rng.standard_normal((2, 2, 8, 16, 4)).astype(np.float32)
  text = rng.standard_normal((2, 5, 48)).astype(np.float32)
  taps = tuple(f'6/spatial_{kind}' for kind in 'qkv')
  branches = [Branch('reconstruction'), Branch('main')]

  def run(*blocks):
    """Runs one pair of rows for each range of blocks of structure control."""
    settings = [Injections(structure=StructureControl((0, 1), b, ('main',))) for b in blocks]
    composed = [compose(branches, [setting], 1, masked=False) for setting in settings]
    routes = [jax.tree.map(lambda leaf: np.moveaxis(leaf[0], -1, 0), c) for c in composed]
    shifted = [
      jax.tree.map(lambda leaf, i=i: leaf + 2 * i, r._replace(guided=None))
      for i, r in enumerate(routes)
    ]
    routes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *shifted)
    row = lambda x, text, routes: model.apply(
      {'params': model.params}, x, 501, text, routes, None, taps
    )
    repeat = lambda x: np.concatenate([x] * len(blocks))
    out, tapped = jax.vmap(row, axis_name=ROW_AXIS)(repeat(latents), repeat(text), routes)
    return np.asarray(out[1::2]), {name: np.asarray(x) for name, x in tapped.items()}

  (nothing, middle, all_blocks), tapped = run((0, 0), (6, 7), (0, 16))
  assert np.abs(middle - nothing).max() > 1e-3 * nothing.std()
  assert np.abs(all_blocks - middle).max() > 1e-2 * nothing.std()
  for kind, equal in (('q', True), ('k', True), ('v', False)):
    source, main = tapped[f'6/spatial_{kind}'][2:4]
    assert np.array_equal(source, main) == equal, kind


def test_configurations_go_through_json():
  for config in FULL.values():
    data = json.loads(json.dumps(dataclasses.asdict(config)))
    assert of_fields(UNetConfig, data) == config


def test_fields_of_other_backbones_are_checked():
  data = dataclasses.asdict(UNetConfig())
  faults = {
    'fps': (-1, 'fps is -1; accepted: int from 0 to 240'),
    'head_dim': (1.5, 'head_dim is 1.5; accepted: int from 0 to 512'),
    'temporal': ('block', "temporal is 'block'; accepted: 0 to 8 times str"),
    'clip_norms': ([1], r'clip_norms is \(1,\); accepted: 0 to 8 times str'),
  }
  for name, (value, fault) in faults.items():
    with pytest.raises(ValueError, match=fault):
      of_fields(UNetConfig, data | {name: value})


def test_older_files_are_lavie():
  data = json.loads(ModelConfig().to_json())
  for name in ('head_dim', 'temporal', 'clip_norms', 'fps'):
    del data['unet'][name]
  assert ModelConfig.from_json(json.dumps(data)) == ModelConfig()
