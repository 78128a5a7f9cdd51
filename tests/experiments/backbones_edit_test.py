"""Every command on every kind of model: tiny checkpoints with random weights, real video files."""

import dataclasses
import importlib
import json

import numpy as np
import pytest

from configs import appearance, batch, generate, motion
from experiments import edit as edit_entry
from experiments import generate as generate_entry
from experiments import sweep as sweep_entry
from experiments.batch_edit import run as batch_run
from experiments.requests.batch import read_batch
from experiments.requests.edit import read_edit, read_generation
from experiments.requests.sweep import read_sweep, resolve_sweep
from tests.helpers import backbones
from tests.helpers.tiny_run import TINY, config_of, make_folder
from uniedit_jax.media.frames import read_image
from uniedit_jax.models import presets
from uniedit_jax.pipeline.check import check_edit
from uniedit_jax.runtime import random_init
from uniedit_jax.runtime.workdir import begin

KINDS = {
  'videocrafter': presets.VIDEOCRAFTER2,
  'modelscope': presets.MODELSCOPE,
  'v1': presets.ANIMATEDIFF,
  'v2': presets.ANIMATEDIFF,
}
AUTO = {'mask__source': 'auto', 'mask__target': 'auto', 'mask__source_prompt': 'a cat'}
# Kinds of the tests that take longest: the second kind runs with -m slow.
LONG = ['videocrafter', pytest.param('v2', marks=pytest.mark.slow)]
BASELINES = {
  'masactrl': {},
  'plain': {},
  'tune_a_video': {'baseline__tuning_steps': 1},
  'fatezero': {'target_prompt': 'a cat painting', 'baseline__words': ('painting',)},
  'tokenflow': {'baseline__segment': 2},
  'rerender': {},
}


def tiny(name):
  """`ModelConfig` of a kind: two levels, four attention blocks."""
  unet, known = backbones.CONFIGS[name], KINDS[name]
  heads = {'head_dim': 16} if unet.head_dim else {'heads': 2}
  sizes = {'channels': (32, 32), 'groups': 8, 'layers_per_block': 1, 'text_width': 32}
  text = {'activation': known.text.activation, 'pad': known.text.pad}
  return dataclasses.replace(
    TINY,
    name=name,
    unet=dataclasses.replace(unet, **sizes, **heads),
    text=dataclasses.replace(TINY.text, **text),
    schedule=known.schedule,
    guidance=known.guidance,
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = make_folder(tmp_path_factory)
  for name in KINDS:
    random_init.init_random(folder / name, tiny(name))
  return folder


@pytest.fixture(scope='module', params=['videocrafter', 'v2'])
def of_kind(request, folder):
  """Makes the config of a module for a tiny checkpoint of a kind."""

  def make(module, **changes):
    return config_of(module, folder, checkpoint=str(folder / request.param), **changes)

  make.folder = folder / f'runs-{request.param}'
  return make


def edit(config, workdir):
  checked = read_edit(config)
  assert begin(workdir, checked.as_tree())
  return edit_entry.run(checked, workdir), json.loads((workdir / 'run.json').read_text())


def test_a_motion_edit_with_found_masks_and_inspection(of_kind):
  config = of_kind(motion, inspect__steps=(0,), **AUTO)
  clips, told = edit(config, of_kind.folder / 'motion')
  assert set(clips) >= {'source', 'reconstruction', 'motion_reference', 'edit'}
  assert not np.array_equal(clips['edit'], clips['reconstruction'])
  assert told['rows'] > 0 and (of_kind.folder / 'motion/inspect').is_dir()


def test_the_naive_plan_makes_the_same_appearance_edit_in_windows(of_kind):
  sizes = {'clip__frames': 4, 'window__frames': 3, 'window__overlap': 2}
  made = [
    edit(of_kind(appearance, plan=plan, **sizes), of_kind.folder / plan)[0]
    for plan in ('exact', 'naive')
  ]
  for name in ('reconstruction', 'edit'):
    exact, naive = (clips[name].astype(int) for clips in made)
    assert np.abs(exact - naive).max() <= 1


@pytest.mark.parametrize('of_kind', LONG, indirect=True)
@pytest.mark.parametrize('method', ['ddim', 'direct', 'fixed_point', 'obelm', 'null_text'])
def test_every_inversion_reconstructs_what_it_did_where_only_the_edit_differs(of_kind, method):
  """The reconstruction branch depends on no injection."""
  config = of_kind(appearance, inversion__method=method, source_prompt='a cat')
  plain = of_kind(
    appearance,
    inversion__method=method,
    source_prompt='a cat',
    target_prompt='a fox',
    structure__steps=(0, 0),
    content__steps=(0, 0),
  )
  first, second = (
    edit(c, of_kind.folder / f'{method}-{i}')[0] for i, c in enumerate((config, plain))
  )
  difference = first['reconstruction'].astype(int) - second['reconstruction']
  assert np.abs(difference).max() <= 1
  assert not np.array_equal(first['edit'], second['edit'])


@pytest.mark.parametrize('of_kind', LONG, indirect=True)
@pytest.mark.parametrize('name', BASELINES)
def test_every_comparison_method_edits(of_kind, name):
  module = importlib.import_module(f'configs.baselines.{name}')
  config = of_kind(module, **{'source_prompt': 'a cat'} | BASELINES[name])
  clips, told = edit(config, of_kind.folder / name)
  assert clips['edit'].shape == (4, 64, 64, 3) and told['rows'] > 0


@pytest.mark.parametrize('of_kind', LONG, indirect=True)
def test_other_values_compile_nothing(of_kind):
  config = of_kind(motion, outputs__motion_reference=False)
  compiled = []
  for end in (1, 2):
    settings = [{'motion.blocks': (0, end)}, {'content.blocks': (end, end + 2)}]
    passes, workdir = read_sweep(config, settings), of_kind.folder / f'sweep-{end}'
    begin(workdir, resolve_sweep(passes))
    assert len(passes) == 1 and len(sweep_entry.run(passes, workdir)) == 2
    told = json.loads((workdir / 'run.json').read_text())
    compiled.append(told['compilations'].get('edit', 0))
  assert compiled[0] > 0 and compiled[1] == 0


def test_edits_of_a_batch_are_what_they_are_alone(of_kind, folder):
  lines = [
    {'id': f'{i}', 'video': str(folder / 'clip.mp4'), 'target_prompt': prompt}
    for i, prompt in enumerate(('a fox', 'a hen'))
  ]
  path = of_kind.folder.with_suffix('.jsonl')
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  config = of_kind(batch, video='', target_prompt='', manifest=str(path))
  request = read_batch(config)
  assert batch_run.run(request, of_kind.folder / 'batch') == 0
  for item in request.items:
    alone = edit_entry.run(check_edit(item.edit.request), of_kind.folder / 'alone' / item.id)
    pictures = sorted((of_kind.folder / 'batch/items' / item.id / 'frames').iterdir())
    found = np.stack([read_image(picture) for picture in pictures]).astype(int)
    assert np.abs(found - alone['edit']).max() <= 1


def test_generation_and_the_edit_of_a_generated_clip(of_kind):
  config = of_kind(generate, prompt='a cat', seed=3)
  clip = generate_entry.run(read_generation(config), of_kind.folder / 'generated')
  again = of_kind(motion, video='', generated=True, source_prompt='a cat', seed=3)
  found = edit(again, of_kind.folder / 'edited')[0]
  assert np.abs(found['reconstruction'].astype(int) - clip).max() <= 1


@pytest.mark.parametrize('name', KINDS)
def test_guidance_is_the_models_unless_set(folder, name):
  of = lambda **changes: read_edit(
    config_of(motion, folder, checkpoint=str(folder / name), **changes)
  )
  assert of().sampler.guidance == of().request.guidance == KINDS[name].guidance
  assert of(guidance=3.0).sampler.guidance == 3.0


def test_more_frames_than_a_table_of_positions_has_are_told_before_anything_is_loaded(folder):
  config = config_of(
    motion, folder, checkpoint=str(folder / 'v1'), clip__frames=30, window__frames=30
  )
  with pytest.raises(ValueError, match=r'window\.frames is 30; accepted: at most 24'):
    read_edit(config)
  # Windows of the model's own length need no more positions.
  config.window.frames = None
  with pytest.raises(ValueError) as error:
    read_edit(config)
  assert 'window' not in str(error.value)
