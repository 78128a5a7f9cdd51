"""Table 1: UniEdit and the methods that it is compared with.

  python -m experiments.compare --config=configs/paper/table1.py --workdir=out/table1
  python -m experiments.compare --config=configs/paper/table1.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/table1

The paper, 100 edits of real videos, frame consistency and textual alignment by CLIP, times 100:
Tune-A-Video 95.39 / 27.89, MasaCtrl on LaVie 97.61 / 25.58, FateZero 96.72 / 27.30,
Rerender-A-Video 97.18 / 27.94, TokenFlow 97.02 / 28.58, UniEdit 98.35 / 31.43, UniEdit with masks
98.36 / 31.50.
"""

from configs import compare


def get_config(form='full'):
  """All methods; on sprites, those with masks have the true ones."""
  config, edits, _ = compare.paper_table(form, motion=8, appearance=3)
  compare.add_methods(config, edits)
  return config.lock()
