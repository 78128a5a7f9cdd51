"""VideoCrafter2's names of the UNet's tensors, which are those of Latent Diffusion, in diffusers'.

The UNet is ModelScope's with a second embedding, of the frames a second, so the names it gets are
those of diffusers' `UNet3DConditionModel`.
"""

import re

KINDS = 'resnets', 'attentions', 'temp_attentions'  # of a layer, in execution order
MIDDLE = 'resnets.0', 'attentions.0', 'temp_attentions.0', 'resnets.1'
LAYERS = 3  # of a level: two, and a downsampler; going up, three


def _level_and_layer(number):
  return number // LAYERS, number % LAYERS


def _down(match):
  level, layer = _level_and_layer(int(match[1]) - 1)
  return f'down_blocks.{level}.{KINDS[int(match[2])]}.{layer}.'


def _up(match):
  level, layer = _level_and_layer(int(match[1]))
  return f'up_blocks.{level}.{KINDS[int(match[2])]}.{layer}.'


# (pattern, replacement), all applied in this order. The temporal convolutions are misspelt there.
NAMES = (
  (r'^(time|fps)_embed(ding)?\.0\.', r'\1_embedding.linear_1.'),
  (r'^(time|fps)_embed(ding)?\.2\.', r'\1_embedding.linear_2.'),
  (r'^input_blocks\.0\.0\.', 'conv_in.'),
  (r'^init_attn\.0\.', 'transformer_in.'),
  (r'^out\.0\.', 'conv_norm_out.'),
  (r'^out\.2\.', 'conv_out.'),
  (
    r'^input_blocks\.(\d+)\.0\.op\.',
    lambda m: f'down_blocks.{int(m[1]) // LAYERS - 1}.downsamplers.0.conv.',
  ),
  (r'^input_blocks\.(\d+)\.(\d)\.', _down),
  (r'^middle_block\.(\d)\.', lambda m: f'mid_block.{MIDDLE[int(m[1])]}.'),
  (
    r'^output_blocks\.(\d+)\.\d\.conv\.',
    lambda m: f'up_blocks.{int(m[1]) // LAYERS}.upsamplers.0.conv.',
  ),
  (r'^output_blocks\.(\d+)\.(\d)\.', _up),
  (r'\.in_layers\.0\.', '.norm1.'),
  (r'\.in_layers\.2\.', '.conv1.'),
  (r'\.emb_layers\.1\.', '.time_emb_proj.'),
  (r'\.out_layers\.0\.', '.norm2.'),
  (r'\.out_layers\.3\.', '.conv2.'),
  (r'\.skip_connection\.', '.conv_shortcut.'),
  (r'resnets\.(\d)\.temopral_conv\.', r'temp_convs.\1.'),
)


def rename(name):
  """The name in diffusers of a tensor of VideoCrafter2's UNet."""
  for pattern, replacement in NAMES:
    name = re.sub(pattern, replacement, name)
  return name
