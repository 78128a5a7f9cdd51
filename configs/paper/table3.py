"""Table 3: until which step (t0) and from which block (L) content is preserved.

  python -m experiments.compare --config=configs/paper/table3.py --workdir=out/table3
  python -m experiments.compare --config=configs/paper/table3.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/table3

The paper, 15 motion edits, t0 of 50 steps, similarity to the source's frames, textual alignment and
frame consistency by CLIP, times 100: (20, 10) 94.33 / 31.57 / 98.09; (50, 10) 96.29 / 31.84 /
98.12; (50, 8) 96.76 / 31.25 / 98.11.
"""

from configs import compare

BLOCKS = 16
ROWS = ((0.4, 10), (1.0, 10), (1.0, 8), (1.0, 4), (1.0, 13))  # t0 as a share of the steps, L


def get_config(form='full'):
  """Compares the paper's three settings and two more with plain inversion."""
  config, edits, steps = compare.paper_table(form, motion=20)
  off = {f'{part}.steps': compare.OFF for part in ('structure', 'content', 'motion')}
  compare.add_setting(config, edits, 'plain', 'Plain inversion', off)
  for share, first in ROWS:
    end = round(share * steps)
    changes = {'content.steps': (0, end), 'content.blocks': (first, BLOCKS)}
    name, title = f't0_{end}_L_{first}', f't0 = {end} of {steps}, L = {first}'
    compare.add_setting(config, edits, name, title, changes)
  return config.lock()
