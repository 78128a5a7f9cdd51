"""The name tables of VideoCrafter2 and AnimateDiff; that they are complete, golden models show."""

import numpy as np
import pytest

from convert import animatediff, rules, videocrafter
from tests.helpers import backbones

MODULE = 'down_blocks.0.motion_modules.0'
# Names of a motion module in AnimateDiff's own files, and in diffusers.
INSIDE = {
  'attention_blocks.0.to_q': 'attn1.to_q',
  'attention_blocks.1.to_out.0': 'attn2.to_out.0',
  'norms.0': 'norm1',
  'norms.1': 'norm2',
  'ff_norm': 'norm3',
  'ff.net.0.proj': 'ff.net.0.proj',
}


@pytest.mark.parametrize(
  'name, expected',
  [
    ('time_embed.2.bias', 'time_embedding.linear_2.bias'),
    ('fps_embedding.0.weight', 'fps_embedding.linear_1.weight'),
    ('input_blocks.6.0.op.bias', 'down_blocks.1.downsamplers.0.conv.bias'),
    ('input_blocks.5.0.skip_connection.bias', 'down_blocks.1.resnets.1.conv_shortcut.bias'),
    ('input_blocks.8.2.proj_in.bias', 'down_blocks.2.temp_attentions.1.proj_in.bias'),
    ('middle_block.3.temopral_conv.conv2.3.bias', 'mid_block.temp_convs.1.conv2.3.bias'),
    ('output_blocks.2.1.conv.bias', 'up_blocks.0.upsamplers.0.conv.bias'),
    ('output_blocks.8.3.conv.bias', 'up_blocks.2.upsamplers.0.conv.bias'),
    ('output_blocks.11.1.norm.weight', 'up_blocks.3.attentions.2.norm.weight'),
    ('out.2.weight', 'conv_out.weight'),
  ],
)
def test_names_of_videocrafter(name, expected):
  assert videocrafter.rename(name) == expected


def test_videocrafter_has_the_names_of_modelscope_and_the_frames_a_second():
  renamed = {videocrafter.rename(name) for name in backbones.state_dict('videocrafter')}
  # The input module's projections are convolutions there, of one place.
  more = {name for name in renamed if name.startswith('fps_embedding.')}
  assert renamed - more == set(backbones.state_dict('modelscope'))
  assert len(more) == 4


@pytest.mark.parametrize('old, new', INSIDE.items())
def test_both_forms_of_a_motion_module_have_one_name(old, new):
  expected = f'down_blocks.0.temp_attentions.0.transformer_blocks.0.{new}.weight'
  for name in (
    f'{MODULE}.temporal_transformer.transformer_blocks.0.{old}.weight',
    f'{MODULE}.transformer_blocks.0.{new}.weight',
  ):
    assert animatediff.rename(name) == expected


@pytest.mark.parametrize('where', ['pos_embed', 'attention_blocks.0.pos_encoder'])
def test_every_attention_gets_a_table_of_positions(where):
  block = f'{MODULE}.transformer_blocks.0'
  state = {f'{block}.attn{i}.to_q.weight': np.ones((6, 6), np.float32) for i in (1, 2)}
  table = animatediff.sinusoids(24, 6)
  found = animatediff.canonical(state | {f'{block}.{where}.pe': np.float16(table)[None]}, 24)
  assert len(found) == 4
  for i in (1, 2):
    name = f'down_blocks.0.temp_attentions.0.transformer_blocks.0.attn{i}.frame_positions'
    np.testing.assert_array_equal(found[name], table)
  np.testing.assert_allclose(
    table[2, 2:4], [np.sin(2 * 10000 ** (-1 / 3)), np.cos(2 * 10000 ** (-1 / 3))], rtol=1e-6
  )


@pytest.mark.parametrize('rows, change', [(32, 0), (24, 0.1)])
def test_another_table_of_positions_is_refused(rows, change):
  table = animatediff.sinusoids(rows, 6)[None] + change
  with pytest.raises(
    ValueError, match=r'pos_embed.pe is no table of sinusoids of 24 frames: \(1, '
  ):
    animatediff.canonical({f'{MODULE}.transformer_blocks.0.pos_embed.pe': table}, 24)


def test_layouts_of_temporal_convolutions_and_of_convolutions_of_one_place():
  weight = np.arange(2 * 3 * 3).reshape(2, 3, 3, 1, 1)
  path, layout = rules.path_and_layout('down_blocks.0.temp_convs.1.conv2.3.weight')
  assert path == 'down_blocks_0/temp_convs_1/conv2_3/kernel'
  for output, inside, frame in np.ndindex(2, 3, 3):
    assert layout(weight)[frame, inside, output] == weight[output, inside, frame, 0, 0]
  assert rules.path_and_layout('temp_convs.0.conv1.0.weight')[0] == 'temp_convs_0/conv1_0/scale'
  layout = rules.path_and_layout('transformer_in.proj_in.weight')[1]
  assert [layout(np.zeros((4, 3, *ones))).shape for ones in ((), (1,), (1, 1))] == [(3, 4)] * 3
