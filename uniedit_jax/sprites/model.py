"""The sprites model: a small text-to-video model of LaVie's family."""

from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.sprites.scenes import vocabulary

TOKENS = len(vocabulary())

CONFIG = ModelConfig(
  name='sprites',
  unet=UNetConfig(
    channels=(48, 96, 96, 96),
    heads=1,
    groups=12,
    latent_channels=8,
    text_width=96,
    frame_positions=16,
  ),
  vae=VAEConfig(channels=(16, 32, 64), layers=1, groups=8, latent_channels=8, scale=1.0),
  text=TextConfig(
    vocabulary=TOKENS + 2,
    positions=16,
    width=96,
    layers=2,
    heads=3,
    mlp_width=192,
    bos=TOKENS,
    eos=TOKENS + 1,
  ),
  schedule=NoiseSchedule('scaled_linear', 0.00085, 0.012),
  height=32,
  width=32,
)
