"""Plain DDIM inversion: the inverted clip is sampled with the target prompt, and nothing is
injected.

  python -m experiments.edit --config=configs/baselines/plain.py \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.target_prompt="a cat, oil painting" --workdir=out/plain

`:sprites` edits the shipped clip with the shipped model, which needs no other file. All injections
are off; the inversion is unguided. What every other method has to beat.

Backbone: the text-to-video model as it is. Cost: 50 rows to invert, 100 to sample; 49 more for the
reconstruction as a clip (`clips.reconstruction=False` saves them).
"""

from configs import common


def get_config(form='full'):
  """Sampling of the inverted clip with the target prompt."""
  config = common.edit_of_form(form, task='appearance', preset='release')
  if config.checkpoint == 'sprites':
    config.target_prompt = 'a big red square moving right in the middle on grass, night'
  config.structure.steps = (0, 0)
  config.background.steps = (0, 0)
  config.inversion.method = 'ddim'
  return config.lock()
