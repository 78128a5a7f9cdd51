"""Writes docs/config.md: every field of the configs, from the configs and the comments in them.

  python -m experiments.docs.config_table

The comment of a field stands behind its assignment, or in the lines above.
"""

import pathlib
import re

from configs import (
  batch,
  common,
  compare,
  generate,
  motion,
  sprites_benchmark,
  sprites_evidence,
  sprites_inversions,
  sprites_masks,
  sprites_model,
)
from configs.baselines import fatezero, rerender, tokenflow, tune_a_video
from uniedit_jax.reports import tables

ROOT = pathlib.Path(__file__).parents[2]
PATH = ROOT / 'docs' / 'config.md'
HEAD = """# Fields of the configs

Every field is a flag: `--config.structure.steps="(0,25)"`. The files in `configs/` set some of
them; "unset" takes the value of the checkpoint, of the preset, or the one that the last column
names. Written by `python -m experiments.docs.config_table`.
"""
# Title, where the fields are, and the modules that set and explain those which common.py does not.
SECTIONS = (
  (
    'Edits',
    'motion.py, appearance.py, image.py, ...; in chain.py under `motion.` and `appearance.`',
    [motion],
  ),
  (
    'Comparison methods',
    'files of baselines/, in addition to those of an edit',
    [tune_a_video, fatezero, tokenflow, rerender],
  ),
  ('Batches of edits', 'batch.py, in addition to those of an edit', [batch]),
  ('Text to video', 'generate.py, in addition to those of the model above', [generate]),
  ('Training', 'sprites_vae.py and sprites_model.py', [sprites_model]),
  (
    'Scores on sprites',
    'sprites_benchmark.py, sprites_inversions.py, sprites_masks.py, in addition to `motion.` and '
    '`appearance.`: an edit each',
    [sprites_benchmark, sprites_inversions, sprites_masks],
  ),
  (
    'Comparisons',
    'compare.py and compare_sprites.py, in addition to manifest and split above; '
    '`setups.<name>.motion` and `.appearance`: an edit each',
    [compare],
  ),
  ('Evidence on sprites', 'sprites_evidence.py', [sprites_evidence]),
)
# Parts that are an edit each, whose fields are listed once.
EDITS = ('motion.', 'appearance.', 'setups.')


def comments(module):
  """{field: comment} of the assignments `config.<field> = ...` in a module."""
  found, above = {}, []
  for line in pathlib.Path(module.__file__).read_text().splitlines():
    match = re.match(r'\s*config\.([\w.]+) = (.*)', line)
    if match and (text := match[2].partition('  # ')[2] or ' '.join(above)):
      found[match[1]] = text
    match = re.match(r'\s*# (.*)', line)
    above = [*above, match[1]] if match else []
  return found


def fields(config, prefix=''):
  """Yields (dotted name, type, default) of all fields of a ConfigDict."""
  for name, value in config.items():
    if hasattr(value, 'items'):
      yield from fields(value, f'{prefix}{name}.')
    else:
      yield prefix + name, config.get_type(name), value


def explain(name, known):
  """The comment of a field, or of its part of the config; raises ValueError if there is none."""
  parts = name.split('.')
  for end in range(len(parts), 0, -1):
    if text := known.get('.'.join(parts[:end])):
      return text
  raise ValueError(
    f'{name} has no comment in configs/; accepted: one behind its assignment, or in the lines above'
  )


def table():
  """The page, as a string."""
  page, seen = HEAD, set()
  for title, where, modules in SECTIONS:
    known, lines = comments(common), []
    skipped = () if title in ('Edits', 'Training') else EDITS
    for module in modules:
      known |= comments(module)
      for name, kind, default in fields(module.get_config()):
        if name not in seen and not name.startswith(skipped):
          seen.add(name)
          shown = 'unset' if default is None else f'`{default!r}`'
          lines.append([f'`{name}`', kind.__name__, shown, explain(name, known)])
    heads = ['field', 'type', 'default', '']
    page += f'\n## {title}\n\nIn {where}.\n\n{tables.markdown(heads, lines)}'
  return page


if __name__ == '__main__':
  PATH.write_text(table())
  print(PATH)
