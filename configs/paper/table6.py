"""Table 6: seconds an edit takes.

  python -m experiments.compare --config=configs/paper/table6.py --workdir=out/table6
  python -m experiments.compare --config=configs/paper/table6.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/table6

The paper, 16 frames of 320 x 512 on one A100: Tune-A-Video 10 minutes, MasaCtrl on LaVie 90 s,
FateZero 130 s, Rerender-A-Video 110 s, TokenFlow 100 s, UniEdit 95 s for appearance and 125 s for
motion. `experiments.benchmark` compares single programs with the PyTorch originals.
"""

from configs import compare


def get_config(form='full'):
  """All methods without masks on a few edits: medians of seconds, without compiling."""
  config, edits, _ = compare.paper_table(form, motion=3, appearance=1)
  compare.add_methods(config, edits)
  config.compared = tuple(name for name in config.compared if not config.setups[name].masked)
  return config.lock()
