"""Writes a checkpoint with random parameters, to try the programs without the released weights.

  python -m experiments.random_checkpoint --size=small --out=checkpoints/small

`small` is a model of LaVie's architecture that runs on a laptop, `modelscope-small`,
`videocrafter2-small` and `animatediff-small` are such models of the others; `lavie`, `modelscope`,
`zeroscope`, `videocrafter2` and `animatediff` have their full sizes (4.5 to 7 GB on disk).
"""

import dataclasses

from absl import app, flags
from tqdm import tqdm

from experiments.launch import in_one_line, start
from uniedit_jax.models.presets import MODELS
from uniedit_jax.runtime import random_init

FLAGS = flags.FLAGS


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  with in_one_line():
    progress = lambda tensors: tqdm(tensors, unit='tensor')
    config = dataclasses.replace(MODELS[FLAGS.size], name=f'{FLAGS.size}-random')
    random_init.init_random(FLAGS.out, config, FLAGS.seed, progress)
  print(f'wrote {FLAGS.out}')


if __name__ == '__main__':
  flags.DEFINE_enum('size', 'small', list(MODELS), 'Size of the model.')
  flags.DEFINE_string('out', None, 'Folder to write; must not exist yet.', required=True)
  flags.DEFINE_integer('seed', 0, 'Seed of the parameters.', lower_bound=0)
  start(main)
