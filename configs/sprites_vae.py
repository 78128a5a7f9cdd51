"""Trains the VAE of the sprites model: 32 x 32 frames to 8 x 8 x 8 latents.

  python -m experiments.train --config=configs/sprites_vae.py --workdir=out/sprites_vae

The first of two runs; configs/sprites_model.py is the second. `--config.max_minutes` ends it early,
and the same command goes on where it stopped.
"""

from configs import common


def get_config(size='full'):
  """3,000 updates of 16 frames."""
  config = common.training()
  config.part = 'vae'  # what is trained: 'vae', or 'model' (UNet and text tower)
  config.data.clips = 2000
  config.kl_weight = 1e-4  # of the latents' divergence from N(0, 1) in the loss
  config.ema = 0.995  # decay of the averaged weights
  # steps, single frames and clips in a batch, and the learning rate, which falls evenly
  config.stage1 = {'steps': 3000, 'images': 16, 'clips': 0, 'first_rate': 1e-3, 'last_rate': 1e-4}
  return common.finish_training(config, size)
