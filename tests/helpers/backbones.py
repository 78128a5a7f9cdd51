"""The small models of the golden numbers of VideoCrafter2, ModelScope and AnimateDiff.

The originals are VideoCrafter's own code, diffusers, and AnimateDiff's own code in its three
versions, run in float32 on the CPU on weights of the rule in `reference`.
"""

import dataclasses
import functools

from convert import animatediff, rules, videocrafter
from tests.helpers import reference
from uniedit_jax.models.unet import UNetConfig

MODELSCOPE = UNetConfig(
  channels=(64, 64, 128, 128),
  head_dim=32,
  text_width=32,
  rotary_dim=0,
  relative_buckets=0,
  temporal=('input', 'module', 'middle', 'conv'),
  clip_norms=('module',),
)
ANIMATEDIFF = dataclasses.replace(
  MODELSCOPE, heads=8, head_dim=0, frame_positions=32, temporal=('module', 'plain')
)
MID = dataclasses.replace(ANIMATEDIFF, temporal=('module', 'plain', 'middle'))
CONFIGS = {
  'videocrafter': dataclasses.replace(MODELSCOPE, fps=28),
  'modelscope': MODELSCOPE,
  'animatediff': ANIMATEDIFF,
  'animatediff_mid': MID,
  'v1': dataclasses.replace(ANIMATEDIFF, frame_positions=24, clip_norms=('resnet',)),
  'v2': dataclasses.replace(MID, clip_norms=()),
  'v3': dataclasses.replace(ANIMATEDIFF, clip_norms=()),
}
GOLDENS = 'videocrafter', 'modelscope', 'animatediff', 'animatediff_mid'


def state_dict(name):
  """The original's state dict {torch name: f32 in torch layout}."""
  if name in ('videocrafter', 'modelscope'):
    return reference.state_dict(name)
  # The models without a middle module have all its other tensors.
  state = reference.state_dict('animatediff_mid')
  middle = 'middle' in CONFIGS[name].temporal
  return {n: x for n, x in state.items() if middle or not n.startswith('mid_block.motion')}


def canonical(name, state):
  """A state dict under the names that `rules.convert` knows."""
  if name == 'videocrafter':
    return {videocrafter.rename(n): x for n, x in state.items()}
  return (
    state if name == 'modelscope' else animatediff.canonical(state, CONFIGS[name].frame_positions)
  )


@functools.cache
def model(name):
  """`reference.Model` of a name in `CONFIGS`, with the weights of its goldens."""
  config = CONFIGS[name]
  state = canonical(name, state_dict(name))
  return reference.Model(config, rules.convert(state, reference.abstract_params(config)))
