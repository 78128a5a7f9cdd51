"""A motion edit that needs nothing but this repository: the shipped model edits a shipped clip of its own world.

  python -m experiments.edit --config=configs/sprites_motion.py --workdir=out/sprites_motion

The clip shows a red square that moves to the right; in the edit it moves as `target_prompt` says. Render other clips
with `python -m experiments.render`; docs/sprites.md has the words that the model knows, and how far it can be trusted.
"""

from configs import common


def get_config():
  """25 steps; keys and values of the reconstruction in the early ones, motion in all, and no structure control.

  The best of three settings on 8 edits of the validation split; docs/sprites.md has what it comes to on the benchmark.
  """
  config = common.edit(task='motion', preset='paper')
  config.checkpoint = 'sprites'
  config.video = 'uniedit_jax/sprites/clip.mp4'
  config.target_prompt = 'a big red square jumping in the middle on grass, photo'
  config.steps = 25
  config.guidance = 3.0
  config.structure.steps = (0, 0)
  config.content.steps = (0, 10)
  config.content.tensors = ('k', 'v')
  return config
