"""Makes the pictures and numbers of docs/guide.md: edits that work, that settings spoil, that fail.

  python -m experiments.docs.guide --out=docs

Leaves guide_edits.png, guide_symptoms.png and guide_failures.png, README's first_edit.gif, and
prints the numbers. Four minutes on 2 cores, compilation included.
"""

import tempfile

from absl import app, flags
from etils import epath

from configs import sprites_appearance, sprites_motion
from experiments import api
from uniedit_jax.media import video
from uniedit_jax.media.grids import side_by_side
from uniedit_jax.reports import inspection
from uniedit_jax.runtime import progress
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

# The words that each edit changes.
EDITS = {
  'motion: jumping': {'motion': 'jumping'},
  'style: night': {'style': 'night'},
  'background: sand': {'background': 'sand'},
  'object: blue': {'colour': 'blue'},
  'shape: triangle': {'shape': 'triangle'},
}
# Settings that spoil the motion edit.
SYMPTOMS = {
  'as it should be': {},
  'guidance 20': {'guidance': 20.0},
  'a caption that is not the source': {
    'source_prompt': 'a small blue cross falling at the top on sand, night',
    'inversion.prompt': None,
  },
  '5 steps, null caption, ddim, guidance 7.5': {
    'steps': 5,
    'guidance': 7.5,
    'content.steps': (1, 5),
    'source_prompt': '',
    'inversion.prompt': '',
    'inversion.method': 'ddim',
  },
}
ENLARGED = 5  # times, of README's clip
FAILURES = (19, 94)  # edits of configs/sprites_benchmark.py that are wrong
MEASURES = {
  'edit_attributes_right': 'of the words hold',
  'edit_kept_background_psnr_db': 'dB of background kept',
  'reconstruction_psnr_db': 'dB of reconstruction',
}


def main(_):
  out, sources = epath.Path(_OUT.value), {}
  for task, module in (('motion', sprites_motion), ('appearance', sprites_appearance)):
    config = module.get_config()
    sources[task] = api.invert(api.load(config), config)
  edits = {}
  for name, words in EDITS.items():
    source = sources['motion' if 'motion' in words else 'appearance']
    edits[name] = api.edit(source, {'target_prompt': SCENE.format(**WORDS | words)})
  symptoms = {name: api.edit(sources['motion'], changes) for name, changes in SYMPTOMS.items()}
  drawn = draw_edits(SPLITS['benchmark'], per_kind=20)
  failures = []
  for scene in (drawn[number] for number in FAILURES):
    source = sources['motion' if scene.kind == 'motion' else 'appearance']
    failures.append(_edit_scene(source, scene))

  row = {'source': sources['motion'].frames}
  _write_first_edit(out / 'first_edit.gif', sources['motion'].frames, edits['motion: jumping'])
  _draw(out / 'guide_edits.png', row | {name: edit.frames for name, edit in edits.items()})
  _draw(out / 'guide_symptoms.png', row | {name: edit.frames for name, edit in symptoms.items()})
  rows, by_name = {}, edits | symptoms
  for edit in failures:
    name = f'edit: {edit.config["target_prompt"]}'
    rows |= {f'source: {edit.config["source_prompt"]}': edit.clips['source'], name: edit.frames}
    by_name[name] = edit
  _draw(out / 'guide_failures.png', rows)
  for name, edit in by_name.items():
    shown = ', '.join(f'{edit.measures[measure]:.3g} {unit}' for measure, unit in MEASURES.items())
    progress.announce(f'{name}: {shown}')


def _edit_scene(source, scene):
  """Makes an edit of the benchmark with the settings of `source`."""
  with tempfile.TemporaryDirectory() as folder:
    path = epath.Path(folder) / 'clip.mp4'
    video.write_mp4(path, render(scene.source).frames, 8)
    prompts = {'source_prompt': scene.source.caption, 'target_prompt': scene.target.caption}
    return api.edit(source, {'video': str(path)} | prompts)


def _write_first_edit(path, source, edit):
  """Writes the source and the edit side by side, enlarged."""
  enlarge = lambda frames: frames.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
  clips = {'source: moving right': enlarge(source), 'edit: jumping': enlarge(edit.frames)}
  video.write_gif(path, side_by_side(clips), edit.fps)


def _draw(path, rows):
  """Writes clips {label: u8[F, H, W, 3]} as rows of frames."""
  columns = inspection.frame_labels(len(next(iter(rows.values()))))
  shown = {label: inspection.select_frames(clip) for label, clip in rows.items()}
  inspection.write_sheet(path, shown, columns)


if __name__ == '__main__':
  app.run(main)
