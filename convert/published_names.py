"""The names that other packages publish tensors under, from diffusers': for synthetic files.

Each function takes a state dict in the names of diffusers or transformers and returns one in those
of the original, the inverse of what the converter does.
"""

import re

import numpy as np

from convert import animatediff, rules, videocrafter

RESNET = (
  (r'^norm1\.', 'in_layers.0.'),
  (r'^conv1\.', 'in_layers.2.'),
  (r'^time_emb_proj\.', 'emb_layers.1.'),
  (r'^norm2\.', 'out_layers.0.'),
  (r'^conv2\.', 'out_layers.3.'),
  (r'^conv_shortcut\.', 'skip_connection.'),
)
VAE = (
  (r'_blocks\.(\d+)\.resnets\.', r'.\1.block.'),
  (r'(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.', r'\1.\2.\3sample.'),
  (r'mid_block\.resnets\.0\.', 'mid.block_1.'),
  (r'mid_block\.resnets\.1\.', 'mid.block_2.'),
  (r'mid_block\.attentions\.0\.group_norm\.', 'mid.attn_1.norm.'),
  (r'mid_block\.attentions\.0\.to_([qkv])\.', r'mid.attn_1.\1.'),
  (r'mid_block\.attentions\.0\.to_out\.0\.', 'mid.attn_1.proj_out.'),
  (r'\.conv_shortcut\.', '.nin_shortcut.'),
  (r'\.conv_norm_out\.', '.norm_out.'),
)
OPEN_CLIP = (
  (r'^text_model\.embeddings\.token_embedding\.', 'token_embedding.'),
  (r'^text_model\.embeddings\.position_embedding\.weight', 'positional_embedding'),
  (r'^text_model\.final_layer_norm\.', 'ln_final.'),
  (r'^text_model\.encoder\.layers\.', 'transformer.resblocks.'),
  (r'\.layer_norm([12])\.', r'.ln_\1.'),
  (r'\.self_attn\.out_proj\.', '.attn.out_proj.'),
  (r'\.mlp\.fc1\.', '.mlp.c_fc.'),
  (r'\.mlp\.fc2\.', '.mlp.c_proj.'),
)
MOTION = (
  (r'\.temp_attentions\.(\d+)\.', r'.motion_modules.\1.temporal_transformer.'),
  (r'\.attn1\.', '.attention_blocks.0.'),
  (r'\.attn2\.', '.attention_blocks.1.'),
  (r'\.norm1\.', '.norms.0.'),
  (r'\.norm2\.', '.norms.1.'),
  (r'\.norm3\.', '.ff_norm.'),
)


def of_motion_modules(state, frames):
  """AnimateDiff's own names, with its tables of positions of `frames` rows."""
  renamed = {}
  for name, x in state.items():
    if name.endswith('.frame_positions'):
      name = name.replace('.frame_positions', '.pos_encoder.pe')
      x = animatediff.sinusoids(frames, x.shape[-1])[None]
    renamed[rules.rename(name, MOTION)] = x
  return renamed


def of_videocrafter_unet(state):
  """VideoCrafter2's names of a UNet with two layers a level."""
  levels = 1 + max(int(m[1]) for name in state if (m := re.match(r'down_blocks\.(\d+)', name)))
  embeddings = (f'{kind}.{i}.' for kind in ('time_embed', 'fps_embedding') for i in (0, 2))
  places = [*embeddings, 'input_blocks.0.0.', 'init_attn.0.', 'out.0.', 'out.2.']
  places += [f'middle_block.{k}.' for k in range(4)]
  for n in range(videocrafter.LAYERS * levels):
    sides = ['output_blocks'] + (['input_blocks'] if n else [])
    places += [f'{side}.{n}.{k}.' for side in sides for k in range(3)]
    if n % videocrafter.LAYERS == 0 and n:
      places.append(f'input_blocks.{n}.0.op.')
    if n % videocrafter.LAYERS == 2:
      # The deepest level has no attention between resnet and upsampler.
      places.append(f'output_blocks.{n}.{1 if n == 2 else 3}.conv.')
  prefixes = {videocrafter.rename(place): place for place in places}

  renamed = {}
  for name, x in state.items():
    name = re.sub(r'temp_convs\.(\d)\.', r'resnets.\1.temopral_conv.', name)
    prefix = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len)
    inner = name.removeprefix(prefix)
    inner = rules.rename(inner, RESNET) if '.resnets.' in prefix else inner
    renamed[prefixes[prefix] + inner] = x
  return renamed


def of_latent_diffusion_vae(state):
  """Latent Diffusion's names of a VAE, whose decoder counts the levels from the output."""
  levels = 1 + max(int(m[1]) for name in state if (m := re.match(r'.*\.up_blocks\.(\d+)', name)))
  flip = lambda match: f'up_blocks.{levels - 1 - int(match[1])}.'
  flipped = {re.sub(r'up_blocks\.(\d+)\.', flip, name): x for name, x in state.items()}
  return {rules.rename(name, VAE): x for name, x in flipped.items()}


def of_open_clip(state):
  """open_clip's names of a text tower, with a last layer that is not read."""
  layers = [int(m[1]) for name in state if (m := re.search(r'\.layers\.(\d+)\.', name))]
  last = max(layers)
  for name in [name for name in state if f'.layers.{last}.' in name]:
    state = state | {name.replace(f'.layers.{last}.', f'.layers.{last + 1}.'): state[name]}
  renamed = {rules.rename(name, OPEN_CLIP): x for name, x in state.items()}
  for name in [name for name in renamed if '.self_attn.q_proj.' in name]:
    parts = [renamed.pop(name.replace('q_proj', f'{part}_proj')) for part in 'qkv']
    renamed[name.replace('.self_attn.q_proj.', '.attn.in_proj_')] = np.concatenate(parts)
  width = renamed['ln_final.weight'].shape[0]
  unread = {'text_projection': np.eye(width, dtype=np.float32), 'logit_scale': np.float32([1])}
  return renamed | unread
