"""ModelScope's and AnimateDiff's UNets against diffusers, at sizes of no golden file."""

import dataclasses

import jax
import numpy as np
import pytest

from convert import animatediff, rules
from tests.helpers import backbones, reference
from tests.helpers.tolerances import UNET, agreement
from uniedit_jax.models.unet import UNet

pytestmark = pytest.mark.parity

SIZES = {'channels': (32, 64, 96), 'groups': 16, 'layers_per_block': 1, 'text_width': 24}
MODELSCOPE = dataclasses.replace(backbones.MODELSCOPE, head_dim=16, **SIZES)
ANIMATEDIFF = dataclasses.replace(backbones.ANIMATEDIFF, heads=4, **SIZES)
MID = dataclasses.replace(backbones.MID, heads=4, **SIZES)


def original(config):
  """The UNet of diffusers of a `UNetConfig`, with weights by the rule."""
  diffusers, torch = pytest.importorskip('diffusers'), pytest.importorskip('torch')
  kind = '3D' if config.head_dim else 'Motion'
  levels = len(config.channels) - 1
  sizes = {
    'block_out_channels': config.channels,
    'norm_num_groups': config.groups,
    'layers_per_block': config.layers_per_block,
    'cross_attention_dim': config.text_width,
    'down_block_types': (*[f'CrossAttnDownBlock{kind}'] * levels, f'DownBlock{kind}'),
    'up_block_types': (f'UpBlock{kind}', *[f'CrossAttnUpBlock{kind}'] * levels),
  }
  if config.head_dim:
    model = diffusers.UNet3DConditionModel(attention_head_dim=config.head_dim, **sizes)
  else:
    model = diffusers.UNetMotionModel(
      num_attention_heads=config.heads,
      motion_num_attention_heads=config.heads,
      use_motion_mid_block='middle' in config.temporal,
      motion_max_seq_length=config.frame_positions,
      **sizes,
    )
  state = {
    name: x if name.endswith('.pe') else torch.from_numpy(reference.weight(name, tuple(x.shape)))
    for name, x in model.state_dict().items()
  }
  model.load_state_dict(state)
  return model.eval(), {name: x.numpy() for name, x in state.items()}


@pytest.mark.parametrize('config', [MODELSCOPE, ANIMATEDIFF, MID], ids=['modelscope', 'v1', 'v2'])
def test_unet_agrees_with_diffusers(config, rng):
  torch = pytest.importorskip('torch')
  model, state = original(config)
  if not config.head_dim:
    state = animatediff.canonical(state, config.frame_positions)
  params = rules.convert(state, reference.abstract_params(config))
  for frames in (1, 24):
    x = rng.standard_normal((1, 4, frames, 6, 10)).astype(np.float32)
    text = rng.standard_normal((1, 7, 24)).astype(np.float32)
    given = torch.from_numpy(text)
    # One of the two repeats the text for every frame by itself.
    given = given if config.head_dim else given.repeat_interleave(frames, 0)
    with torch.no_grad():
      expected = model(torch.from_numpy(x), 701, given).sample.numpy()
    found = jax.jit(UNet(config).apply)(
      {'params': params}, reference.from_torch(x)[0], 701, text[0]
    )
    assert agreement(reference.to_torch(found[0]), expected[0]) < UNET, frames
