"""Plain text-to-video with the model that edits, as LaVie's sampler with DDIM.

  python -m experiments.generate --config=configs/generate.py \
    --config.checkpoint=checkpoints/lavie \
    --config.prompt="a teddy bear is walking" --config.seed=42 --workdir=out/generate

The same prompt and seed are the source of an edit with `--config.generated=True`. `:sprites` needs
no checkpoint.
"""

from configs import common


def get_config(form='full'):
  """One clip; forms as of `common.edit_of_form`."""
  config = common.model()
  config.prompt = ''  # what the clip shows
  model, _, size = form.partition(',')
  if model == 'sprites':
    config.checkpoint, config.steps, config.guidance = 'sprites', 25, 3.0
    config.prompt = 'a small blue triangle jumping in the middle on sand, night'
  config.quick = common.is_quick(size or 'full' if model == 'sprites' else form)
  return config.lock()
