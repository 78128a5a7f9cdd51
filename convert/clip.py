"""Converts a CLIP model, text and image tower, into the folder that `config.metrics.clip` names.

    python -m convert.clip --source=clip-vit-large-patch14 --out=checkpoints/clip_vitl14

`--source` is the layout of transformers: config.json, model.safetensors or pytorch_model.bin,
vocab.json, merges.txt. Needs PyTorch (`pip install -e '.[convert]'`) unless the weights are
.safetensors.
"""

import dataclasses

from absl import app, flags, logging

from convert import published, rules
from uniedit_jax.models import clip_image
from uniedit_jax.models.tokenizers import TOKENIZER_FILES, CLIPTokenizer
from uniedit_jax.runtime import checkpoint, files
from uniedit_jax.runtime.faults import Faults, told_in_one_line

WEIGHTS = [f'{name}{end}' for name in ('model', 'pytorch_model') for end in published.ENDINGS]
# Fields of `ImageConfig` and their names in the configs of transformers.
IMAGE_SIZES = {**published.TOWER_SIZES, 'size': 'image_size', 'patch': 'patch_size'}


def check_inputs(source, out):
  """Checks every input without loading weights.

  Args:
    source: `epath.Path` of a model in the layout of transformers.
    out: `epath.Path` to write.

  Returns:
    (path of the weights, `ClipConfig`).

  Raises:
    FaultsError: lists everything that is wrong.
  """
  faults, config = Faults(), None
  weights = faults.attempt(published.find_weights, source, WEIGHTS, field='--source')
  missing = [name for name in ('config.json', *TOKENIZER_FILES) if not (source / name).exists()]
  faults += [f'--source: {source} has no {name}' for name in missing]
  if not missing:
    try:
      config = read_config(source)
    except (OSError, ValueError) as error:
      faults.append(f'--source: config.json: {type(error).__name__}: {error}')
    faults.attempt(files.refuse_pointer, source / 'merges.txt', field='--source')
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  faults += published.lacking_torch(filter(None, [weights]))
  faults.stop()
  return weights, config


def read_config(source):
  """`ClipConfig` of a folder in the layout of transformers.

  Raises:
    ValueError: a size is missing, or the model or its preprocessing is of another kind.
  """
  read = lambda name: files.read_json(source / name)
  data, vocabulary = read('config.json'), read('vocab.json')
  published.accept(data, 'model_type', 'clip')
  text, image = (data.get(name) for name in ('text_config', 'vision_config'))
  for part in (text, image):
    if not isinstance(part, dict):
      raise ValueError('text_config or vision_config is missing; accepted: sizes of both')
    published.accept(part, 'layer_norm_eps', 1e-5)
  published.accept(image, 'hidden_act', 'quick_gelu')
  published.accept(image, 'num_channels', 3)
  tower = published.read_sizes(clip_image.ImageConfig, image, IMAGE_SIZES)
  if (source / 'preprocessor_config.json').exists():
    preparation = read('preprocessor_config.json')
    published.accept(preparation, 'image_mean', list(clip_image.MEAN))
    published.accept(preparation, 'image_std', list(clip_image.DEVIATION))
    published.accept(preparation, 'resample', 3)
  tokens = published.text_config(text, vocabulary)
  towers = {'text': dataclasses.asdict(tokens), 'image': dataclasses.asdict(tower)}
  return published.read_sizes(
    clip_image.ClipConfig, data, {'width': 'projection_dim'}, defaults=towers
  )


def convert(source, out):
  """Converts everything; arguments as the flags.

  Returns:
    (`ClipConfig`, entry of the manifest).

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  source, out = published.paths_of(source=source, out=out)
  weights, config = check_inputs(source, out)
  tokenizer = {name: files.read_text(source / name) for name in TOKENIZER_FILES}
  with checkpoint.creating(out, config, tokenizer) as staging:
    # Raises unless the vocabulary fits.
    CLIPTokenizer(staging / 'tokenizer', config.text)
    try:
      params = rules.convert(published.read_tensors(weights), clip_image.abstract_clip(config))
    except ValueError as error:
      raise ValueError(f'{weights}: {error}') from error
    return config, checkpoint.save_params(staging, clip_image.PART, params, source=str(weights))


def main(argv):
  """Converts the model that the flags name and prints its size."""
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  given = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  with told_in_one_line('convert.clip'):
    config, entry = convert(given.source, given.out)
  size = f'{entry["tensors"]} tensors, {entry["parameters"]:,} parameters'
  print(f'{config.name}: {size}, sha256 {entry["sha256"]}')
  print(f'wrote {given.out}')


if __name__ == '__main__':
  source = 'Folder of a CLIP model in the layout of transformers.'
  flags.DEFINE_string('source', None, source, required=True)
  flags.DEFINE_string('out', None, 'Folder to write; must not exist yet.', required=True)
  app.run(main)
