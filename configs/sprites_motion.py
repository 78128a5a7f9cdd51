"""A motion edit that needs nothing but this repository: the shipped model edits a shipped clip of its own world.

  python -m experiments.edit --config=configs/sprites_motion.py --workdir=out/sprites_motion

The clip shows a red square that stands still; in the edit it moves as `target_prompt` says. Render other clips with
`python -m experiments.render`, and see docs/sprites.md for the words that the model knows.
"""

from configs import common


def get_config():
  """The paper's motion edit, with ranges tuned for this model on edits that the benchmark does not have."""
  config = common.edit(task='motion', preset='paper')
  config.checkpoint = 'sprites'
  config.video = 'uniedit_jax/sprites/clip.mp4'
  config.target_prompt = 'a big red square jumping in the middle on grass, photo'
  config.steps = 25
  return config
