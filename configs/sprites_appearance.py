"""An appearance edit that needs nothing but this repository: the shipped model edits a shipped clip of its own world.

  python -m experiments.edit --config=configs/sprites_appearance.py --workdir=out/sprites_appearance

The clip shows a red square by day; in the edit it is night. `--config.target_prompt` may change the colour, the shape
or the background as well: see docs/sprites.md for the words that the model knows.
"""

from configs import common


def get_config():
  """The paper's appearance edit, with ranges tuned for this model on edits that the benchmark does not have."""
  config = common.edit(task='appearance', preset='paper')
  config.checkpoint = 'sprites'
  config.video = 'uniedit_jax/sprites/clip.mp4'
  config.target_prompt = 'a big red square standing still in the middle on grass, night'
  config.steps = 25
  return config
