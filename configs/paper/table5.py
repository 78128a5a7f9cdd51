"""Table 5: masks.

  python -m experiments.compare --config=configs/paper/table5.py --workdir=out/table5
  python -m experiments.compare --config=configs/paper/table5.py:lavie \
    --config.checkpoint=checkpoints/lavie --config.manifest=edits.jsonl --workdir=out/table5

The paper, textual alignment and frame consistency by CLIP, times 100: none 31.43 / 98.35;
from cross-attention 31.49 / 98.33; from SAM 31.50 / 98.36. In place of SAM's, sprites has the true
masks, and a manifest gives its own (mask.source, mask.target). Motion edits only: appearance edits
find no mask of their target. Masks are found with the source_prompt of a line.
"""

from configs import compare


def get_config(form='full'):
  """The paper's preset without masks, with found ones, and with those that are given."""
  config, edits, _ = compare.paper_table(form, motion=20)
  auto = {'mask.source': 'auto', 'mask.target': 'auto'}
  compare.add_setting(config, edits, 'none', 'Without masks', {})
  compare.add_setting(config, edits, 'found', 'Masks from cross-attention', auto)
  compare.add_setting(config, edits, 'given', 'Given masks', {}, masked=True)
  return config.lock()
