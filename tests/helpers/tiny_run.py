"""A tiny random checkpoint, a clip and masks, for tests of entry points."""

import dataclasses
import os

import numpy as np

from configs import generate
from uniedit_jax.media import video
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.runtime import random_init

# Two levels and four attention blocks: of every program of a run, the UNet's take longest to
# compile, and that time grows with the blocks.
TINY = ModelConfig(
  name='tiny',
  unet=UNetConfig(channels=(32, 32), heads=1, groups=8, layers_per_block=1, text_width=32),
  vae=VAEConfig(channels=(8, 8, 8, 8), layers=1, groups=4),
  text=TextConfig(vocabulary=514, width=32, layers=1, heads=1, mlp_width=32, bos=512, eos=513),
  frames=4,
  height=64,
  width=64,
)
# With LaVie's sixteen blocks, for settings that name them.
SIXTEEN = dataclasses.replace(
  TINY, unet=UNetConfig(channels=(32, 32, 32, 32), heads=1, groups=8, text_width=32)
)


def make_folder(tmp_path_factory):
  """A folder with tiny/, clip.mp4, source.npz and target.npz, and a cache whose programs are those
  of all tests.
  """
  folder = tmp_path_factory.mktemp('experiments')
  (folder / 'cache').mkdir()
  (folder / 'cache/programs').symlink_to(os.environ['JAX_COMPILATION_CACHE_DIR'])
  random_init.init_random(folder / 'tiny', TINY)
  grid = np.arange(64)
  frames = [
    np.stack(np.broadcast_arrays(4 * grid, 4 * grid[:, None], 60 * i), -1) for i in range(4)
  ]
  video.write_mp4(folder / 'clip.mp4', np.uint8(frames), 8)
  masks = np.zeros((2, 4, 64, 64), bool)
  masks[0, :, 16:40, 16:40] = masks[1, :, 24:56, 8:40] = True
  np.savez(folder / 'source.npz', masks=masks[0])
  np.savez(folder / 'target.npz', masks=masks[1])
  return folder


def config_of(module, folder, **changes):
  """The config of a module for the files in a folder; `__` in a name of `changes` is a dot."""
  config = module.get_config()
  with config.unlocked():
    config.update_from_flattened_dict(
      {
        'checkpoint': str(folder / 'tiny'),
        'cache': str(folder / 'cache'),
        'steps': 2,
        **(
          {}
          if module is generate
          else {
            'video': str(folder / 'clip.mp4'),
            'target_prompt': 'a fox',
            'inspect.blocks': (1, 3),
          }
        ),
        **{name.replace('__', '.'): value for name, value in changes.items()},
      }
    )
  return config
