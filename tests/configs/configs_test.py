"""Every config has a short form, which is sound and differs in size alone."""

import dataclasses
import importlib
import pathlib

import pytest

from configs import (
  ablate_injection,
  chain,
  common,
  generate,
  motion,
  sprites_benchmark,
  sprites_inversions,
  sprites_masks,
  sprites_model,
  sprites_motion,
)
from experiments.requests.chain import check_second, read_chain
from experiments.requests.edit import read_edit, read_generation, request_of
from experiments.requests.inversions import read_inversions
from experiments.requests.masks import read_masks
from experiments.requests.sprites import read_scoring
from experiments.requests.train import read_training
from uniedit_jax.media import video
from uniedit_jax.pipeline import sources
from uniedit_jax.pipeline.request import EditRequest

FOLDER = pathlib.Path(sprites_motion.__file__).parent
FILES = [
  '.'.join(path.relative_to(FOLDER).with_suffix('').parts) for path in sorted(FOLDER.rglob('*.py'))
]
NAMES = [
  name
  for name in FILES
  if name not in ('__init__', 'baselines.__init__', 'paper.__init__', 'common', 'rerun')
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
  quick = request_of(sprites_motion.get_config('quick')).shortened
  assert quick.steps == 5 and quick.content.steps == (1, 5) and quick.structure.steps == (0, 0)
  assert quick.motion.steps is None
  edit = read_edit(sprites_motion.get_config('quick'))
  assert edit.sampler.steps == 5 and edit.settings[0].content.steps == (1, 5)
  assert edit.settings[0].motion.steps == (0, 5)


def test_short_forms_are_sound():
  tasks = (
    read_scoring(sprites_benchmark.get_config('quick')).tasks['motion'],
    read_masks(sprites_masks.get_config('quick')).masked['appearance'],
    read_inversions(sprites_inversions.get_config('quick'))['obelm'].tasks['motion'],
  )
  assert [task.request.shortened.steps for task in tasks] == [5, 5, 5]
  assert [stage['steps'] for stage in read_training(sprites_model.get_config('quick')).stages] == [
    4,
    4,
  ]


def test_the_sweep_of_a_video_has_one_too():
  full, quick = (ablate_injection.get_config(form) for form in ('lavie', 'lavie,quick'))
  steps = [request_of(config).shortened.steps for config in (full, quick)]
  assert full.checkpoint == quick.checkpoint == '' and steps == [50, 5]


def test_an_edit_request_has_the_fields_and_defaults_of_the_config():
  assert EditRequest().baseline is None
  wanted = dataclasses.asdict(EditRequest(baseline={}))
  config = common.edit('motion', 'paper').to_dict()
  assert wanted == config | {'baseline': {}}
  assert request_of(common.edit('motion', 'paper')) == EditRequest()


@pytest.mark.parametrize('name', NAMES)
def test_a_config_is_locked_and_names_the_nearest_field(name):
  module = importlib.import_module(f'configs.{name}')
  for form in ('full', 'quick'):
    config = module.get_config(form)
    with pytest.raises(AttributeError, match=r'Did you mean "dtype" instead'):
      (config.motion if name == 'chain' else config).dtyp = 'float32'


def test_fields_of_parts_are_locked_too():
  config = motion.get_config()
  with pytest.raises(AttributeError, match=r'Did you mean "steps" instead'):
    config.structure.step = (0, 1)


def test_the_second_edit_of_a_chain_takes_what_is_not_set_from_the_first():
  config = chain.get_config('sprites')
  config.motion.target_prompt = 'a big red square jumping in the middle on grass, photo'
  config.appearance.target_prompt = 'a big red square jumping in the middle on grass, night'
  config.motion.source_prompt = ''
  null = read_chain(config).second
  assert null.source_prompt == ''
  assert null.metrics.source_prompt == null.mask.source_prompt == config.motion.target_prompt
  config.appearance.source_prompt = 'a red square on grass, photo'
  config.appearance.cache = 'elsewhere'
  given = read_chain(config)
  assert given.second.source_prompt == 'a red square on grass, photo'
  assert (given.second.cache, given.second.metrics.source_prompt) == ('elsewhere', '')
  assert given.first.request.cache != 'elsewhere'


def test_a_quick_chain_of_sprites_keeps_its_clips(tmp_path):
  config = chain.get_config('sprites,quick')
  edits = read_chain(config)
  # The source of the second edit shows what the first was asked for.
  assert edits.second.source_prompt == config.motion.target_prompt
  video.write_frames(tmp_path, sources.read_source(edits.first).frames)
  second = check_second(edits, str(tmp_path))
  for edit in (edits.first, second):
    assert edit.clip.size == (16, 32, 32) and edit.sampler.steps == 5
    assert edit.as_tree()['clip']['height'] == 32


def test_generation_has_a_form_that_needs_no_checkpoint():
  clip = read_generation(generate.get_config('sprites,quick'))
  assert clip.clip.size == (16, 32, 32) and clip.sampler.steps == 5 and clip.sampler.guidance == 3
  with pytest.raises(ValueError, match="for 'sprits'"):
    generate.get_config('sprits')
