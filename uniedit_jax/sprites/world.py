"""Checks that only the sprites world can make: is a clip of this world, and is an edit right."""

import re

import numpy as np

from uniedit_jax.media.frames import resize_bilinear
from uniedit_jax.metrics import pixel
from uniedit_jax.sprites import reader
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import EXTENT
from uniedit_jax.sprites.scenes import ATTRIBUTES

LEAST_ROUND_TRIP = 24.0  # dB, of the VAE on clips of the world


def warnings(config, prepared, prompts):
  """Why nothing good is to be expected of an edit by the world's own model.

  Args:
    config: `ModelConfig` of the model; another model has no warnings.
    prepared: `PreparedClip`.
    prompts: target prompts, and the source's.

  Returns:
    list of str.
  """
  if config.name != CONFIG.name:
    return []
  found = [_stranger(prepared.frames, prepared.round_trip)] if prepared.round_trip else []
  return list(filter(None, found + [_unclear(prompt) for prompt in dict.fromkeys(prompts)]))


def _stranger(frames, round_trip):
  """Warning text if a clip u8[F, H, W, 3] is none of the world, or None."""
  fit = pixel.psnr(round_trip(), frames)
  if fit >= LEAST_ROUND_TRIP and _read(frames).visible:
    return None
  return (
    'the clip shows nothing of the sprites world, the only one that this model was trained on: the '
    f'VAE reproduces it at {fit:.1f} dB, clips of the world at {LEAST_ROUND_TRIP:g} or more. The '
    'edit runs, but nothing good is to be expected'
  )


def _unclear(prompt):
  """Warning text if a prompt is none of those that the model was trained with, or None."""
  says = {name: _named(prompt, values) for name, values in ATTRIBUTES.items()}
  twice = [f'the {name} ({", ".join(found)})' for name, found in says.items() if len(found) > 1]
  if twice:
    return f'the prompt {prompt!r} names more than one value of {" and ".join(twice)}'
  missing = [name for name, found in says.items() if not found]
  if prompt and missing:
    return (
      f'the prompt {prompt!r} names no {", ".join(missing)}; the model was trained on captions '
      'that name all seven attributes, and on the null prompt'
    )
  return None


def warnings_of(edit, prepared):
  """The `warnings` of a `CheckedEdit`."""
  return warnings(edit.model_config, prepared, [*edit.targets, edit.request.source_prompt])


def warn(edit, prepared, log):
  """Adds the `warnings` of a `CheckedEdit` to a `RunLog`."""
  for text in warnings_of(edit, prepared):
    log.warn(text)


def judge_of(config):
  """`judge` where a `ModelConfig` is that of the world's own model, else None."""
  return judge if config.name == CONFIG.name else None


def judge(source, edit, prompt):
  """Judges an edit by what the reader reads from its pixels.

  Args:
    source: uint8[F, H, W, 3], or None where there is none.
    edit: uint8[F, H, W, 3].
    prompt: the target prompt.

  Returns:
    dict: 'attributes_right', the share of the attributes that the prompt names which are read as it
    says, and '<attribute>_right', 1 or 0, of each of them (missing where it names none);
    'kept_background_psnr_db' against the source, outside of what looks like the object in either
    clip.
  """
  reading, named, measures = _read(edit), named_values(prompt), {}
  if named:
    right = {name: int(reading.values[name] == value) for name, value in named.items()}
    measures['attributes_right'] = round(float(np.mean(list(right.values()))), 4)
    measures |= {f'{name}_right': found for name, found in right.items()}
  if source is not None:
    outside = ~(_read(source).mask | reading.mask)
    kept = pixel.psnr(_small(source), _small(edit), mask=outside)
    measures['kept_background_psnr_db'] = round(kept, 4)
  return measures


def named_values(prompt):
  """{attribute: value} of what a prompt says of a scene, in words of the captions."""
  says = {name: _named(prompt, values) for name, values in ATTRIBUTES.items()}
  return {name: found[-1] for name, found in says.items() if found}


def _named(prompt, values):
  """The values that a prompt has words of."""
  return [value for value in values if re.search(rf'\b{value}\b', prompt.lower())]


def _small(frames):
  """The clip as the reader takes it; a short one is repeated, as a still shows most of it too."""
  small = resize_bilinear(frames, EXTENT, EXTENT)
  return np.repeat(small, 4, axis=0) if len(small) < 4 else small


def _read(frames):
  return reader.read(_small(frames))
