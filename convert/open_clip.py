"""The text tower of an open_clip checkpoint in the names of transformers, which `rules` converts.

Stable Diffusion 2.x and VideoCrafter2 read OpenCLIP ViT-H/14 without its last layer.
"""

import re

import numpy as np

from convert import rules

# (open_clip's name, transformers' name). The projections of queries, keys and values are one tensor
# in open_clip, which `text_tower` splits.
NAMES = (
  (r'^token_embedding\.', 'text_model.embeddings.token_embedding.'),
  (r'^positional_embedding$', 'text_model.embeddings.position_embedding.weight'),
  (r'^ln_final\.', 'text_model.final_layer_norm.'),
  (r'^transformer\.resblocks\.', 'text_model.encoder.layers.'),
  (r'\.ln_([12])\.', r'.layer_norm\1.'),
  (r'\.attn\.out_proj\.', '.self_attn.out_proj.'),
  (r'\.mlp\.c_fc\.', '.mlp.fc1.'),
  (r'\.mlp\.c_proj\.', '.mlp.fc2.'),
)
STACKED = re.compile(r'(.*)\.attn\.in_proj_(weight|bias)')
LAYER = re.compile(r'transformer\.resblocks\.(\d+)\.')
# What pooled features need, and the causal mask.
UNUSED = 'text_projection', 'logit_scale', 'attn_mask'


def text_tower(state_dict, layers):
  """Renames the tensors of open_clip's text tower.

  Args:
    state_dict: dict {open_clip's name: array in torch layout}; not changed.
    layers: how many layers are read, `TextConfig.layers`.

  Returns:
    dict {transformers' name: array}, views where possible; names that are not open_clip's stay, so
    that the converter lists them.
  """
  renamed = {}
  for name, x in state_dict.items():
    layer = LAYER.match(name)
    if name in UNUSED or (layer and int(layer[1]) >= layers):
      continue
    stacked = STACKED.fullmatch(name)
    parts = {name: x}
    if stacked:
      block, kind = stacked.groups()
      projections = [f'{block}.self_attn.{part}_proj.{kind}' for part in 'qkv']
      parts = dict(zip(projections, np.split(np.asarray(x), 3), strict=True))
    renamed |= {rules.rename(part, NAMES): value for part, value in parts.items()}
  return renamed
