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


@functools.partial(jax.jit, static_argnums=0)
def predict(apply, params, x, timestep, text, routes):
  """The noise of rows f[R, F, H, W, C]; `routes` has leaves [R, L]."""
  row = lambda x, text, routes: apply({'params': params}, x, timestep, text, routes)[0]
  return jax.vmap(row, axis_name=ROW_AXIS)(x, text, routes)


def routes_of(fields):
  """The routes of rows source, main, motion, with leaves [R, L]."""
  branches = [Branch('reconstruction'), Branch('main'), Branch('motion')]
  routes = compose(branches, [Injections(**fields)], 1, masked=False)
  return jax.tree.map(lambda leaf: np.moveaxis(leaf[0], -1, 0), routes)


def inputs(name):
  """(golden arrays, latents of the three rows, their texts)."""
  numbers = reference.golden(name)
  return numbers, reference.from_torch(numbers['x']), numbers['text']


@pytest.mark.parametrize('timestep', [981, 501, 1])
@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_agrees_with_the_original(name, timestep):
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  out = predict(model.apply, model.params, x, np.int32(timestep), text, routes_of({}))
  assert agreement(reference.to_torch(out), numbers[f'y{timestep}']) < UNET


@pytest.mark.parametrize('timestep', [981, 501, 1])
@pytest.mark.parametrize('version', ORIGINALS)
def test_agrees_with_the_original_animatediff(version, timestep):
  model = backbones.model(version)
  numbers, x, text = inputs('animatediff_original')
  out = predict(model.apply, model.params, x, np.int32(timestep), text, None)
  assert agreement(reference.to_torch(out), numbers[f'{version}/y{timestep}']) < UNET


@pytest.mark.parametrize('name', [*backbones.GOLDENS, *ORIGINALS])
def test_agrees_with_the_original_at_another_size(name):
  model = backbones.model(name)
  numbers, _, text = inputs('animatediff_original' if name in ORIGINALS else name)
  size = 'tall' if name == 'videocrafter' else 'odd'
  x = reference.from_torch(numbers[f'x_{size}'])
  out = predict(model.apply, model.params, x, np.int32(321), text[:1], None)
  key = f'{name}/y_odd' if name in ORIGINALS else f'y_{size}'
  assert agreement(reference.to_torch(out), numbers[key]) < UNET


def test_the_frames_a_second_are_a_condition_of_videocrafter():
  model = backbones.model('videocrafter')
  numbers, x, text = inputs('videocrafter')
  apply = UNet(dataclasses.replace(model.config, fps=8)).apply
  out = predict(apply, model.params, x, np.int32(501), text, None)
  assert agreement(reference.to_torch(out), numbers['y501_fps8']) < UNET


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_injections(name, case):
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  out = predict(model.apply, model.params, x, np.int32(501), text, routes_of(CASES[case]))
  assert agreement(reference.to_torch(out), expected_rows(numbers, case)) < UNET


def expected_rows(numbers, case):
  """The rows of a case, of which the file has those that it changes, from main on."""
  changed = numbers[f'case/{case}'].reshape(-1, *numbers['x'].shape[1:])
  before, after = numbers['y501'][:1], numbers['y501'][1 + len(changed) :]
  return np.concatenate([before, changed, after])


def apply_by_attention(model):
  """`unet.apply` whose every SA-T reads a route of its own: temporal leaves are [L, M, 2] for M
  temporal modules.
  """

  def apply(*args):
    modules = itertools.count()

    def choose(call, inputs, options, context):
      x, routes, *rest = inputs
      index = None
      if isinstance(context.module, TemporalTransformer):
        module = next(modules)
        index = lambda leaf: leaf[:, module]
      elif isinstance(context.module, TemporalAttention):
        index = lambda leaf: leaf[int(context.module.name == 'attn2')]
      if index:
        slots = ('temporal_q', 'temporal_k', 'temporal_v')
        routes = routes._replace(**{s: jax.tree.map(index, getattr(routes, s)) for s in slots})
      return call(x, routes, *rest, **options)

    def intercept(call, inputs, options, context):
      chosen = isinstance(context.module, TemporalTransformer | TemporalAttention)
      if chosen and context.method_name == '__call__':
        return choose(call, inputs, options, context)
      return call(*inputs, **options)

    with nn.intercept_methods(intercept):
      return model.apply(*args)

  return apply


@pytest.mark.parametrize('name', backbones.GOLDENS)
def test_both_attentions_of_every_temporal_module_read_their_routes(name):
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  apply, own, routed = apply_by_attention(model), routes_of({}), routes_of(MOTION)
  for case, reads in SOME.items():
    chosen = np.array([[reads(follows, second) for second in (0, 1)] for follows in FOLLOWS[name]])
    pick = lambda off, on, chosen=chosen: np.where(chosen, on[..., None, None], off[..., None, None])
    slots = ('temporal_q', 'temporal_k', 'temporal_v')
    routes = own._replace(
      **{s: jax.tree.map(pick, getattr(own, s), getattr(routed, s)) for s in slots}
    )
    out = predict(apply, model.params, x, np.int32(501), text, routes)
    assert agreement(reference.to_torch(out), expected_rows(numbers, case)) < UNET, case


def place_of(tap, config):
  """The path of the module whose result is a golden activation, and whether it gives a tuple."""
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
  """(configuration, golden arrays, results of modules {path: array}, tapped) of row 1 at t = 501."""
  name = request.param
  model = backbones.model(name)
  numbers, x, text = inputs(name)
  taps = *(f'10/spatial_{kind}' for kind in 'qkv'), '10/temporal_q', '10/temporal2_q'
  found = [key.removeprefix('tap/') for key in numbers if key.startswith('tap/')]
  places = {place_of(tap, model.config) for tap in found if not tap.endswith(('_q', '_k', '_v'))}
  wanted = lambda module, method: '/'.join(module.path) in places and method == '__call__'
  run = lambda params, x, text: model.apply(
    {'params': params}, x, 501, text, taps=taps, capture_intermediates=wanted, mutable='intermediates'
  )
  (_, tapped), state = jax.jit(run)(model.params, x[1], text[1])
  results = nn.module.traverse_util.flatten_dict(state['intermediates'], sep='/')
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
