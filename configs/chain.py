"""Two edits of one clip, one after the other: the motion first, then the look of what came out.

  python -m experiments.chain --config=configs/chain.py \
    --config.motion.checkpoint=checkpoints/lavie \
    --config.motion.video=clip.mp4 --config.motion.target_prompt="a cat is waving its paw" \
    --config.appearance.target_prompt="a cat is waving its paw, oil painting" --workdir=out/chain

One edit cannot change motion and look together (limitations of the paper), so each is an edit with
its own folder. The first's edit is the second's clip, and so the first's target prompt is what the
second's source shows. Unless they are set, the second takes checkpoint and cache of the first.
`:sprites` makes the shipped clip jump, and then turns day into night.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from configs import common, sprites_appearance, sprites_motion


def get_config(form='full'):
  """The paper's motion edit, then its appearance edit."""
  config = ml_collections.ConfigDict()
  if form.startswith('sprites'):
    size = form.removeprefix('sprites').removeprefix(',') or 'full'
    config.motion, config.appearance = (
      module.get_config(size).unlock() for module in (sprites_motion, sprites_appearance)
    )
    config.appearance.target_prompt = 'a big red square jumping in the middle on grass, night'
  else:
    config.motion = common.edit_of_form(form, task='motion')
    config.appearance = common.edit_of_form(form, task='appearance')
  config.appearance.video = ''  # the first edit
  # the first's target prompt, or '' where the first has the null prompt for its source
  del config.appearance.source_prompt
  config.appearance.source_prompt = placeholder(str)
  for name in ('checkpoint', 'cache'):
    config.appearance[name] = config.motion.get_oneway_ref(name)
  return config.lock()
