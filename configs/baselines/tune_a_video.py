"""Tune-A-Video (Wu et al. 2023): the model is tuned on the one clip, then the inverted clip is
sampled.

  python -m experiments.edit --config=configs/baselines/tune_a_video.py \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.source_prompt="a cat on a sofa" \
    --config.target_prompt="a dog on a sofa" \
    --workdir=out/tune_a_video

`:sprites` edits the shipped clip with the shipped model. Tuned are temporal attention and the
queries of spatial and text attention, by AdamW with rate 3e-5, on the noise of the clip under its
source prompt; then the null-prompt inversion, by the tuned model, is sampled with guidance 12.5.

Deviations: the text-to-video model has temporal attention that is trained already, before the
feed-forward and with positions, where the original adds one that starts at zero, after it; its
positions stay fixed. Spatial attention reads the first frame and the one before, as there, which
this model was not trained for (`baseline.sparse_causal=False` reads the own frame). The clip's
latents are the mean of the posterior, not a sample for every update. On sprites: guidance of that
model, 100 updates.

Backbone: the text-to-video model, temporal attention on, tuned. Cost: 500 updates (a row forward
and backward each, once more forward for recomputed activations), 50 rows to invert, 100 to sample.
"""

import ml_collections

from configs import common


def get_config(form='full'):
  """The settings of its authors."""
  config = common.baseline(form, task='motion', method='tune_a_video')
  config.inversion.prompt = ''
  config.baseline = ml_collections.ConfigDict()
  # updates of the parameters; its authors: 300 to 500, fewer for a change of style
  config.baseline.tuning_steps = 500
  config.baseline.learning_rate = 3e-5  # of AdamW, constant
  # spatial attention reads the first frame and the one before, not its own
  config.baseline.sparse_causal = True
  if config.checkpoint == 'sprites':
    config.target_prompt = 'a big red square jumping in the middle on grass, photo'
    config.baseline.tuning_steps = 100
  else:
    config.guidance = 12.5
  if config.quick:
    config.baseline.tuning_steps = 5
  return config.lock()
