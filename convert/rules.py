"""Converts PyTorch state dicts to our parameter trees by a table of suffix rules.

A path is the torch name with `.N` written `_N`; only the last part and the layout depend on the
kind of layer. `convert` is strict: every source tensor is used, every parameter filled, every shape
equal.
"""

import re

import numpy as np
from flax import traverse_util

from uniedit_jax.runtime.weights import is_float


def _same(x):
  return x


def _matrix(x):
  """A linear layer (out, in), or a convolution of one place (out, in, 1, ...), to (in, out)."""
  return (x.reshape(x.shape[:2]) if set(x.shape[2:]) == {1} else x).T


def _convolution(x):
  """OIHW to HWIO."""
  return x.transpose(2, 3, 1, 0)


def _frame_convolution(x):
  """A convolution of three frames (out, in, 3, 1, 1) to (3, in, out)."""
  return x[..., 0, 0].transpose(2, 1, 0)


# (end of the torch name, last part of our path, layout); the first match holds. CLIP's image tower
# has a "layrnorm".
RULES = (
  (r'(norm|layrnorm)\w*\.weight', 'scale', _same),
  (r'temp_convs\.\d+\.conv\d\.0\.weight', 'scale', _same),
  (r'temp_convs\.\d+\.conv\d\.\d\.weight', 'kernel', _frame_convolution),
  (r'\.frame_positions', 'frame_positions', _same),
  (r'patch_embedding\.weight', 'kernel', _convolution),
  (r'(_embedding|attention_bias)\.weight', 'embedding', _same),
  (r'(quant_conv|conv_shortcut|proj_in|proj_out)\.weight', 'kernel', _matrix),
  (r'conv\w*\.weight', 'kernel', _convolution),
  (r'\.class_embedding', 'class_embedding', _same),
  (r'^logit_scale', 'logit_scale', _same),
  (r'\.weight', 'kernel', _matrix),
  (r'\.bias', 'bias', _same),
)

# Other spellings of the same names: VAE files of 2022, and text towers saved without their prefix.
ALIASES = (
  (r'(mid_block\.attentions\.0)\.query\.', r'\1.to_q.'),
  (r'(mid_block\.attentions\.0)\.key\.', r'\1.to_k.'),
  (r'(mid_block\.attentions\.0)\.value\.', r'\1.to_v.'),
  (r'(mid_block\.attentions\.0)\.proj_attn\.', r'\1.to_out.0.'),
  (r'^(embeddings\.|encoder\.layers\.|final_layer_norm\.)', r'text_model.\1'),
)

ROTARY = '.rotary_emb.freqs'
POSITION_IDS = 'embeddings.position_ids'
_SHOWN = 20  # names per kind of fault in an error


def rename(name, table):
  """The name after the substitutions (pattern, replacement) of a table, in this order."""
  for pattern, replacement in table:
    name = re.sub(pattern, replacement, name)
  return name


def path_and_layout(name):
  """Our path of a torch name, and the function that turns the tensor into our layout.

  Raises:
    ValueError: no rule matches the name.
  """
  name = rename(name, ALIASES)
  for pattern, leaf, layout in RULES:
    if re.search(f'{pattern}$', name):
      parent = re.sub(r'\.(\d+)', r'_\1', name.rpartition('.')[0])
      return '/'.join(filter(None, [parent.replace('.', '/'), leaf])), layout
  raise ValueError(f'no rule for a tensor named {name!r}')


def convert(state_dict, target):
  """Turns a state dict into a parameter tree.

  Args:
    state_dict: dict of torch name to array (numpy, or anything `np.asarray` views without a copy).
      Converted tensors are removed from it, so that source and result are never both complete in
      memory.
    target: tree of shapes, from `jax.eval_shape` of the model's init.

  Returns:
    Tree of np.float32 arrays like `target`.

  Raises:
    ValueError: a source tensor has no place, a parameter no source, a shape differs, numbers are
      not finite or no floats, or rotary frequencies are not those that the model computes;
      `state_dict` is then unchanged.
  """
  # Match every tensor with a parameter.
  target = traverse_util.flatten_dict(target, sep='/')
  sources, unused, different, bad = {}, [], [], []
  for name, x in state_dict.items():
    if _is_constant(name, x):
      continue
    try:
      path, layout = path_and_layout(name)
      shape = tuple(layout(np.asarray(x)).shape)
    except ValueError:
      path = shape = None
    if path not in target or path in sources:
      unused.append(f'{name} {tuple(x.shape)}')
      continue
    sources[path] = (name, layout)
    if shape != tuple(target[path].shape):
      different.append(f'{name}: {shape} in our layout, the model has {tuple(target[path].shape)}')
    if fault := _number_fault(np.asarray(x)):
      bad.append(f'{name}: {fault}')
  unfilled = [f'{path} {tuple(leaf.shape)}' for path, leaf in target.items() if path not in sources]
  _raise_if_any(unused, unfilled, different, bad)

  # Convert them one by one.
  params = {}
  for path, (name, layout) in sources.items():
    params[path] = np.array(layout(np.asarray(state_dict.pop(name))), np.float32, order='C')
  return traverse_util.unflatten_dict(params, sep='/')


def _is_constant(name, x):
  """Whether a tensor is a constant that the model computes, so no parameter."""
  if name.endswith(POSITION_IDS):
    return True
  if not name.endswith(ROTARY):
    return False
  freqs = np.asarray(x, np.float32)
  expected = 10000.0 ** (-np.arange(len(freqs)) / len(freqs))
  # Half-precision files round them.
  if not np.allclose(freqs, expected, rtol=4e-3, atol=0):
    raise ValueError(f'{name} is {freqs}; the model computes {expected.astype(np.float32)}')
  return True


def _number_fault(x):
  """The fault of the numbers of a tensor, in words, or None."""
  if not is_float(x):
    return f'{x.dtype}, where a model has floating-point numbers'
  # Float32 may be too small for what float64 holds.
  with np.errstate(over='ignore'):
    count = np.size(x) - np.isfinite(x.astype(np.float32, copy=False)).sum()
  return f'{count} of {x.size} numbers are NaN or infinite' if count else None


def _raise_if_any(unused, unfilled, different, bad):
  parts = []
  for title, faults in (
    ('tensors of the file that the model has no place for', unused),
    ('parameters of the model that the file does not fill', unfilled),
    ('shapes that differ', different),
    ('tensors whose numbers no model has', bad),
  ):
    if faults:
      more = [f'and {len(faults) - _SHOWN} more'] if len(faults) > _SHOWN else []
      parts.append('\n  '.join([f'{len(faults)} {title}:', *sorted(faults)[:_SHOWN], *more]))
  if parts:
    raise ValueError('the file does not match the model\n' + '\n'.join(parts))
