"""Makes the pictures and numbers of docs/guide.md: edits that work, settings that spoil one, and
edits that fail.

  python -m experiments.docs.guide --out=docs

Leaves guide_edits.png, guide_symptoms.png and guide_failures.png, and prints the numbers. Four
minutes on 2 cores, compilation included.
"""

import tempfile

from absl import app, flags
from etils import epath

from configs import sprites_appearance, sprites_motion
from experiments import api, progress
from uniedit_jax.media import video
from uniedit_jax.reports import inspection
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import draw_edits
from uniedit_jax.sprites.scoring import SPLITS

_OUT = flags.DEFINE_string('out', None, 'Folder to write into.', required=True)
SCENE = 'a big {colour} {shape} {motion} in the middle on {background}, {style}'
WORDS = {
  'colour': 'red',
  'shape': 'square',
  'motion': 'moving right',
  'background': 'grass',
  'style': 'photo',
}

EDITS = {  # what is asked for: the words that change
  'motion: jumping': {'motion': 'jumping'},
  'style: night': {'style': 'night'},
  'background: sand': {'background': 'sand'},
  'object: blue': {'colour': 'blue'},
  'shape: triangle': {'shape': 'triangle'},
}
SYMPTOMS = {  # what spoils the motion edit
  'as it should be': {},
  'guidance 20': {'guidance': 20.0},
  'a caption that is not the source': {
    'source_prompt': 'a small blue cross falling at the top on sand, night',
    'inversion.prompt': None,
  },
  '5 steps, null caption, ddim, guidance 7.5': {
    **{'steps': 5, 'guidance': 7.5, 'content.steps': (1, 5)},
    **{'source_prompt': '', 'inversion.prompt': '', 'inversion.method': 'ddim'},
  },
}
FAILURES = (19, 94)  # edits of configs/sprites_benchmark.py that are wrong
MEASURES = {
  'edit_attributes_right': 'of the words hold',
  'edit_kept_background_psnr_db': 'dB of background kept',
  'reconstruction_psnr_db': 'dB of reconstruction',
}


def main(_):
  """Makes all of them."""
  out, sources = epath.Path(_OUT.value), {}
  for name, module in (('motion', sprites_motion), ('appearance', sprites_appearance)):
    config = module.get_config()
    sources[name] = api.invert(api.load(config), config)
  edits, failures = {}, {}
  for name, words in EDITS.items():
    task = 'motion' if 'motion' in words else 'appearance'
    edits[name] = api.edit(sources[task], {'target_prompt': SCENE.format(**WORDS | words)})
  symptoms = {name: api.edit(sources['motion'], changes) for name, changes in SYMPTOMS.items()}
  drawn = draw_edits(SPLITS['benchmark'], per_kind=20)
  for edit in (drawn[number] for number in FAILURES):
    source = sources['motion' if edit.kind == 'motion' else 'appearance']
    with tempfile.TemporaryDirectory() as folder:
      path = epath.Path(folder) / 'clip.mp4'
      video.write_mp4(path, render(edit.source).frames, 8)
      changes = {
        'video': str(path),
        'source_prompt': edit.source.caption,
        'target_prompt': edit.target.caption,
      }
      failures[f'edit: {edit.target.caption}'] = api.edit(source, changes)

  source = {'source': sources['motion'].frames}
  frames = {name: edit.frames for name, edit in {**edits, **symptoms}.items()}
  _draw(out / 'guide_edits.png', source | {name: frames[name] for name in edits})
  _draw(out / 'guide_symptoms.png', source | {name: frames[name] for name in symptoms})
  rows = {}
  for name, edit in failures.items():
    rows |= {f'source: {edit.config["source_prompt"]}': edit.clips['source'], name: edit.frames}
  _draw(out / 'guide_failures.png', rows)
  for name, edit in {**edits, **symptoms, **failures}.items():
    shown = ', '.join(f'{edit.measures[measure]:.3g} {unit}' for measure, unit in MEASURES.items())
    progress.announce(f'{name}: {shown}')


def _draw(path, rows):
  """Writes clips {label: u8[F, H, W, 3]} as rows of frames."""
  columns = inspection.frame_labels(len(next(iter(rows.values()))))
  inspection.write(path, {label: inspection.spread(clip) for label, clip in rows.items()}, columns)


if __name__ == '__main__':
  app.run(main)
