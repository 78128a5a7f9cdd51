"""MasaCtrl (Cao et al. 2023) on a text-to-video model: from step 4 on, late blocks see the source's
content.

  python -m experiments.edit --config=configs/baselines/masactrl.py \
    --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.target_prompt="a cat is waving its paw" --workdir=out/masactrl

`:sprites` edits the shipped clip with the shipped model. In steps 4-49 and blocks 10-15 the edit
keeps the queries of spatial self-attention and reads keys and values of the reconstruction, of the
same half of guidance; nothing else is injected. That is content preservation (k, v) of this package
without structure control and motion injection.

Deviations: frame i reads frame i of the reconstruction, as the method was made for images (the
paper says no more of its port); temporal attention is untouched. The reconstruction is sampled from
the inversion, as by default there; `--config.inversion.method=direct` reads the stored trajectory
instead, which its authors recommend. Inversion and reconstruction have the null prompt, on sprites
the caption. No masks.

Backbone: the text-to-video model as it is. Cost: 50 rows to invert, 149 to sample (2 in the first
step, then 3).
"""

from configs import common


def get_config(form='full'):
  """Content preservation as the release of UniEdit has it for motion, alone."""
  config = common.edit_of_form(form, task='motion', preset='release')
  if config.checkpoint == 'sprites':
    config.target_prompt = 'a big red square jumping in the middle on grass, photo'
  config.structure.steps = (0, 0)
  config.motion.steps = (0, 0)
  config.motion_query.steps = (0, 0)
  config.inversion.method = 'ddim'
  config.outputs.motion_reference = False
  return config.lock()
