"""Trains the UNet and the text tower of the sprites model on the latents of a trained VAE.

  python -m experiments.train --config=configs/sprites_model.py \
    --config.vae=out/sprites_vae/checkpoint \
    --workdir=out/sprites_model

Spatial layers first, on single frames that bypass temporal attention (16 times cheaper than clips),
then single frames and clips together, as LaVie was trained. `--config.max_minutes` ends it early,
and the same command goes on where it stopped; `--config.init=sprites` starts from the weights that
come with the package.
"""

from configs import common


def get_config(size='full'):
  """What the training of the shipped weights came to be; docs/sprites.md has its history.

  Some two and a half hours on 2 cores, by the seconds of its steps; it was not run as a whole.
  """
  config = common.training()
  config.part = 'model'  # what is trained: 'vae', or 'model' (UNet and text tower)
  config.vae = 'sprites'  # checkpoint whose VAE makes the latents: a folder, or a name
  config.data.clips = 4000
  config.prompt_dropout = 0.1  # share of prompts that are replaced by the null prompt
  config.localization = 0.01  # weight of the loss that makes cross-attention point at the object
  config.ema = 0.998  # decay of the averaged weights
  # steps, single frames and clips in a batch, and the learning rate, which falls evenly
  config.stage1 = {'steps': 1200, 'images': 96, 'clips': 0, 'first_rate': 2e-3, 'last_rate': 1e-3}
  # then: steps, single frames and clips in a batch, and the learning rate, which falls evenly
  config.stage2 = {
    'steps': 4000,
    'images': 32,
    'clips': 10,
    'first_rate': 1.2e-3,
    'last_rate': 2e-5,
  }
  return common.finish_training(config, size)
