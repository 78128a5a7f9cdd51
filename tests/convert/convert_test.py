"""Rules of conversion on plain numpy dicts, and the command's faults before loading anything."""

import json
import subprocess
import sys

import numpy as np
import pytest
from etils import epath

from convert import lavie, rules

TARGET = {
  'down_blocks_0': {
    'resnets_1': {'norm1': {'scale': np.zeros(2)}, 'conv1': {'kernel': np.zeros((3, 3, 2, 5))}},
    'attentions_0': {'proj_in': {'kernel': np.zeros((2, 3)), 'bias': np.zeros(3)}},
  },
  'to_out_0': {'kernel': np.zeros((4, 2))},
}


@pytest.fixture
def state():
  shapes = {
    'down_blocks.0.resnets.1.norm1.weight': (2,),
    'down_blocks.0.resnets.1.conv1.weight': (5, 2, 3, 3),
    'down_blocks.0.attentions.0.proj_in.weight': (3, 2, 1, 1),
    'down_blocks.0.attentions.0.proj_in.bias': (3,),
    'to_out.0.weight': (2, 4),
  }
  rng = np.random.default_rng(0)
  return {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


@pytest.mark.parametrize(
  'name, path',
  [
    ('conv_norm_out.weight', 'conv_norm_out/scale'),
    (
      'text_model.encoder.layers.11.layer_norm2.bias',
      'text_model/encoder/layers_11/layer_norm2/bias',
    ),
    ('encoder.layers.1.mlp.fc1.weight', 'text_model/encoder/layers_1/mlp/fc1/kernel'),
    ('embeddings.token_embedding.weight', 'text_model/embeddings/token_embedding/embedding'),
    (
      'a.time_rel_pos_bias.relative_attention_bias.weight',
      'a/time_rel_pos_bias/relative_attention_bias/embedding',
    ),
    (
      'encoder.mid_block.attentions.0.proj_attn.weight',
      'encoder/mid_block/attentions_0/to_out_0/kernel',
    ),
    ('decoder.mid_block.attentions.0.query.bias', 'decoder/mid_block/attentions_0/to_q/bias'),
    ('encoder.mid_block.attentions.0.key.weight', 'encoder/mid_block/attentions_0/to_k/kernel'),
    ('decoder.mid_block.attentions.0.value.bias', 'decoder/mid_block/attentions_0/to_v/bias'),
    ('ff.net.0.proj.weight', 'ff/net_0/proj/kernel'),
    ('time_embedding.linear_1.weight', 'time_embedding/linear_1/kernel'),
  ],
)
def test_paths(name, path):
  assert rules.path_and_layout(name)[0] == path


def test_layouts_values_and_release(state):
  source = dict(state)
  params = rules.convert(state, TARGET)
  assert not state
  level = params['down_blocks_0']
  kernel = level['resnets_1']['conv1']['kernel']
  conv = source['down_blocks.0.resnets.1.conv1.weight'].astype(np.float32)
  np.testing.assert_array_equal(kernel, np.einsum('oihw->hwio', conv))
  proj = source['down_blocks.0.attentions.0.proj_in.weight'].astype(np.float32)
  np.testing.assert_array_equal(level['attentions_0']['proj_in']['kernel'], proj[:, :, 0, 0].T)
  out = source['to_out.0.weight'].T.astype(np.float32)
  np.testing.assert_array_equal(params['to_out_0']['kernel'], out)
  assert kernel.dtype == np.float32
  assert kernel.flags.c_contiguous


def test_every_difference_is_listed_and_nothing_consumed(state):
  state['to_out.0.weight'] = np.zeros((4, 2))
  state['extra.lora_up'] = np.zeros(1)
  state['mid.conv.weight'] = np.zeros((1, 1, 3, 3))
  # The rule cannot transpose this shape.
  state['to_out.1.weight'] = np.zeros(7)
  del state['down_blocks.0.resnets.1.norm1.weight']
  before = set(state)
  with pytest.raises(ValueError) as error:
    rules.convert(state, TARGET)
  assert set(state) == before
  lines = str(error.value).splitlines()
  assert lines[1:] == [
    '3 tensors of the file that the model has no place for:',
    '  extra.lora_up (1,)',
    '  mid.conv.weight (1, 1, 3, 3)',
    '  to_out.1.weight (7,)',
    '1 parameters of the model that the file does not fill:',
    '  down_blocks_0/resnets_1/norm1/scale (2,)',
    '1 shapes that differ:',
    '  to_out.0.weight: (2, 4) in our layout, the model has (4, 2)',
  ]


def test_two_names_of_one_parameter_are_an_error():
  names = [f'encoder.mid_block.attentions.0.{name}.weight' for name in ('query', 'to_q')]
  target = {'encoder': {'mid_block': {'attentions_0': {'to_q': {'kernel': np.zeros((2, 2))}}}}}
  for name in names:
    rules.convert({name: np.zeros((2, 2, 1, 1))}, target)
  with pytest.raises(ValueError, match=r'to_q.weight \(2, 2\)'):
    rules.convert({name: np.zeros((2, 2)) for name in names}, target)


def test_constants_are_compared_and_dropped(state):
  freqs = 10000.0 ** (-2 * np.arange(16) / 32)
  state['x.rotary_emb.freqs'] = freqs.astype(np.float16)
  state['embeddings.position_ids'] = np.arange(77)[None]
  rules.convert(dict(state), TARGET)
  state['x.rotary_emb.freqs'] = freqs[::-1]
  with pytest.raises(ValueError, match=r'x\.rotary_emb\.freqs is'):
    rules.convert(state, TARGET)


def run(*args):
  # None in sys.modules makes `import torch` fail, installed or not.
  code = (
    "import sys, runpy; sys.modules['torch'] = None; "
    "runpy.run_module('convert.lavie', run_name='__main__', alter_sys=True)"
  )
  command = [sys.executable, '-c', code, *args]
  return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_needs_no_torch():
  done = run('--help')
  assert '--lavie' in done.stdout and '--groups' in done.stdout, done.stderr


def test_all_faults_of_the_inputs_are_listed(tmp_path):
  sd = tmp_path / 'sd'
  for name in ('vae', 'text_encoder', 'tokenizer', 'out'):
    (sd / name).mkdir(parents=True)
  (sd / 'vae' / 'config.json').write_text(json.dumps({'act_fn': 'relu'}))
  (sd / 'vae' / 'diffusion_pytorch_model.bin').touch()
  (sd / 'tokenizer' / 'merges.txt').touch()
  (sd / 'text_encoder' / 'config.json').write_text('{"hidden_act": "gelu"}')
  paths = [epath.Path(p) for p in (sd, tmp_path / 'lavie_base.pt', sd)]
  with pytest.raises(ValueError) as error:
    lavie.check_inputs(*paths)
  for fault in (
    'there is no file',
    'has none of text_encoder/model.safetensors',
    'has no tokenizer/vocab.json',
    "act_fn is 'relu'; accepted: 'silu'",
    'already holds something else',
  ):
    assert fault in str(error.value)


def test_unet_sizes_are_read_from_shapes():
  with pytest.raises(ValueError, match='no LaVie UNet'):
    lavie.infer_unet_config({'conv_in.weight': np.zeros((1, 4, 3, 3))}, 32)
