"""Converts ModelScope's text-to-video model, or ZeroScope, into a checkpoint folder.

    python -m convert.modelscope --source=ali-vilab/text-to-video-ms-1.7b \
      --out=checkpoints/modelscope
    python -m convert.modelscope --source=cerspense/zeroscope_v2_576w --model=zeroscope \
      --out=checkpoints/zeroscope

`--source` is the diffusers layout: a hub id, owner/repo[/path/in/repo][@revision], of which only
the files needed are fetched, or a local folder. unet/, vae/, text_encoder/, tokenizer/ and
scheduler/ are read. `--model` says which clips the model was trained on; sizes and schedule come
from the config files. Needs PyTorch (`pip install -e '.[convert]'`) unless every file is a
.safetensors.
"""

import dataclasses

from absl import app, flags

from convert import assemble, diffusers_folder, published, weight_files
from uniedit_jax.models.presets import MODELSCOPE, ZEROSCOPE
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.faults import Faults

MODELS = {'modelscope': MODELSCOPE, 'zeroscope': ZEROSCOPE}


PARTS = {
  'unet': diffusers_folder.unet_part(MODELSCOPE.unet, 'UNet3DConditionModel'),
  'vae': diffusers_folder.VAE,
  'text': diffusers_folder.TEXT,
  'schedule': diffusers_folder.Part(
    ('scheduler/scheduler_config.json',), diffusers_folder.read_schedule
  ),
}


def convert(source, out, model='modelscope'):
  """Converts everything; arguments as the flags.

  Returns:
    [(part, entry of the manifest, seconds)].

  Raises:
    ValueError: something is wrong with the inputs; nothing is left at `out`.
  """
  source, out = published.places_of(source=source, out=out)
  faults = Faults()
  found = diffusers_folder.look(source, '--source', PARTS, faults)
  faults.attempt(checkpoint.refuse_to_overwrite, out, field='--out')
  faults += weight_files.lacking_torch(found.pickles)
  faults.stop()
  config = faults.attempt(dataclasses.replace, MODELS[model], **found.configs, field='--source')
  fetched = faults.attempt(found.fetch, field='--source')
  faults.stop()
  folder, paths = fetched
  return assemble.write(out, config, diffusers_folder.tokenizer(folder), paths, {})


if __name__ == '__main__':
  assemble.define(source='Model in the diffusers layout: a folder or a hub id.')
  flags.DEFINE_enum('model', 'modelscope', list(MODELS), 'Whose clips: frames, size, frame rate.')
  app.run(lambda argv: assemble.run(argv, 'convert.modelscope', convert, 'source', 'model'))
