"""The inversion methods side by side, on edits whose right answer can be rendered.

  python -m experiments.inversions --config=configs/sprites_inversions.py \
    --workdir=out/sprites_inversions

Half an hour on 2 cores, most of it null-text optimisation. The workdir gets results.csv and
table.md.
"""

from configs import common, sprites_benchmark


def get_config(size='full'):
  """Three edits of each kind, with every method."""
  config = sprites_benchmark.get_config(size)
  with config.unlocked():
    config.per_kind = 1 if common.is_quick(size) else 3
    config.text_to_video.clips = 0
    # inversion methods to compare
    config.methods = ('ddim', 'direct', 'fixed_point', 'obelm', 'null_text')
  return config
