"""AnimateDiff's names of the tensors of motion modules, in diffusers' form and in the original."""

import re

import numpy as np

# (pattern, replacement), all applied in this order; diffusers' form needs the first alone.
NAMES = (
  (r'\.motion_modules\.', '.temp_attentions.'),
  (r'\.temporal_transformer\.', '.'),
  (r'\.attention_blocks\.0\.', '.attn1.'),
  (r'\.attention_blocks\.1\.', '.attn2.'),
  (r'\.norms\.0\.', '.norm1.'),
  (r'\.norms\.1\.', '.norm2.'),
  (r'\.ff_norm\.', '.norm3.'),
)
# A table of positions f[1, F, C] of a module, or of each of its SA-T.
TABLE = r'\.pos_(embed|encoder)\.pe$'
ATTENTION = r'(.*\.temp_attentions\.\d+\.transformer_blocks\.0\.attn[12])\.to_q\.weight'


def rename(name):
  """The canonical name of a tensor of AnimateDiff's UNet or of a motion module."""
  for pattern, replacement in NAMES:
    name = re.sub(pattern, replacement, name)
  return name


def sinusoids(frames, width):
  """The table of positions f32[frames, width]: sines in even channels, cosines in odd ones."""
  angles = np.arange(frames)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
  table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
  return table.reshape(frames, width).astype(np.float32)


def canonical(state, frames):
  """A state dict with canonical names and a table of positions for every SA-T.

  Args:
    state: dict of torch name to array, with or without tables of positions.
    frames: rows of the tables.

  Returns:
    A new dict of the same arrays.

  Raises:
    ValueError: a table that is no sinusoid or has another number of rows.
  """
  renamed = {}
  for name, x in state.items():
    if not re.search(TABLE, name):
      renamed[rename(name)] = x
    # Half-precision files round them.
    elif x.shape[1] != frames or not np.allclose(x[0], sinusoids(*x.shape[1:]), atol=4e-3):
      raise ValueError(f'{name} is no table of sinusoids of {frames} frames: {tuple(x.shape)}')
  attentions = [match for name in renamed if (match := re.fullmatch(ATTENTION, name))]
  for match in attentions:
    width = renamed[match[0]].shape[1]
    renamed[f'{match[1]}.frame_positions'] = sinusoids(frames, width)
  return renamed
