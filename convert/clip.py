"""Converts a CLIP model, text and image tower, into the folder that `config.metrics.clip` names.

    python -m convert.clip --source=clip-vit-large-patch14 --out=checkpoints/clip_vitl14

`--source` is the layout of transformers: config.json, model.safetensors or pytorch_model.bin,
vocab.json, merges.txt. Needs PyTorch (`pip install -e '.[convert]'`) unless the weights are
.safetensors.
"""

import json

from absl import app, flags, logging
from etils import epath

from convert import published, rules
from uniedit_jax.models import clip_image
from uniedit_jax.models.tokenizers import TOKENIZER_FILES, CLIPTokenizer
from uniedit_jax.runtime import checkpoint

WEIGHTS = [f'{name}{end}' for name in ('model', 'pytorch_model') for end in published.ENDINGS]


def check_inputs(source, out):
  """Looks at every input without loading weights.

  Args:
    source: `epath.Path` of a model in the layout of transformers.
    out: `epath.Path` to write.

  Returns:
    (path of the weights, `ClipConfig`).

  Raises:
    ValueError: lists everything that is wrong.
  """
  faults, config = [], None
  weights = next((source / name for name in WEIGHTS if (source / name).exists()), None)
  if weights is None:
    faults.append(f'--source: {source} has none of {", ".join(WEIGHTS)}')
  missing = [name for name in ('config.json', *TOKENIZER_FILES) if not (source / name).exists()]
  faults += [f'--source: {source} has no {name}' for name in missing]
  if not missing:
    try:
      config = read_config(source)
    except (KeyError, ValueError) as error:
      faults.append(f'--source: config.json: {type(error).__name__}: {error}')
  try:
    checkpoint.refuse_to_overwrite(out)
  except FileExistsError as error:
    faults.append(f'--out: {error}')
  faults += published.lacking_torch(filter(None, [weights]))
  published.raise_faults(faults)
  return weights, config


def read_config(source):
  """`ClipConfig` of a folder in the layout of transformers.

  Raises:
    KeyError, ValueError: a size is missing, or the model or its preprocessing is of another kind.
  """
  data, vocabulary = (
    json.loads((source / name).read_text()) for name in ('config.json', 'vocab.json')
  )
  published.accept(data, 'model_type', 'clip')
  text, image = data['text_config'], data['vision_config']
  for part in (text, image):
    published.accept(part, 'layer_norm_eps', 1e-5)
  published.accept(image, 'hidden_act', 'quick_gelu')
  published.accept(image, 'num_channels', 3)
  sizes = {
    'size': image['image_size'],
    'patch': image['patch_size'],
    **published.tower_sizes(image),
  }
  if (path := source / 'preprocessor_config.json').exists():
    preparation = json.loads(path.read_text())
    for key, value in (
      ('image_mean', clip_image.MEAN),
      ('image_std', clip_image.DEVIATION),
      ('resample', 3),
    ):
      published.accept(preparation, key, list(value) if isinstance(value, tuple) else value)
  return clip_image.ClipConfig(
    published.text_config(text, vocabulary), clip_image.ImageConfig(**sizes), data['projection_dim']
  )


def convert(source, out):
  """Converts everything; arguments as the flags.

  Returns:
    (`ClipConfig`, entry of the manifest).

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  source, out = (epath.Path(path).expanduser() for path in (source, out))
  weights, config = check_inputs(source, out)
  tokenizer = {name: (source / name).read_text() for name in TOKENIZER_FILES}
  with checkpoint.creating(out, config, tokenizer) as staging:
    CLIPTokenizer(staging / 'tokenizer', config.text)  # raises unless the vocabulary fits
    try:
      params = rules.convert(published.read_tensors(weights), clip_image.abstract_clip(config))
    except ValueError as error:
      raise ValueError(f'{weights}: {error}') from error
    return config, checkpoint.save_params(staging, clip_image.PART, params, source=str(weights))


def main(argv):
  """Converts what the flags name and tells what it was."""
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  given = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  try:
    config, entry = convert(given.source, given.out)
  except (ValueError, OSError) as error:
    raise SystemExit(f'convert.clip: {error}') from error
  print(
    f'{config.name}: {entry["tensors"]} tensors, {entry["parameters"]:,} parameters, sha256 {entry["sha256"]}'
  )
  print(f'wrote {given.out}')


if __name__ == '__main__':
  flags.DEFINE_string(
    'source', None, 'Folder of a CLIP model in the layout of transformers.', required=True
  )
  flags.DEFINE_string('out', None, 'Folder to write; must not exist yet.', required=True)
  app.run(main)
