"""The comparison's entry point on a tiny random model that makes clips of the sprites' size."""

import importlib
import json

import numpy as np
import pytest

from configs import compare, compare_sprites
from experiments import edit
from experiments.compare import __main__ as entry
from experiments.compare import cells
from experiments.requests.compare import read_compare, set_changes
from tests.helpers import tiny_run
from tests.sprites.evaluate_test import TINY, write_checkpoint
from uniedit_jax.media import video
from uniedit_jax.pipeline.request import QUICK_STEPS
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.comparison import write_comparison_report
from uniedit_jax.runtime import checkpoint, random_init
from uniedit_jax.runtime.workdir import begin, write_json
from uniedit_jax.sprites import scenes, scoring
from uniedit_jax.sprites.render import render

METHODS = ('plain', 'uniedit_release_masked')


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('compare')
  write_checkpoint(folder / 'tiny', TINY)
  return folder


def config_of(folder, **changes):
  """The short form, with the tiny model and fewer steps."""
  config = compare_sprites.get_config('quick')
  given = {'checkpoint': str(folder / 'tiny'), 'cache': str(folder / 'cache'), 'compared': METHODS}
  for name in METHODS:
    given |= {f'setups.{name}.changes.steps': 2, f'setups.{name}.changes.inspect.blocks': (0,)}
  given |= {'edits.appearance': 0}
  given = {path.replace('__', '.'): value for path, value in (given | changes).items()}
  _, of_methods = entry.split_changes([f'--config.{path}={value}' for path, value in given.items()])
  set_changes(config, of_methods)
  config.update_from_flattened_dict(
    {path: value for path, value in given.items() if '.changes.' not in path}
  )
  return config


def test_flags_change_fields_of_a_method():
  flags = ['--config.setups.plain.changes.mask.source=a.npz', '--config.seed=1']
  flags += ['--config.setups.plain.changes.structure.steps=(0,15)', '-v']
  others, changes = entry.split_changes(flags)
  assert others == ['--config.seed=1', '-v']
  config = compare.get_config()
  set_changes(config, changes)
  assert config.setups.plain.changes.to_dict() == {
    'mask': {'source': 'a.npz'},
    'structure': {'steps': (0, 15)},
  }
  with pytest.raises(ValueError, match=r'setups.plein has changes; accepted: fatezero, masactrl'):
    set_changes(config, [('plein', 'steps', 5)])


def test_a_change_of_an_unknown_field_names_the_nearest(folder, tmp_path):
  with pytest.raises(ValueError, match=r"by plain: 'stepz' is no field .* mean 'steps'"):
    read_compare(config_of(folder, setups__plain__changes__stepz=2), tmp_path)


def run(config, workdir):
  request = read_compare(config, workdir)
  entry.run(request, workdir)
  return request, json.loads((workdir / 'results.json').read_text())


@pytest.fixture(scope='session')
def finished(folder):
  config = config_of(folder)
  return config, folder / 'finished', *run(config, folder / 'finished')


def test_the_same_clip_is_edited_by_all_methods(finished):
  _, workdir, request, rows = finished
  scene = scenes.draw_edits(scoring.SPLITS['benchmark'], 20)[0]
  assert [(cell.name, cell.method) for cell in request.cells] == [('000', name) for name in METHODS]
  for cell in request.cells:
    given = cell.edit.request
    assert given.video == str(workdir / 'edits/000/source')
    assert given.source_prompt == scene.source.caption
    assert given.target_prompt == scene.target.caption and cell.edit.sampler.steps == 2
    assert bool(given.mask.target) == bool(given.mask.source) == (cell.method == METHODS[1])
    assert (workdir / 'edits/000' / cell.method / 'report.html').exists()
    assert begin(workdir / 'edits/000' / cell.method, cell.edit.as_tree()) is False
  frames = video.read_clip(workdir / 'edits/000/source', frames=4, height=32, width=32).frames
  np.testing.assert_array_equal(frames, render(scene.source, 32, 4).frames)
  masks = request.cells[1].edit.masks
  np.testing.assert_array_equal(masks['target'], render(scene.target, 32, 4).masks)
  assert [(row['edit'], row['kind'], row['method']) for row in rows] == [
    ('000', 'motion', name) for name in ('source', *METHODS)
  ]


def test_edits_are_ordinary_ones_judged_from_their_pixels(finished, tmp_path):
  _, workdir, request, rows = finished
  cell, scene = request.cells[1], request.edits['000'].scene
  clips = edit.run(cell.edit, tmp_path)
  for name in ('edit.mp4', 'metrics.json'):
    assert (tmp_path / name).read_bytes() == (
      workdir / 'edits/000' / cell.method / name
    ).read_bytes()
  assert (
    comparison_format.clip_path(workdir, '000', cell.method).read_bytes()
    == (tmp_path / 'edit.mp4').read_bytes()
  )
  source, target = (render(one, 32, 4) for one in (scene.source, scene.target))
  clips = {'source': source.frames, METHODS[1]: clips['edit']}
  found = {row['method']: row for row in rows}
  for judged in scoring.judge(scene, source, target, clips):
    row = found[judged['method']]
    assert (row['success'], row['changed']) == (judged['success'], judged['changed'])
    assert row['background_psnr'] == judged['background_psnr']
    wrong = [name for name in scenes.ATTRIBUTES if not judged[f'{name}_right']]
    assert row['attributes_right'] == round(1 - len(wrong) / 7, 4)
    assert row['wrong'] == ', '.join(wrong)
  measures = json.loads((tmp_path / 'metrics.json').read_text())
  assert found[cell.method]['frame_difference'] == measures['edit_frame_difference']
  assert found['source']['frame_difference'] == measures['source_frame_difference']
  assert found[cell.method]['seconds'] > 0 and found['source']['seconds'] is None
  assert found['source']['success'] is False


def test_what_the_scene_tells_holds_where_the_prompt_tells_something_too(
  folder, finished, tmp_path
):
  _, _, request, rows = finished
  # The measures of the shipped model have the attributes that the prompt names, of edits only.
  write_json(tmp_path / 'metrics.json', {'edit_attributes_right': 0.123})
  clip = render(request.edits['000'].scene.source, 32, 4).frames
  given = (
    request.cells[0],
    request.edits['000'],
    checkpoint.load(folder / 'tiny'),
    {'source': clip, 'edit': clip},
  )
  found = [row['attributes_right'] for row in cells.measure_cell(*given, tmp_path, 1.0)]
  assert found == [rows[0]['attributes_right']] * 2 and found[0] is not None


def test_tables_and_page(finished):
  _, workdir, request, _ = finished
  text = write_comparison_report(workdir)
  assert (
    text == (workdir / 'table.md').read_text()
    and 'Motion edits (n = 1)' in text
    and 'Appearance' not in text
  )
  assert '| Plain inversion |' in text and '| UniEdit, as released, masks |' in text
  assert comparison_format.read_comparison(workdir) == request.comparison
  page = (workdir / 'index.html').read_text()
  # Four clips, and the two in which a click shows them large.
  assert page.count('<video') == 4 + 2 and 'src="edits/000/exact_target.mp4"' in page


def test_a_rerun_makes_what_is_missing_and_nothing_twice(folder, finished, monkeypatch):
  config, _, _, rows = finished
  made, make = [], edit.make

  def counted(checked, path, *rest):
    if len(made) == killed_at:
      raise KeyboardInterrupt
    made.append(path.name)
    return make(checked, path, *rest)

  monkeypatch.setattr(edit, 'make', counted)
  killed_at = 1
  with pytest.raises(KeyboardInterrupt):
    run(config, folder / 'killed')
  killed_at = None
  _, again = run(config, folder / 'killed')
  assert made == list(METHODS)
  seconds = lambda rows: [{**row, 'seconds': None} for row in rows]
  assert seconds(again) == seconds(rows)
  # Another setting of one method is made anew, the other is kept.
  run(config_of(folder, setups__plain__changes__guidance=2.0), folder / 'killed')
  assert made == [*METHODS, 'plain']
  # A method more, a method less.
  _, fewer = run(config_of(folder, compared=METHODS[1:]), folder / 'killed')
  assert made == [*METHODS, 'plain'] and [row['method'] for row in fewer] == ['source', METHODS[1]]


def test_what_fails_is_told_after_the_others_are_made(folder, monkeypatch):
  make = edit.make
  broken = lambda checked, path, *rest: (
    1 / 0 if path.name == 'plain' else make(checked, path, *rest)
  )
  monkeypatch.setattr(edit, 'make', broken)
  with pytest.raises(ValueError, match=r'000 by plain: ZeroDivisionError: division by zero'):
    run(config_of(folder), folder / 'failed')
  assert (folder / 'failed/edits/000' / METHODS[1] / 'DONE').exists()
  assert not (folder / 'failed' / 'comparison.json').exists()


def test_a_method_that_is_no_injection(folder, tmp_path):
  setup = {'steps': 2, 'inspect__blocks': (0,)}
  changes = {f'setups__fatezero__changes__{name}': value for name, value in setup.items()}
  request, rows = run(config_of(folder, compared=('fatezero',), **changes), tmp_path)
  (cell,) = request.cells
  assert (
    cell.edit.method
    and json.loads((tmp_path / 'edits/000/fatezero/config.json').read_text())['baseline']
  )
  assert [row['method'] for row in rows] == ['source', 'fatezero'] and rows[1]['seconds'] > 0
  assert '| FateZero |' in write_comparison_report(tmp_path)
  # Its options are part of what decides whether an edit is made anew.
  changes['setups__fatezero__changes__baseline__self_share'] = 0.5
  other = read_compare(config_of(folder, compared=('fatezero',), **changes), tmp_path).cells[0]
  assert other.facts != cell.facts


def write_manifest(folder, *lines):
  (folder / 'edits.jsonl').write_text('\n'.join(map(json.dumps, lines)))
  return str(folder / 'edits.jsonl')


LINE = {
  'id': 'one',
  'task': 'appearance',
  'source_prompt': 'a red square',
  'target_prompt': 'a blue square',
}


def test_a_manifest_has_no_known_answers_and_methods_without_their_masks_are_left_out(
  folder, tmp_path
):
  video.write_mp4(tmp_path / 'clip.mp4', render(scenes.Scene(), 32, 4).frames, 8)
  manifest = write_manifest(tmp_path, {**LINE, 'video': str(tmp_path / 'clip.mp4')})
  config = config_of(folder, manifest=manifest)
  request, rows = run(config, tmp_path)
  assert request.left_out == [METHODS[1]] and [row['method'] for row in rows] == ['source', 'plain']
  assert not any('success' in row for row in rows) and 'frame_difference' in rows[1]
  text = write_comparison_report(tmp_path)
  assert 'Appearance edits (n = 1)' in text and 'success' not in text


def test_every_method_has_the_masks_of_a_manifest(tmp_path_factory, tmp_path):
  folder = tiny_run.make_folder(tmp_path_factory)
  masks = {f'mask.{side}': str(folder / f'{side}.npz') for side in ('source', 'target')}
  line = {
    'id': 'cat',
    'task': 'motion',
    'video': str(folder / 'clip.mp4'),
    'target_prompt': 'a cat jumps',
    **masks,
  }
  random_init.init_random(folder / 'sixteen', tiny_run.SIXTEEN)
  config = compare.get_config()
  config.checkpoint, config.manifest = str(folder / 'sixteen'), write_manifest(tmp_path, line)
  request = read_compare(config, tmp_path)
  assert request.left_out == [] and list(request.comparison.methods) == list(config.compared)
  given = {cell.method: cell.edit for cell in request.cells}
  assert [name for name, one in given.items() if one.masks] == [
    'uniedit_paper_masked',
    'uniedit_release_masked',
  ]
  assert not any(part.on for part in vars(given['plain'].settings[0]).values())
  assert given['uniedit_paper'].settings != given['uniedit_release'].settings
  assert {cell.edit.request.source_prompt for cell in request.cells} == {''}


def test_faults_are_listed_together(folder, tmp_path):
  with pytest.raises(ValueError) as caught:
    read_compare(
      config_of(folder, compared=('plain', 'magic'), split='x', edits__motion=21, dtype='f9'),
      tmp_path,
    )
  for part in (
    "compared is ('plain', 'magic'); accepted: some of",
    "split is 'x'",
    'edits.motion is 21',
    "dtype is 'f9'",
  ):
    assert part in str(caught.value)
  with pytest.raises(ValueError, match='edits has none of either task'):
    read_compare(config_of(folder, edits__motion=0), tmp_path)
  lines = {'id': 'a', 'task': 'colour', 'structure.steps': [0, 1]}, {'id': 'b', 'task': 'motion'}
  with pytest.raises(ValueError) as caught:
    read_compare(config_of(folder, manifest=write_manifest(tmp_path, *lines)), tmp_path)
  assert "line 1 (a): task is 'colour'" in str(
    caught.value
  ) and 'line 1 (a): structure.steps would change' in str(caught.value)
  config = config_of(
    folder,
    manifest=write_manifest(tmp_path, {**LINE, 'mask.source': 'x'}),
    setups__plain__changes__steps=0,
  )
  with pytest.raises(ValueError) as caught:
    read_compare(config, tmp_path)
  told = str(caught.value)
  assert 'one by every method: video is' in told and 'one by plain: steps is 0' in told
  assert f'one by {METHODS[1]}: mask.source' in told


def test_the_shipped_forms_are_sound(tmp_path):
  config = compare_sprites.get_config('quick')
  request = read_compare(config, tmp_path)
  assert len(request.edits) == 5 and len(request.cells) == 5 * len(config.compared)
  assert {cell.edit.sampler.steps for cell in request.cells} == {QUICK_STEPS}
  full = compare_sprites.get_config()
  assert full.edits.motion + 4 * full.edits.appearance == 20
  assert full.compared[0] == 'plain' and set(full.compared) == set(full.setups)


TABLES = ('table1', 'table2', 'table3', 'table4', 'table5', 'table6', 'figure7')


@pytest.fixture(scope='session')
def manifest(tmp_path_factory):
  """A folder with a manifest of a motion edit with masks, and a model of sixteen blocks."""
  folder = tiny_run.make_folder(tmp_path_factory)
  random_init.init_random(folder / 'sixteen', tiny_run.SIXTEEN)
  masks = {f'mask.{side}': str(folder / f'{side}.npz') for side in ('source', 'target')}
  fields = {'id': 'one', 'task': 'motion', 'video': str(folder / 'clip.mp4')}
  fields |= {'source_prompt': 'a cat sits', 'target_prompt': 'a cat jumps'}
  write_manifest(folder, fields | masks)
  return folder


@pytest.mark.parametrize('name', TABLES)
def test_the_tables_of_the_paper_run_on_sprites(tmp_path, name):
  config = importlib.import_module(f'configs.paper.{name}').get_config('quick')
  request = read_compare(config, tmp_path)
  assert len(request.cells) == len(request.edits) * len(request.comparison.methods) > 0
  assert {cell.edit.sampler.steps for cell in request.cells} == {QUICK_STEPS}


@pytest.mark.parametrize('name', TABLES)
def test_the_tables_of_the_paper_run_on_a_manifest(manifest, tmp_path, name):
  config = importlib.import_module(f'configs.paper.{name}').get_config('lavie')
  config.checkpoint, config.manifest = str(manifest / 'sixteen'), str(manifest / 'edits.jsonl')
  request = read_compare(config, tmp_path)
  assert [cell.method for cell in request.cells] == list(config.compared)
  # Rerender-A-Video has 20 steps.
  assert {cell.edit.sampler.steps for cell in request.cells} - {20} == {50}


def test_the_rows_of_table_3_are_where_content_is_preserved(manifest, tmp_path):
  config = importlib.import_module('configs.paper.table3').get_config('lavie')
  config.checkpoint, config.manifest = str(manifest / 'sixteen'), str(manifest / 'edits.jsonl')
  cells = read_compare(config, tmp_path).cells
  ranges = [(one.steps, one.blocks) for one in (cell.edit.settings[0].content for cell in cells)]
  assert ranges[0][0] == (0, 0)
  assert ranges[1:4] == [((0, 20), (10, 16)), ((0, 50), (10, 16)), ((0, 50), (8, 16))]
