"""Where attention maps carry the motion and the layout of a clip, measured against what was
rendered.

  python -m experiments.evidence --config=configs/sprites_evidence.py --workdir=out/sprites_evidence

A minute on 2 cores. The workdir gets results.csv, table.md and evidence.png.
"""

import ml_collections

from configs import common


def get_config(size='full'):
  """Ten clips of every motion, at four noise levels."""
  config = ml_collections.ConfigDict()
  config.checkpoint = 'sprites'
  config.dtype = 'auto'
  config.seed = 0  # of the noise that is added to the clips
  config.cache = '~/.cache/uniedit_jax'
  config.split = 'validation'
  config.per_motion = 10  # clips of each motion
  config.source_prompt = 'caption'  # or 'null': the prompt that the maps are read with
  config.timesteps = (121, 361, 641, 921)  # noise levels, timesteps of the schedule
  config.clear = 0.75  # share of a cell that the object must cover, or leave free, to count
  if common.is_quick(size):
    config.per_motion, config.timesteps = 1, config.timesteps[:1]
  return config.lock()
