"""Figure 7: for how many steps content is preserved (a), and the structure controlled (b).

  python -m experiments.compare --config=configs/paper/figure7.py --workdir=out/figure7
  python -m experiments.compare --config=configs/paper/figure7.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/figure7

The paper shows pictures: values copied for too few steps lose the background of a motion edit;
queries and keys copied for 15 of 50 steps lose the structure of a style edit, and for all 50 the
style.
"""

from configs import compare


def get_config(form='full'):
  """The paper's preset with content, or structure, on for another share of the steps."""
  config, edits, steps = compare.paper_table(form, motion=10, appearance=3)
  for part in ('content', 'structure'):
    for share in (0.0, 0.1, 0.3, 0.5, 1.0):
      end = round(share * steps)
      title, changes = f'{part}: {end} of {steps} steps', {f'{part}.steps': (0, end)}
      compare.add_setting(config, edits, f'{part}_{end}', title, changes)
  return config.lock()
