"""Two edits of one clip, one after the other: the motion first, then the look of what came out.

  python -m experiments.chain --config=configs/chain.py \
    --config.motion.checkpoint=checkpoints/lavie \
    --config.motion.video=clip.mp4 --config.motion.target_prompt="a cat is waving its paw" \
    --config.appearance.target_prompt="a cat is waving its paw, oil painting" --workdir=out/chain

One edit cannot change motion and look together (limitations of the paper), so each is an edit with
its own folder. Unless they are set, the second takes checkpoint and cache of the first, and the
first's edit is its clip.
"""

import ml_collections

from configs import common


def get_config(form='full'):
  """The paper's motion edit, then its appearance edit."""
  config = ml_collections.ConfigDict()
  config.motion = common.edit_of_form(form, task='motion')
  config.appearance = common.edit_of_form(form, task='appearance')
  config.appearance.video = ''  # the first edit
  config.appearance.checkpoint = config.motion.get_ref('checkpoint')
  config.appearance.cache = config.motion.get_ref('cache')
  return config.lock()
