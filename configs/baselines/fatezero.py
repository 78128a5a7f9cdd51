"""FateZero (Qi et al. 2023): attention maps of the inversion take the place of the edit's own.

  python -m experiments.edit --config=configs/baselines/fatezero.py \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.source_prompt="a cat on a sofa" \
    --config.target_prompt="a cat on a sofa, watercolor painting" \
    --config.baseline.words="('watercolor',)" \
    --workdir=out/fatezero

`:sprites` edits the shipped clip with the shipped model. In the first 80 % of the steps and blocks
2-12 the maps of spatial self-attention, and those of text attention between tokens that both
prompts have, are the source's, in the conditional half; `words` get ten times as much. These are
its authors' settings for a style; for an attribute `--config.baseline.self_share=0.5
--config.baseline.cross_share=0.5`, for a change of a large part 0.1 with
`--config.baseline.replace=True`. It needs a source prompt.

Deviations: no blend of self-attention by a mask (its shape edits, which also start from a tuned
model) and no blend of latents, both off by default there; shares hold for all words. The clip's
latents are the mean of the posterior.

Backbone: as there, the image model inside of the text-to-video model: no temporal attention, norms
of each frame, keys and values of the middle frame in blocks 2-12. `--config.baseline.temporal=True`
is the whole text-to-video model with each frame's own keys and values. Cost: 50 rows to invert, 140
to sample (3 in the first 40 steps, then 2).
"""

import ml_collections

from configs import common


def get_config(form='full'):
  """The settings of its authors for a style."""
  config = common.baseline(form, task='appearance', method='fatezero')
  config.baseline = ml_collections.ConfigDict()
  # of the steps, from the first, with the source's maps of spatial self-attention
  config.baseline.self_share = 0.8
  # of the steps, from the first, with the source's maps of text attention
  config.baseline.cross_share = 0.8
  # align prompts word by word, which must be equally many; False: by their tokens
  config.baseline.replace = False
  # of the target prompt, whose text attention is multiplied by `emphasis`
  config.baseline.words = ()
  config.baseline.emphasis = 10.0  # the factor of `words`
  # the whole text-to-video model; False: the image model inside, whose frames read the middle one
  config.baseline.temporal = False
  if config.checkpoint == 'sprites':
    config.target_prompt = 'a big red square moving right in the middle on grass, night'
  return config.lock()
