"""UniEdit and what it is compared with, where the right answers are known: nothing but this
repository is needed.

  python -m experiments.compare --config=configs/compare_sprites.py --workdir=out/compare_sprites

20 edits of the sprites benchmark, the same for all methods: 8 of motion and 3 of each of the four
kinds of appearance. All methods invert with the source's caption and have 25 steps and guidance 3;
masks are the true ones, so for motion they tell where the object is going. As shipped are
configs/sprites_motion.py and sprites_appearance.py, whose settings alone were chosen on sprites (on
other edits than these); the ranges of all others are their authors'. About half an hour on 2 cores;
`:quick` takes one edit of each kind and 5 steps.
"""

from configs import compare


def get_config(size='full'):
  """All methods of configs/compare.py with the true masks, and UniEdit as shipped for sprites."""
  config = compare.comparison(size)
  config.checkpoint = 'sprites'
  compare.add_methods(config, f'sprites,{size}')
  shipped = f'sprites_motion:{size}', f'sprites_appearance:{size}'
  compare.add(config, 'uniedit_shipped', 'UniEdit, as shipped', shipped)
  return config.lock()
