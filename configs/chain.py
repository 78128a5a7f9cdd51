"""Two edits of one clip, one after the other: the motion first, then the look of what came out.

  python -m experiments.chain --config=configs/chain.py \
    --config.motion.checkpoint=checkpoints/lavie \
    --config.motion.video=clip.mp4 --config.motion.target_prompt="a cat is waving its paw" \
    --config.appearance.target_prompt="a cat is waving its paw, oil painting" --workdir=out/chain

One edit cannot change motion and look together (limitations of the paper), so each is an edit with
its own folder. The first's edit is the second's clip, and so the first's target prompt is what the
second's source shows. Unless they are set, the second takes checkpoint and cache of the first.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from configs import common


def get_config(form='full'):
  """The paper's motion edit, then its appearance edit."""
  config = ml_collections.ConfigDict()
  config.motion = common.edit_of_form(form, task='motion')
  config.appearance = common.edit_of_form(form, task='appearance')
  config.appearance.video = ''  # the first edit
  # the first's target prompt, or '' where the first has the null prompt for its source
  config.appearance.source_prompt = placeholder(str)
  for name in ('checkpoint', 'cache'):
    config.appearance[name] = config.motion.get_oneway_ref(name)
  return config.lock()
