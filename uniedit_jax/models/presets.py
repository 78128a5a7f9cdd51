"""Sizes of known models."""

from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig

# A model of LaVie's family that runs in seconds on a CPU.
SMALL = ModelConfig(
  name='small',
  unet=UNetConfig(channels=(64, 64, 128, 128), heads=2, groups=16, text_width=64),
  vae=VAEConfig(channels=(32, 32, 64, 64), layers=1, groups=16),
  text=TextConfig(vocabulary=514, width=64, layers=2, heads=2, mlp_width=128, bos=512, eos=513),
  frames=8,
  height=64,
  width=96,
)
