"""A motion edit that needs nothing but this repository: the shipped model edits a shipped clip of
its own world.

  python -m experiments.edit --config=configs/sprites_motion.py --workdir=out/sprites_motion

The clip shows a red square that moves to the right; in the edit it moves as `target_prompt` says.
Render other clips with `python -m experiments.render`; docs/sprites.md has the words that the model
knows, and how far it can be trusted.
"""

from configs import common


def get_config(size='full'):
  """25 steps; motion in all, keys and values of the reconstruction from the fifth on, and no
  structure control.

  Among the best of a dozen settings on 12 to 16 edits of the validation split. What made the
  difference is that the reconstruction has the source's caption and reads the stored trajectory:
  its keys and values then fit those of the edit, which has a caption and guidance too
  (docs/sprites.md).
  """
  config = common.sprites_edit('motion')
  config.target_prompt = 'a big red square jumping in the middle on grass, photo'
  config.structure.steps = (0, 0)
  config.content.steps = (5, 25)
  config.content.tensors = ('k', 'v')
  config.quick = common.is_quick(size)
  return config.lock()
