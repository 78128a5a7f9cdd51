"""TokenFlow (Geyer et al. 2023) with Plug-and-Play: keyframes are edited together, other frames
follow their tokens.

  python -m experiments.edit --config=configs/baselines/tokenflow.py \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.source_prompt="a cat on a sofa" \
    --config.target_prompt="a cat on a sofa, watercolor painting" --workdir=out/tokenflow

`:sprites` edits the shipped clip with the shipped model. Keyframes, one of every segment, drawn
anew in each step, attend to one another; the other frames take what attention gave to the nearest
tokens. Queries and keys of blocks 8-15 are the source's in steps 0-24, one residual before block 8
in steps 0-39.

Deviations: segments of 4 frames, not 8, so that 16 frames have 4 keyframes; 50 steps of inversion,
not 500, from whose last latents sampling starts (there: from the noise that the last step implies).
Weights of the two keyframes follow the authors' code, where the later one is never read. On sprites
no negative prompt, whose words it does not know.

Backbone: as there, the image model inside of the text-to-video model: no temporal attention, norms
of each frame. Cost: 50 rows to invert, 150 to sample (3 in every step), each with the 4 keyframes
as further frames.
"""

import ml_collections

from configs import common


def get_config(form='full'):
  """The settings of its authors."""
  config = common.baseline(form, task='appearance', method='tokenflow')
  config.baseline = ml_collections.ConfigDict()
  # frames of a segment, of which one is the keyframe; a divisor of their number
  config.baseline.segment = 4
  # of the steps, from the first, with the source's queries and keys
  config.baseline.attention_share = 0.5
  config.baseline.residual_share = 0.8  # of the steps, from the first, with the source's residual
  # what the unconditional half is conditioned on
  config.baseline.negative_prompt = 'ugly, blurry, low res, unrealistic, unaesthetic'
  if config.checkpoint == 'sprites':
    config.target_prompt = 'a big red square moving right in the middle on grass, night'
    config.baseline.negative_prompt = ''
  return config.lock()
