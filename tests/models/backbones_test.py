"""VideoCrafter2, ModelScope and AnimateDiff against their PyTorch originals: every golden array."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import backbones, reference
from tests.helpers.tolerances import MODULE_TORCH, UNET, agreement
from uniedit_jax.method.injection import (
  Branch,
  ContentPreservation,
  Injections,
  MotionInjection,
  StructureControl,
  compose,
)
from uniedit_jax.method.overrides import ROW_AXIS, AttentionOverride, Source
from uniedit_jax.models.attention import TemporalAttention
from uniedit_jax.models.temporal import TemporalConvs, TemporalTransformer
from uniedit_jax.models.unet import UNet
from uniedit_jax.models.unet_blocks import Resnet, Transformer

ORIGINALS = 'v1', 'v2', 'v3'
ONE, ALL, DECODER = (0, 1), (0, 16), (10, 16)
STRUCTURE = {'structure': StructureControl(ONE, ALL, ('main',))}
CONTENT = {'content': ContentPreservation(ONE, DECODER, ('k', 'v'))}
MOTION = {'motion': MotionInjection(ONE, ALL)}
CASES = {
  'none': {},
  'structure': STRUCTURE,
  'structure_0_7': {'structure': StructureControl(ONE, (0, 8), ('main',))},
  'structure_both': {'structure': StructureControl(ONE, ALL, ('main', 'motion'))},
  'content_kv': CONTENT,
  'content_v': {'content': ContentPreservation(ONE, DECODER, ('v',))},
  'temporal': MOTION,
  'temporal_10_15': {'motion': MotionInjection(ONE, DECODER)},
  'temporal_0_9': {'motion': MotionInjection(ONE, (0, 10))},
  'everything': STRUCTURE | CONTENT | MOTION,
}
# No settings of an edit: some of the SA-T of `temporal`, as (does it follow a block, which of two).
SOME = {
  'temporal_first': lambda follows, second: not second,
  'temporal_second': lambda follows, second: second,
  'temporal_blocks': lambda follows, second: follows,
  'temporal_no_block': lambda follows, second: not follows,
}
# Whether the temporal modules follow a block, in execution order.
FOLLOWS = {
  'videocrafter': [False] + [True] * 16,
  'modelscope': [False] + [True] * 16,
  'animatediff': [True] * 6 + [False] * 5 + [True] * 9,
  'animatediff_mid': [True] * 6 + [False] * 2 + [True] + [False] * 3 + [True] * 9,
}


def predict(apply, params, x, timestep, text, routes):
  """The noise of rows f[R, F, H, W, C] in torch order; `timestep` is i32[R], leaves of `routes`
  [R, L]. It is not compiled as a whole, which would take longer than the one call.
  """
  row = lambda x, timestep, text, routes: apply({'params': params}, x, timestep, text, routes)[0]
  return reference.to_torch(jax.vmap(row, axis_name=ROW_AXIS)(x, timestep, text, routes))


def inputs(name):
  """(golden arrays, latents of source, main and motion, their texts)."""
  numbers = reference.golden(name)
  return numbers, reference.from_torch(numbers['x']), numbers['text']


def shared_rows():
  """The rows that compute all cases in one call.

  The cases share the source, and all but one share what motion computes.

  Returns:
    (which of source, main and motion a row starts from [R], routes with leaves [R, L],
    {case: its three rows}).
  """
  branches = [Branch('reconstruction')]
  branches += [Branch(kind, i) for i in range(len(CASES)) for kind in ('main', 'motion')]
  settings = [Injections(**fields) for fields in CASES.values()]
  routes = compose(branches, settings, 1, masked=False)._replace(guided=None)
  own = [0, list(CASES).index('structure_both')]
  kept = [k for k, b in enumerate(branches) if b.kind != 'motion' or b.setting in own]
  shared = branches.index(Branch('motion', 0))
  place = np.array([kept.index(k if k in kept else shared) for k in range(len(branches))])
  routes = jax.tree.map(lambda leaf: place[leaf[0, :, kept]], routes)
  kinds = [('reconstruction', 'main', 'motion').index(branches[k].kind) for k in kept]
  return kinds, routes, {case: place[[0, 2 * i + 1, 2 * i + 2]] for i, case in enumerate(CASES)}


@functools.cache
def noise(name):
  """{case, or timestep without injections: noise of its three rows}."""
  model = backbones.model(name)
  _, x, text = inputs(name)
  kinds, routes, rows = shared_rows()
  count = len(kinds)
  rows |= {t: np.arange(3) + count + 3 * i for i, t in enumerate((981, 1))}
  more = np.arange(count, count + 6)
  plain = np.broadcast_to(more[:, None], (6, model.config.blocks))
  routes = jax.tree.map(lambda leaf: np.concatenate([leaf, plain]), routes)
  start = kinds + [0, 1, 2] * 2
  timesteps = np.int32([501] * count + [981] * 3 + [1] * 3)
  out = predict(model.apply, model.params, x[start], timesteps, text[start], routes)
  return {key: out[of_key] for key, of_key in rows.items()}


@pytest.mark.parametrize('key', [981, 1, *CASES])
@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_agrees_with_the_original(name, key):
  numbers = reference.golden(name)
  expected = numbers[f'y{key}'] if key in (981, 1) else rows_of_case(numbers, key)
  assert agreement(noise(name)[key], expected) < UNET


def rows_of_case(numbers, case):
  """The three rows of a case, of which the file has those that it changes, from main on."""
  changed = numbers[f'case/{case}'].reshape(-1, *numbers['x'].shape[1:])
  before, after = numbers['y501'][:1], numbers['y501'][1 + len(changed) :]
  return np.concatenate([before, changed, after])


@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_nothing_routed_is_the_plain_model(name):
  assert agreement(noise(name)['none'], reference.golden(name)['y501']) < UNET


@pytest.mark.parametrize('version', ORIGINALS)
def test_agrees_with_the_original_animatediff(version):
  model = backbones.model(version)
  numbers, x, text = inputs('animatediff_original')
  timesteps = np.repeat(np.int32([981, 501, 1]), 3)
  repeat = lambda array: np.concatenate([array] * 3)
  out = predict(model.apply, model.params, repeat(x), timesteps, repeat(text), None)
  for timestep, rows in zip((981, 501, 1), np.split(out, 3), strict=True):
    assert agreement(rows, numbers[f'{version}/y{timestep}']) < UNET, timestep


@pytest.mark.parametrize('name', [*backbones.GOLDENS, *ORIGINALS])
def test_agrees_with_the_original_at_another_size(name):
  model = backbones.model(name)
  numbers, _, text = inputs('animatediff_original' if name in ORIGINALS else name)
  size = 'tall' if name == 'videocrafter' else 'odd'
  x = reference.from_torch(numbers[f'x_{size}'])
  out = model.denoise(model.params, x[0], 321, text[0])
  key = f'{name}/y_odd' if name in ORIGINALS else f'y_{size}'
  assert agreement(reference.to_torch(out), numbers[key][0]) < UNET


def test_the_frames_a_second_are_a_condition_of_videocrafter():
  model = backbones.model('videocrafter')
  numbers, x, text = inputs('videocrafter')
  unet = UNet(dataclasses.replace(model.config, fps=8))
  for row in range(3):
    out = unet.apply({'params': model.params}, x[row], 501, text[row])[0]
    assert agreement(reference.to_torch(out), numbers['y501_fps8'][row]) < UNET


def apply_by_attention(model):
  """`unet.apply` whose every SA-T reads a route of its own: leaves are [M, 2] for M temporal
  modules.
  """

  def apply(*args):
    modules = itertools.count()

    def intercept(call, inputs, options, context):
      index = None
      if context.method_name == '__call__' and isinstance(context.module, TemporalTransformer):
        # The module reads an entry of its block, which all blocks have here.
        module, blocks = next(modules), model.config.blocks
        index = lambda leaf: jnp.broadcast_to(leaf[module], (blocks, 2))
      elif context.method_name == '__call__' and isinstance(context.module, TemporalAttention):
        index = lambda leaf: leaf[int(context.module.name == 'attn2')]
      if index:
        x, routes, *rest = inputs
        inputs = x, jax.tree.map(index, routes), *rest
      return call(*inputs, **options)

    with nn.intercept_methods(intercept):
      return model.apply(*args)

  return apply


@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_both_attentions_of_every_temporal_module_read_their_routes(name):
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  # Rows: the source, main of every case, motion.
  start = [0, *[1] * len(SOME), 2]
  motion = len(start) - 1
  table = np.tile(np.arange(len(start))[:, None, None], (1, len(FOLLOWS[name]), 2))
  for i, reads in enumerate(SOME.values()):
    chosen = [[reads(follows, second) for second in (False, True)] for follows in FOLLOWS[name]]
    table[1 + i][np.array(chosen)] = motion
  routes = AttentionOverride(temporal_q=Source(table, table), temporal_k=Source(table, table))
  timesteps = np.int32([501] * len(start))
  apply = apply_by_attention(model)
  out = predict(apply, model.params, x[start], timesteps, text[start], routes)
  for i, case in enumerate(SOME):
    rows = out[[0, 1 + i, motion]]
    assert agreement(rows, rows_of_case(numbers, case)) < UNET, case


def place_of(tap):
  """(path, whether it is the result) of the module that takes or gives a golden activation."""
  if tap == 'first_skip':
    return 'transformer_in', True
  level, _, kind = tap.partition('_')
  j = kind[-1] if kind[-1].isdigit() else 0
  level = 'mid_block' if level == 'mid' else f'{level[:-1]}_blocks_{level[-1]}'
  # What a resnet and its temporal convolutions give, the block after them takes.
  module = 'temp_attentions' if kind.startswith('temporal') else 'attentions'
  return f'{level}/{module}_{j}', not kind.startswith('resnet')


@pytest.fixture(scope='module', params=backbones.GOLDENS)
def activations(request):
  """(golden arrays, {path: (input, result)} of modules, tapped) of row 1 at t = 501."""
  name = request.param
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  taps = *(f'10/spatial_{kind}' for kind in 'qkv'), '10/temporal_q', '10/temporal2_q'
  found = {}

  def record(call, inputs, options, context):
    result = call(*inputs, **options)
    module = context.module
    if isinstance(module, Transformer | TemporalTransformer) and context.method_name == '__call__':
      found['/'.join(module.path)] = inputs[0], result[0]
    return result

  with nn.intercept_methods(record):
    _, tapped = model.apply({'params': model.params}, x[1], 501, text[1], taps=taps)
  return numbers, found, tapped


def test_activations(activations):
  numbers, modules, _ = activations
  taps = [key.removeprefix('tap/') for key in numbers if key.startswith('tap/')]
  for tap in [tap for tap in taps if not tap.endswith(('_q', '_k', '_v'))]:
    path, is_result = place_of(tap)
    found, expected = reference.to_torch(modules[path][is_result]), numbers[f'tap/{tap}']
    # Of large arrays the file has some channels.
    assert agreement(found[:: len(found) // len(expected)], expected) < UNET, tap


def test_queries_keys_and_values(activations):
  numbers, _, tapped = activations
  names = {f'spatial_10_{kind}': f'10/spatial_{kind}' for kind in 'qkv'}
  names |= {'temporal_block10_0_q': '10/temporal_q', 'temporal_block10_1_q': '10/temporal2_q'}
  for key, tap in names.items():
    expected = numbers[f'tap/{key}']
    assert agreement(tapped[tap].reshape(expected.shape), expected) < UNET, key


@pytest.mark.parametrize('name', ['modelscope', 'animatediff'])
def test_modules_show_their_epsilon(name):
  """On features of deviation 1e-3 an epsilon of 1e-5 for 1e-6, or back, is off by 1 or more."""
  model, golden = backbones.model(name), reference.golden('eps')
  numbers = {k.partition('/')[2]: x for k, x in golden.items() if k.startswith(name)}
  config, f32 = model.config, jnp.float32
  x, text = np.moveaxis(numbers.pop('x'), 1, -1), numbers.pop('text')
  modules = {
    'resnets_0': (Resnet(64, config.groups, f32, False), (numbers.pop('time'),)),
    'attentions_0': (Transformer(config, 2, f32, (), True), (text, None, None)),
    'temp_attentions_0': (
      TemporalTransformer(config, 2, config.heads_of(64), 64, f32, ()),
      (None, None),
    ),
    'temp_convs_0': (TemporalConvs(config, f32), ()),
  }
  for key, expected in numbers.items():
    module, more = modules[key]
    found = module.apply({'params': model.params['down_blocks_1'][key]}, x, *more)
    found = found[0] if isinstance(found, tuple) else found
    assert agreement(np.moveaxis(np.asarray(found), -1, 1), expected) < MODULE_TORCH, key


@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_every_array_is_tested(name):
  taps = {key for key in reference.golden(name) if key.startswith('tap/')}
  size = 'tall' if name == 'videocrafter' else 'odd'
  known = {'x', 'text', 'y981', 'y501', 'y1', f'x_{size}', f'y_{size}'} | taps
  known |= {f'case/{case}' for case in (*CASES, *SOME)}
  known |= {'y501_fps8'} if name == 'videocrafter' else set()
  assert known == set(reference.golden(name))
