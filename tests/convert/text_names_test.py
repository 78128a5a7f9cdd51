"""Converters read the names of open_clip, and the activation and pad token of a text tower."""

import json

import numpy as np
import pytest
from etils import epath

from convert import open_clip, published

VOCABULARY = {'!': 0, '<|startoftext|>': 4, '<|endoftext|>': 5}
END = {'content': '<|endoftext|>'}


@pytest.mark.parametrize(
  'settings, tokens, pad',
  [
    (None, None, -1),
    ({}, None, -1),
    ({'pad_token': END}, {}, -1),
    ({'pad_token': '!'}, None, 0),
    ({'pad_token': '<|endoftext|>'}, {'pad_token': '!'}, 0),  # Stable Diffusion 2
    ({'pad_token': END, 'added_tokens_decoder': {}}, {'pad_token': '!'}, -1),
    (None, {'pad_token': {'content': '!'}}, 0),
  ],
)
def test_the_pad_token_is_the_one_of_the_tokenizer(tmp_path, settings, tokens, pad):
  folder = epath.Path(tmp_path)
  for name, data in (('tokenizer_config', settings), ('special_tokens_map', tokens)):
    if data is not None:
      (folder / f'{name}.json').write_text(json.dumps(data))
  assert published.pad_id(folder, VOCABULARY) == pad


def test_a_pad_token_without_an_id_is_refused(tmp_path):
  (tmp_path / 'tokenizer_config.json').write_text('{"pad_token": "[PAD]"}')
  with pytest.raises(ValueError, match=r"pad_token is '\[PAD\]'; accepted: a token of vocab.json"):
    published.pad_id(epath.Path(tmp_path), VOCABULARY)


def test_the_activation_is_the_one_of_the_tower():
  sizes = dict.fromkeys(('hidden_size', 'vocab_size', 'num_hidden_layers'), 8)
  sizes |= dict.fromkeys(('num_attention_heads', 'intermediate_size'), 4)
  sizes['max_position_embeddings'] = 77
  config = lambda **given: published.text_config(sizes | given, VOCABULARY, pad=0)
  assert config().activation == 'quick_gelu'
  assert config(hidden_act='gelu').activation == 'gelu'
  assert config().pad == 0
  with pytest.raises(ValueError, match="activation is 'gelu_new'; accepted"):
    config(hidden_act='gelu_new')


def test_queries_keys_and_values_of_open_clip_are_split_in_this_order():
  stacked = np.arange(12).reshape(6, 2)
  name = 'transformer.resblocks.11.attn.in_proj_weight'
  found = open_clip.text_tower({name: stacked}, layers=12)
  attention = 'text_model.encoder.layers.11.self_attn'
  assert list(found) == [f'{attention}.{part}_proj.weight' for part in 'qkv']
  np.testing.assert_array_equal(np.concatenate(list(found.values())), stacked)


def test_unread_layers_are_left_out_and_foreign_names_stay():
  block = 'transformer.resblocks.{}.ln_2.bias'
  names = ['logit_scale', 'text_projection', 'attn_mask', 'visual.proj', block.format(1)]
  names += [block.format(2), block.format(10), 'ln_final.weight']
  found = open_clip.text_tower(dict.fromkeys(names, np.zeros(1)), layers=2)
  assert set(found) == {
    'visual.proj',
    'text_model.encoder.layers.1.layer_norm2.bias',
    'text_model.final_layer_norm.weight',
  }
