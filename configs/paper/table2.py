"""Table 2: what each injection adds to a motion edit.

  python -m experiments.compare --config=configs/paper/table2.py --workdir=out/table2
  python -m experiments.compare --config=configs/paper/table2.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/table2

The paper, 15 motion edits, similarity to the source's frames, textual alignment and frame
consistency by CLIP, times 100: nothing 90.54 / 28.76 / 96.99; content 97.28 / 29.95 / 98.12; motion
and structure 91.30 / 31.48 / 98.08; content and motion 96.11 / 31.37 / 98.12; all 96.29 / 31.43 /
98.09.
"""

from configs import compare

PARTS = ('structure', 'content', 'motion')
ROWS = {
  'nothing': (),
  'structure': ('structure',),
  'content': ('content',),
  'motion_structure': ('motion', 'structure'),
  'content_motion': ('content', 'motion'),
  'all': PARTS,
}


def get_config(form='full'):
  """The paper's preset, and what is left of it without some of its injections."""
  config, edits, _ = compare.paper_table(form, motion=20)
  for name, parts in ROWS.items():
    title = ' + '.join(parts) or 'Plain inversion'
    off = {f'{part}.steps': compare.OFF for part in PARTS if part not in parts}
    compare.add_setting(config, edits, name, title, off)
  return config.lock()
