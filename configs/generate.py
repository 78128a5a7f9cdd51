"""Plain text-to-video with the model that edits, as LaVie's sampler with DDIM.

  python -m experiments.generate --config=configs/generate.py \
    --config.checkpoint=checkpoints/lavie \
    --config.prompt="a teddy bear is walking" --config.seed=42 --workdir=out/generate

The same prompt and seed are the source of an edit with `--config.generated=True`.
"""

from configs import common


def get_config(size='full'):
  """One clip."""
  config = common.model()
  config.prompt = ''  # what the clip shows
  config.quick = common.is_quick(size)
  return config.lock()
