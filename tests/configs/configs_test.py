"""Every config has a short form, which is sound and differs in size alone."""

import importlib
import pathlib

import pytest

from configs import (
  ablate_injection,
  sprites_benchmark,
  sprites_masks,
  sprites_model,
  sprites_motion,
)
from experiments.requests.edit import read_edit
from experiments.requests.sprites import read_benchmark
from experiments.train.tasks import read_training

FOLDER = pathlib.Path(sprites_motion.__file__).parent
FILES = [
  '.'.join(path.relative_to(FOLDER).with_suffix('').parts) for path in sorted(FOLDER.rglob('*.py'))
]
NAMES = [
  name for name in FILES if name not in ('__init__', 'baselines.__init__', 'common', 'rerun')
]


@pytest.mark.parametrize('name', NAMES)
def test_every_config_has_a_short_form(name):
  module = importlib.import_module(f'configs.{name}')
  full, quick = module.get_config(), module.get_config('quick')
  assert full.to_dict() == module.get_config('full').to_dict() != quick.to_dict()
  assert full.keys() == quick.keys()
  with pytest.raises(
    ValueError, match="the config is asked for 'quik'; accepted behind its colon: quick"
  ):
    module.get_config('quik')


def test_ranges_shrink_with_the_steps():
  quick = sprites_motion.get_config('quick')
  assert quick.steps == 5 and quick.content.steps == (1, 5) and quick.structure.steps == (0, 0)
  assert quick.motion.steps is None
  assert read_edit(quick).settings[0].motion.steps == (0, 5)


def test_short_forms_are_sound():
  assert read_benchmark(sprites_benchmark.get_config('quick')).tasks['motion'].steps == 5
  assert read_benchmark(sprites_masks.get_config('quick')).tasks['appearance'].steps == 5
  assert [stage['steps'] for stage in read_training(sprites_model.get_config('quick')).stages] == [
    4,
    4,
  ]


def test_the_sweep_of_a_video_has_one_too():
  full, quick = (ablate_injection.get_config(form) for form in ('lavie', 'lavie,quick'))
  assert full.checkpoint == quick.checkpoint == '' and (full.steps, quick.steps) == (50, 5)
