r"""Renders a clip of the sprites world, as a source of edits whose right answer is known.

  python -m experiments.render --shape=cross --colour=green --motion="moving left" \
    --style=night --out=out/clip

Leaves clip.mp4, masks/ (white = object) and prints the caption.
"""

import sys

from absl import app, flags
from etils import epath

from experiments.launch import in_one_line
from uniedit_jax.media import video
from uniedit_jax.reports.clips import write_mask
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, Scene

FLAGS = flags.FLAGS
for name, values in ATTRIBUTES.items():
  flags.DEFINE_enum(name, getattr(Scene(), name), values, f'The {name} of the scene.')
flags.DEFINE_integer('pixels', 64, 'Height and width in pixels.')
flags.DEFINE_string('out', None, 'Folder to write into.', required=True)


def main(_):
  if FLAGS.pixels < 16 or FLAGS.pixels % 2:
    sys.exit(f'--pixels is {FLAGS.pixels}; accepted: even numbers from 16 on')
  attributes = {name: FLAGS[name].value for name in ATTRIBUTES}
  scene = Scene(**attributes)
  with in_one_line():
    rendering, folder = render(scene, FLAGS.pixels), epath.Path(FLAGS.out).expanduser()
    video.write_mp4(folder / 'clip.mp4', rendering.frames, CONFIG.fps)
    write_mask(folder / 'masks', rendering.masks)
  print(f'{folder / "clip.mp4"}: {scene.caption}')


if __name__ == '__main__':
  app.run(main)
