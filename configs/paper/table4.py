"""Table 4: until which step (t1) the structure is controlled, in motion edits.

  python -m experiments.compare --config=configs/paper/table4.py --workdir=out/table4
  python -m experiments.compare --config=configs/paper/table4.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/table4

The paper, 15 motion edits, t1 of 50 steps, similarity to the source's frames, textual alignment and
frame consistency by CLIP, times 100: 20 96.21 / 30.92 / 98.06; 25 96.29 / 31.43 / 98.09; 30 96.50 /
31.04 / 98.08.
"""

from configs import compare


def get_config(form='full'):
  """The paper's three ends, none and all of the steps."""
  config, edits, steps = compare.paper_table(form, motion=20)
  for share in (0.0, 0.4, 0.5, 0.6, 1.0):
    end = round(share * steps)
    changes, title = {'structure.steps': (0, end)}, f't1 = {end} of {steps}'
    compare.add_setting(config, edits, f't1_{end}', title, changes)
  return config.lock()
