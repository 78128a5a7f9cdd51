"""VideoCrafter2, ModelScope and AnimateDiff against their PyTorch originals: every golden array."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

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
from uniedit_jax.method.overrides import ROW_AXIS
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


# What one call computes together: {key of the file: (timestep, injections)}.
RUNS = {f'y{timestep}': (timestep, {}) for timestep in (981, 501, 1)}
RUNS |= {f'case/{case}': (501, fields) for case, fields in CASES.items()}
TEMPORAL_SLOTS = 'temporal_q', 'temporal_k', 'temporal_v'


def predict(apply, params, x, timestep, text, routes):
  """The noise of rows f[R, F, H, W, C] in torch order; `timestep` is i32[R], leaves of `routes`
  [R, L]. It is not compiled as a whole, which would take longer than the one call.
  """
  row = lambda x, timestep, text, routes: apply({'params': params}, x, timestep, text, routes)[0]
  return reference.to_torch(jax.vmap(row, axis_name=ROW_AXIS)(x, timestep, text, routes))


def routes_of(fields, first=0):
  """The routes of rows source, main, motion, with leaves [R, L]; `first` is the source's row."""
  branches = [Branch('reconstruction'), Branch('main'), Branch('motion')]
  routes = compose(branches, [Injections(**fields)], 1, masked=False)._replace(guided=None)
  return jax.tree.map(lambda leaf: first + np.moveaxis(leaf[0], -1, 0), routes)


def inputs(name):
  """(golden arrays, latents of the three rows, their texts)."""
  numbers = reference.golden(name)
  return numbers, reference.from_torch(numbers['x']), numbers['text']


@functools.cache
def noise(name, keys):
  """{key of `RUNS`: noise of its three rows}."""
  model = backbones.model(name)
  _, x, text = inputs(name)
  timesteps, fields = zip(*(RUNS[key] for key in keys), strict=True)
  routes = [routes_of(f, 3 * i) for i, f in enumerate(fields)]
  routes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *routes)
  repeat = lambda array: np.concatenate([array] * len(keys))
  timesteps = np.repeat(np.int32(timesteps), 3)
  out = predict(model.apply, model.params, repeat(x), timesteps, repeat(text), routes)
  return dict(zip(keys, np.split(out, len(keys)), strict=True))


def expected_rows(numbers, key):
  """The rows of a run, of which the file has for a case those that it changes, from main on."""
  if not key.startswith('case/'):
    return numbers[key]
  changed = numbers[key].reshape(-1, *numbers['x'].shape[1:])
  before, after = numbers['y501'][:1], numbers['y501'][1 + len(changed) :]
  return np.concatenate([before, changed, after])


@pytest.mark.parametrize('key', RUNS)
@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_agrees_with_the_original(name, key):
  expected = expected_rows(reference.golden(name), key)
  assert agreement(noise(name, tuple(RUNS))[key], expected) < UNET


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
  apply = UNet(dataclasses.replace(model.config, fps=8)).apply
  out = predict(apply, model.params, x, np.int32([501] * 3), text, None)
  assert agreement(out, numbers['y501_fps8']) < UNET


def apply_by_attention(model):
  """`unet.apply` whose every SA-T reads a route of its own: temporal leaves are [L, M, 2] for M
  temporal modules.
  """

  def apply(*args):
    modules = itertools.count()

    def intercept(call, inputs, options, context):
      if context.method_name != '__call__':
        return call(*inputs, **options)
      index = None
      if isinstance(context.module, TemporalTransformer):
        module = next(modules)
        index = lambda leaf: leaf[:, module]
      elif isinstance(context.module, TemporalAttention):
        index = lambda leaf: leaf[int(context.module.name == 'attn2')]
      if index:
        x, routes, *rest = inputs
        inputs = x, with_temporal(routes, index, routes), *rest
      return call(*inputs, **options)

    with nn.intercept_methods(intercept):
      return model.apply(*args)

  return apply


def with_temporal(routes, function, *others):
  """Routes whose leaves of SA-T are `function` of those of `others`."""
  slots = {
    slot: jax.tree.map(function, *(getattr(other, slot) for other in others))
    for slot in TEMPORAL_SLOTS
  }
  return routes._replace(**slots)


@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_both_attentions_of_every_temporal_module_read_their_routes(name):
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  routes = []
  for i, reads in enumerate(SOME.values()):
    chosen = np.array([[reads(follows, second) for second in (0, 1)] for follows in FOLLOWS[name]])
    pick = lambda off, on, chosen=chosen: np.where(
      chosen, on[..., None, None], off[..., None, None]
    )
    own, routed = routes_of({}, 3 * i), routes_of(MOTION, 3 * i)
    routes.append(with_temporal(own, pick, own, routed))
  routes = jax.tree.map(lambda *leaves: np.concatenate(leaves), *routes)
  repeat = lambda array: np.concatenate([array] * len(SOME))
  timesteps = np.int32([501] * 3 * len(SOME))
  apply = apply_by_attention(model)
  out = predict(apply, model.params, repeat(x), timesteps, repeat(text), routes)
  for case, rows in zip(SOME, np.split(out, len(SOME)), strict=True):
    assert agreement(rows, expected_rows(numbers, f'case/{case}')) < UNET, case


def place_of(tap, config):
  """The path of the module whose result is a golden activation."""
  if tap == 'first_skip':
    return 'transformer_in'
  level, kind, j = tap.partition('_')[0], tap.partition('_')[2].rstrip('012'), tap[-1]
  resnets = 'temp_convs' if 'conv' in config.temporal else 'resnets'
  kind = {'resnet': resnets, 'spatial': 'attentions', 'temporal': 'temp_attentions'}[kind]
  if level == 'mid':
    return f'mid_block/{kind}_0'
  return f'{level[:-1]}_blocks_{level[-1]}/{kind}_{j}'


@pytest.fixture(scope='module', params=backbones.GOLDENS)
def activations(request):
  """(configuration, golden arrays, results of modules {path: array}, tapped): row 1, t = 501."""
  name = request.param
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  taps = *(f'10/spatial_{kind}' for kind in 'qkv'), '10/temporal_q', '10/temporal2_q'
  found = [key.removeprefix('tap/') for key in numbers if key.startswith('tap/')]
  places = {place_of(tap, model.config) for tap in found if not tap.endswith(('_q', '_k', '_v'))}
  wanted = lambda module, method: '/'.join(module.path) in places and method == '__call__'
  run = functools.partial(
    model.apply, taps=taps, capture_intermediates=wanted, mutable='intermediates'
  )
  (_, tapped), state = run({'params': model.params}, x[1], 501, text[1])
  results = traverse_util.flatten_dict(state['intermediates'], sep='/')
  results = {path.removesuffix('/__call__'): result for path, (result,) in results.items()}
  return model.config, numbers, results, tapped


def test_activations(activations):
  config, numbers, results, _ = activations
  checked = 0
  for key in numbers:
    if key.startswith('tap/') and not key.endswith(('_q', '_k', '_v')):
      found = results[place_of(key.removeprefix('tap/'), config)]
      found = reference.to_torch(found[0] if isinstance(found, tuple) else found)
      # Of large arrays the file has some channels.
      stride = len(found) // len(numbers[key])
      assert agreement(found[::stride], numbers[key]) < UNET, key
      checked += 1
  assert checked == len(results) >= 2


def test_queries_keys_and_values(activations):
  _, numbers, _, tapped = activations
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
