"""Writes a checkpoint with random parameters, to try the programs without the released weights.

  python -m experiments.random_checkpoint --size=small --out=checkpoints/small

`small` is a model of LaVie's architecture that runs on a laptop; `lavie` has the full size (4.5 GB
on disk).
"""

from absl import app, flags
from tqdm import tqdm

from experiments.launch import in_one_line, start
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.presets import SMALL
from uniedit_jax.runtime import random_init

FLAGS = flags.FLAGS
SIZES = {'small': SMALL, 'lavie': ModelConfig(name='lavie-random')}


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'arguments that are no flags: {argv[1:]}')
  with in_one_line():
    progress = lambda tensors: tqdm(tensors, unit='tensor')
    random_init.init_random(FLAGS.out, SIZES[FLAGS.size], FLAGS.seed, progress)
  print(f'wrote {FLAGS.out}')


if __name__ == '__main__':
  flags.DEFINE_enum('size', 'small', list(SIZES), 'Size of the model.')
  flags.DEFINE_string('out', None, 'Folder to write; must not exist yet.', required=True)
  flags.DEFINE_integer('seed', 0, 'Seed of the parameters.', lower_bound=0)
  start(main)
