"""Tells the kinds of published checkpoints apart, so that a wrong converter names the right one."""

import re

# (a pattern that some name of the kind's tensors matches, what it is, how to convert it); the first
# holds.
KINDS = (
  (r'(^|\.)init_attn\.0\.', 'VideoCrafter', 'python -m convert.videocrafter'),
  (r'(^|\.)attn_temp\.', 'LaVie', 'python -m convert.lavie'),
  (r'(^|\.)transformer_in\.', 'ModelScope or ZeroScope', 'python -m convert.modelscope'),
  (r'\.motion_modules\.', 'motion modules of AnimateDiff', 'python -m convert.animatediff'),
  (r'(^|\.)vision_model\.', 'CLIP', 'python -m convert.clip'),
  (r'(^|\.)input_blocks\.', 'an image model in the form of Latent Diffusion', ''),
  (r'^down_blocks\.\d\.resnets\.', 'an image UNet', ''),
)
# Classes of UNets in diffusers.
CLASSES = {
  'UNet3DConditionModel': ('ModelScope or ZeroScope', 'python -m convert.modelscope'),
  'UNet2DConditionModel': ('Stable Diffusion', 'python -m convert.animatediff'),
}


def refuse_other(names, wanted):
  """Raises ValueError if the names of the tensors of a file are those of another kind.

  Args:
    names: of the tensors.
    wanted: the converter that reads it, such as 'convert.lavie'.
  """
  for pattern, kind, command in KINDS:
    if any(re.search(pattern, name) for name in names):
      if wanted not in command:
        raise ValueError(f'it holds {kind}; {_advice(command)}')
      return


def refuse_other_class(name, wanted):
  """Raises ValueError if the class of a UNet is not the wanted one."""
  if name != wanted:
    kind, command = CLASSES.get(name, (f'a {name}', ''))
    raise ValueError(f'_class_name is {name!r}, {kind}; accepted: {wanted!r}; {_advice(command)}')


def _advice(command):
  return f'convert it by {command}' if command else 'there is no converter for it'
