"""Rerender-A-Video (Yang et al. 2023), without ControlNet and pixel-aware fusion: frames follow the
first one.

  python -m experiments.edit --config=configs/baselines/rerender.py \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.source_prompt="a cat on a sofa" \
    --config.target_prompt="a cat on a sofa, watercolor painting" --workdir=out/rerender

`:sprites` edits the shipped clip with the shipped model. In all 20 steps the keys and values of
blocks 7-15 are those of the first frame and the one before; in steps 0-2 the predicted clean
latents are the first frame's, moved by optical flow where nothing is hidden.
`--config.baseline.tone="(0.8,1.0)"` gives steps 16-19 the first frame's colours.

Deviations: no ControlNet, whose part of keeping the layout falls to DDIM inversion and
Plug-and-Play (queries and keys of blocks 8-15 in steps 0-9, a residual in steps 0-15), where the
original starts from noise; no pixel-aware fusion and no second pass, so that all frames are sampled
at once; every frame is a key frame, and nothing is interpolated; flow by Lucas and Kanade, not
learned; a token seen outside of the first frame counts as hidden; no words are added to the
prompts.

Backbone: as there, the image model inside of the text-to-video model: no temporal attention, norms
of each frame. Cost: 20 rows to invert, 56 to sample (3 in the first 16 steps, then 2), 30 optical
flows of 16 frames.
"""

import ml_collections

from configs import common


def get_config(form='full'):
  """The settings of its authors, as far as they apply."""
  config = common.baseline(form, task='appearance', method='rerender')
  config.steps = 20
  config.baseline = ml_collections.ConfigDict()
  # Ranges are shares of the steps, both ends included.

  # share of the steps in which frames attend to the first and the one before
  config.baseline.cross = (0.0, 1.0)
  # share of the steps in which clean latents are the first frame's, moved by flow
  config.baseline.warp = (0.0, 0.1)
  # share of the steps in which colours are the first frame's; (1, 1) is none
  config.baseline.tone = (1.0, 1.0)
  # attend to other frames from block 10 on, not 7, where they move much
  config.baseline.loose = False
  # of the steps, from the first, with the source's queries and keys
  config.baseline.attention_share = 0.5
  config.baseline.residual_share = 0.8  # of the steps, from the first, with the source's residual
  config.baseline.negative_prompt = ''  # what the unconditional half is conditioned on
  if config.checkpoint == 'sprites':
    config.target_prompt = 'a big red square moving right in the middle on grass, night'
  return config.lock()
