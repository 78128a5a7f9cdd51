"""An appearance edit that needs nothing but this repository: the shipped model edits the shipped
clip.

  python -m experiments.edit --config=configs/sprites_appearance.py --workdir=out/sprites_appearance

The clip shows a red square by day; in the edit it is night. `--config.target_prompt` may change the
colour, the shape or the background as well; docs/sprites.md has the words that the model knows, and
how far it can be trusted.
"""

from configs import common


def get_config(size='full'):
  """The paper's appearance edit, rescaled to 25 steps; the source's caption as in
  sprites_motion.py.
  """
  config = common.sprites_edit('appearance')
  config.target_prompt = 'a big red square moving right in the middle on grass, night'
  config.inversion.method = 'direct'
  config.quick = common.is_quick(size)
  return config.lock()
