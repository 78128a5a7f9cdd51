r"""Renders a clip of the sprites world, as a source of edits whose right answer is known.

  python -m experiments.render --shape=cross --colour=green --motion="moving left" \
    --style=night --untold=1 --out=out/clip

Leaves clip.mp4, still.png (its first frame) and masks/ (white = object), and prints the caption.
"""

import sys

import numpy as np
from absl import app, flags
from etils import epath
from PIL import Image

from uniedit_jax.media import video
from uniedit_jax.reports.clips import write_mask
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, Scene, random_untold

FLAGS = flags.FLAGS
for name, values in ATTRIBUTES.items():
  flags.DEFINE_enum(name, getattr(Scene(), name), values, f'The {name} of the scene.')
flags.DEFINE_integer(
  'untold',
  None,
  'Seed of what no prompt tells: position, texture, light and bystander. Without it, the '
  'object stands at its place, upright and alone.',
)
flags.DEFINE_integer('pixels', 64, 'Height and width in pixels.')
flags.DEFINE_string('out', None, 'Folder to write into.', required=True)


def main(_):
  if FLAGS.pixels < 16 or FLAGS.pixels % 2:
    sys.exit(f'--pixels is {FLAGS.pixels}; accepted: even numbers from 16 on')
  attributes = {name: FLAGS[name].value for name in ATTRIBUTES}
  untold = {}
  if FLAGS.untold is not None:
    untold = random_untold(np.random.default_rng(FLAGS.untold), attributes['colour'])
  scene = Scene(**attributes, **untold)
  rendering, folder = render(scene, FLAGS.pixels), epath.Path(FLAGS.out).expanduser()
  video.write_mp4(folder / 'clip.mp4', rendering.frames, CONFIG.fps)
  Image.fromarray(rendering.frames[0]).save(folder / 'still.png')
  write_mask(folder / 'masks', rendering.masks)
  print(f'{folder / "clip.mp4"}: {scene.caption}')


if __name__ == '__main__':
  app.run(main)
