"""How well the sprites model makes clips and edits them, where the right answer can be rendered.

  python -m experiments.evaluate --config=configs/sprites_benchmark.py \
    --workdir=out/sprites_benchmark

Text-to-video first, then 20 edits of each of the paper's five kinds, each with every injection
alone and with all of them. Less than 45 minutes on 2 cores; a run that was interrupted goes on
where it stopped. index.html shows everything. Presets are tuned on other edits, where the first
part can be left out: `--config.split=validation --config.text_to_video.clips=0`.
"""

import ml_collections

from configs import common, sprites_appearance, sprites_motion


def get_config(size='full'):
  """All that the README's table needs."""
  config = ml_collections.ConfigDict()
  config.checkpoint = 'sprites'  # a folder, or a name
  config.dtype = 'auto'
  config.seed = 0  # of the noise that text-to-video starts from
  config.cache = '~/.cache/uniedit_jax'

  # clips of each group (0 leaves them out), clips made at once, steps, guidance
  config.text_to_video = {'clips': 60, 'batch': 10, 'steps': 20, 'guidance': 3.0}
  config.split = 'benchmark'  # set of edits; or 'validation': edits that presets may be tuned on
  config.per_kind = 20  # edits of each kind
  config.source_prompt = 'caption'  # or 'null': the prompt of inversion and reconstruction
  # Read are steps, guidance, schedule, inversion (without its prompt), preset and the ranges.
  config.motion = sprites_motion.get_config(size)
  config.appearance = sprites_appearance.get_config(size)
  if common.is_quick(size):
    config.per_kind = 1
    config.text_to_video.update(clips=2, batch=2, steps=5)
  return config.lock()
