"""Masks found by the program against the true ones, and what masks change, on edits whose right
answer is rendered.

  python -m experiments.masks --config=configs/sprites_masks.py --workdir=out/sprites_masks

A quarter of an hour on 2 cores. The workdir gets results.csv, table.md and the masks of every edit
as pictures. How masks are found is set as in an edit: `--config.motion.mask.threshold=0.5`.
"""

from configs import common, sprites_benchmark


def get_config(size='full'):
  """Eight edits of each kind, without masks, with found and with true ones."""
  config = sprites_benchmark.get_config(size)
  with config.unlocked():
    config.per_kind = 1 if common.is_quick(size) else 8
    config.text_to_video.clips = 0
    # looked for: its colour and shape; or 'differing': the words that the other prompt lacks
    config.words = 'object'
  return config
