"""Converts a CLIP model, text and image tower, into the folder that `config.metrics.clip` names.

    python -m convert.clip --source=openai/clip-vit-large-patch14 --out=checkpoints/clip_vitl14

`--source` is a hub id (docs/weights.md) or a folder in the layout of transformers: config.json,
model.safetensors or pytorch_model.bin, vocab.json, merges.txt. Needs PyTorch (`pip install -e
'.[convert]'`) unless the weights are .safetensors.
"""

import dataclasses

from absl import app, flags, logging

from convert import published, rules, weight_files
from uniedit_jax.models import clip_image
from uniedit_jax.models.tokenizers import TOKENIZER_FILES, CLIPTokenizer
from uniedit_jax.runtime import checkpoint, files, hub
from uniedit_jax.runtime.faults import Faults, told_in_one_line

WEIGHTS = 'model', 'pytorch_model'  # without their endings, the preferred first
PREPARATION = 'preprocessor_config.json'
# Fields of `ImageConfig` and their names in the configs of transformers.
IMAGE_SIZES = {**published.TOWER_SIZES, 'size': 'image_size', 'patch': 'patch_size'}


def check_inputs(source, out):
  """Checks every input without loading weights; files on the hub are fetched once all is right.

  Args:
    source: `hub.place` of a model in the layout of transformers.
    out: `epath.Path` to write.

  Returns:
    (local folder of `source`, path of the weights, `ClipConfig`).

  Raises:
    FaultsError: lists everything that is wrong.
  """
  faults, config = Faults(), None
  small = 'config.json', *TOKENIZER_FILES
  folder, found = published.fetch_small(source, small, faults, '--source', (PREPARATION,))
  if folder and set(small) <= set(found):
    config = faults.attempt(read_config, folder, field='--source: config.json')
    faults.attempt(files.refuse_pointer, folder / 'merges.txt', field='--source')
  group = ()
  if folder:
    group = faults.attempt(weight_files.find_weights, source, WEIGHTS, field='--source') or ()
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  faults += weight_files.lacking_torch(group)
  faults.stop()
  folder = faults.attempt(hub.fetch, source, [*found, *group], field='--source')
  faults.stop()
  return folder, folder / group[0], config


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
  if (source / PREPARATION).exists():
    preparation = read(PREPARATION)
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
  source, out = published.places_of(source=source, out=out)
  source, weights, config = check_inputs(source, out)
  tokenizer = {name: files.read_text(source / name) for name in TOKENIZER_FILES}
  with checkpoint.creating(out, config, tokenizer) as staging:
    # Raises unless the vocabulary fits.
    CLIPTokenizer(staging / 'tokenizer', config.text)
    try:
      params = rules.convert(weight_files.read_tensors(weights), clip_image.abstract_clip(config))
    except ValueError as error:
      raise ValueError(f'{weights}: {error}') from error
    return config, checkpoint.save_params(
      staging, clip_image.PART, params, source=hub.origin(weights)
    )


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
  source = 'CLIP model in the layout of transformers: a folder or a hub id.'
  flags.DEFINE_string('source', None, source, required=True)
  flags.DEFINE_string('out', None, 'Folder to write; must not exist yet.', required=True)
  app.run(main)
