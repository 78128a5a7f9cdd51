"""Sizes and noise schedules of known models."""

import dataclasses

from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig

# LaVie's base model (Wang et al. 2023), with the VAE and the CLIP ViT-L/14 text tower of Stable
# Diffusion 1.4.
LAVIE = ModelConfig(
  name='lavie',
  unet=UNetConfig(
    channels=(320, 640, 1280, 1280),
    heads=8,
    groups=32,
    layers_per_block=2,
    latent_channels=4,
    text_width=768,
    rotary_dim=32,
    relative_buckets=32,
    relative_max_distance=32,
    frame_positions=0,
  ),
  vae=VAEConfig(
    channels=(128, 256, 512, 512), layers=2, groups=32, latent_channels=4, scale=0.18215
  ),
  text=TextConfig(
    vocabulary=49408,
    positions=77,
    width=768,
    layers=12,
    heads=12,
    mlp_width=3072,
    bos=49406,
    eos=49407,
  ),
  schedule=NoiseSchedule(
    beta_schedule='linear', beta_start=1e-4, beta_end=2e-2, train_steps=1000, offset=1
  ),
  frames=16,
  height=320,
  width=512,
  fps=8,
)

# The noise schedules of other text-to-video models. ZeroScope has ModelScope's. AnimateDiff's is
# that of its own code; diffusers ends at the level of timestep 0, as all other schedules here do.
MODELSCOPE_SCHEDULE = NoiseSchedule('scaled_linear', 0.00085, 0.012)
VIDEOCRAFTER2_SCHEDULE = NoiseSchedule(
  'scaled_linear', 0.00085, 0.012, signal_end=0.7, signal_steps=400
)
ANIMATEDIFF_SCHEDULE = NoiseSchedule('linear', 0.00085, 0.012, set_alpha_to_one=True)

# OpenCLIP ViT-H/14's text tower without its last layer, of VideoCrafter2, ModelScope and ZeroScope.
# Its own tokenizer pads with id 0.
OPEN_CLIP_H = TextConfig(width=1024, layers=23, heads=16, mlp_width=4096, activation='gelu', pad=0)

# ModelScope (Wang et al. 2023) and ZeroScope, which is trained on.
MODELSCOPE_UNET = UNetConfig(
  head_dim=64,
  text_width=1024,
  rotary_dim=0,
  relative_buckets=0,
  temporal=('input', 'module', 'middle', 'conv'),
  clip_norms=('module',),
)

# VideoCrafter2 (Chen et al. 2024): the same, fed the frames a second.
VIDEOCRAFTER2_UNET = dataclasses.replace(MODELSCOPE_UNET, fps=28)

# AnimateDiff (Guo et al. 2023): Stable Diffusion 1.5 with motion modules, as its own code runs
# those of version 3. Version 2 adds 'middle'; version 1 has 24 positions, and the group norms of
# its resnets span all frames. In diffusers, those of the motion modules do, in all versions.
ANIMATEDIFF_UNET = UNetConfig(
  heads=8,
  text_width=768,
  rotary_dim=0,
  relative_buckets=0,
  frame_positions=32,
  temporal=('module', 'plain'),
  clip_norms=(),
)
ANIMATEDIFF_V2_UNET = dataclasses.replace(ANIMATEDIFF_UNET, temporal=('module', 'plain', 'middle'))
ANIMATEDIFF_V1_UNET = dataclasses.replace(
  ANIMATEDIFF_UNET, frame_positions=24, clip_norms=('resnet',)
)

MODELSCOPE = ModelConfig(
  name='modelscope',
  unet=MODELSCOPE_UNET,
  text=OPEN_CLIP_H,
  schedule=MODELSCOPE_SCHEDULE,
  height=256,
  width=256,
  guidance=9.0,
)
ZEROSCOPE = dataclasses.replace(MODELSCOPE, name='zeroscope', frames=24, height=320, width=576)
VIDEOCRAFTER2 = dataclasses.replace(
  MODELSCOPE,
  name='videocrafter2',
  unet=VIDEOCRAFTER2_UNET,
  schedule=VIDEOCRAFTER2_SCHEDULE,
  height=320,
  width=512,
  fps=10,
  guidance=12.0,
)
ANIMATEDIFF = ModelConfig(
  name='animatediff',
  unet=ANIMATEDIFF_UNET,
  schedule=ANIMATEDIFF_SCHEDULE,
  height=512,
  width=512,
)

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


def small_of(config):
  """A small model of the kind of a `ModelConfig`, which runs in seconds on a CPU."""
  # OpenCLIP's text towers have 64 channels a head.
  heads, text_heads = ({'head_dim': 32}, 1) if config.unet.head_dim else ({'heads': 2}, 2)
  text = {'heads': text_heads, 'activation': config.text.activation, 'pad': config.text.pad}
  return dataclasses.replace(
    SMALL,
    name=f'{config.name}-small',
    unet=dataclasses.replace(
      config.unet, channels=SMALL.unet.channels, groups=SMALL.unet.groups, text_width=64, **heads
    ),
    text=dataclasses.replace(SMALL.text, **text),
    schedule=config.schedule,
    guidance=config.guidance,
  )


# All models that are known, in full size and small, by name.
MODELS = {x.name: x for x in (LAVIE, MODELSCOPE, ZEROSCOPE, VIDEOCRAFTER2, ANIMATEDIFF)}
MODELS |= {'small': SMALL} | {
  x.name: x for x in map(small_of, (MODELSCOPE, VIDEOCRAFTER2, ANIMATEDIFF))
}
