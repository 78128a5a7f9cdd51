"""The entry points on a tiny random checkpoint and real video files."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs import appearance, chain, generate, image, motion, rerun
from experiments import chain as chain_entry
from experiments import edit as edit_entry
from experiments import generate as generate_entry
from experiments.requests.chain import read_chain
from experiments.requests.edit import read_edit, read_generation
from tests.helpers.tiny_run import TINY, config_of, make_folder
from uniedit_jax.media import camera, video
from uniedit_jax.media.masks import read_masks
from uniedit_jax.metrics import pixel
from uniedit_jax.runtime import memory, random_init
from uniedit_jax.runtime.workdir import begin, clear, mark_done

AUTO = {'mask__source': 'auto', 'mask__target': 'auto', 'mask__source_prompt': 'a cat'}
CLIPS = (
  'source.mp4',
  'reconstruction.mp4',
  'motion_reference.mp4',
  'edit.mp4',
  'edit.gif',
  'side_by_side.mp4',
)


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


def run(config, workdir):
  edit = read_edit(config)
  assert begin(workdir, edit.as_tree())
  clips = edit_entry.run(edit, workdir)
  mark_done(workdir)
  return clips, *(json.loads((workdir / name).read_text()) for name in ('metrics.json', 'run.json'))


@pytest.fixture(scope='session')
def motion_run(folder):
  config = config_of(motion, folder)
  return config, folder / 'motion', *run(config, folder / 'motion')


def test_a_motion_edit_leaves_everything(motion_run):
  _, workdir, clips, metrics, run_record = motion_run
  assert all(
    (workdir / name).stat().st_size > 500 for name in (*CLIPS, 'report.html', 'config.json')
  )
  assert (workdir / 'DONE').exists()
  assert len(list((workdir / 'frames').iterdir())) == 4
  for name in ('edit', 'reconstruction', 'motion_reference'):
    assert video.probe(workdir / f'{name}.mp4')[:3] == (4, 64, 64)
    assert clips[name].shape == (4, 64, 64, 3)
  assert not np.array_equal(clips['edit'], clips['motion_reference'])
  assert metrics['reconstruction_psnr_db'] > 0 and metrics['vae_round_trip_psnr_db'] > 0
  assert [phase['rows'] for phase in run_record['phases']] == [3, 5] and run_record['rows'] == 8
  # The steps of 3 and of 5 rows are two programs, the first of which was compiled during the load.
  assert run_record['compilations']['edit'] <= 1
  # The steps of the inversion and of the drift, and three that stack latents and texts: six were
  # the inversion's second step compiled again.
  assert run_record['compilations']['invert'] <= 5
  assert set(run_record['seconds']) >= {'load', 'invert', 'edit', 'decode'}
  assert run_record['peak_memory_bytes'] > 1e8 and run_record['checkpoint_hash']
  resolved = json.loads((workdir / 'config.json').read_text())
  assert resolved['structure']['steps'] == [0, 1] and resolved['clip']['frames'] == 4


def test_a_finished_run_is_not_repeated(motion_run):
  config, workdir, *_ = motion_run
  resolved = read_edit(config).as_tree()
  assert not begin(workdir, resolved)
  with pytest.raises(ValueError, match='differs in guidance'):
    begin(workdir, {**resolved, 'guidance': 3.0})


def test_config_json_fed_back_makes_the_same_bits(folder, motion_run):
  _, workdir, clips, *_ = motion_run
  config = rerun.get_config(workdir / 'config.json')
  again, *_ = run(config, folder / 'rerun')
  assert (folder / 'rerun/config.json').read_bytes() == (workdir / 'config.json').read_bytes()
  for name, clip in clips.items():
    np.testing.assert_array_equal(again[name], clip)


@pytest.mark.parametrize(
  'changes', [{'generated': True, 'video': ''}, {'window__frames': 3, 'window__overlap': 1}]
)
def test_config_json_can_be_read_back(folder, tmp_path, changes):
  config = config_of(
    motion, folder, source_prompt='a cat', more_target_prompts=('a hen',), **changes
  )
  begin(tmp_path, read_edit(config).as_tree())
  back = rerun.get_config(tmp_path / 'config.json')
  assert json.loads((tmp_path / 'config.json').read_text()) == json.loads(
    json.dumps(read_edit(back).as_tree())
  )
  (tmp_path / 'other.json').write_text('{"split": "benchmark"}')
  with pytest.raises(ValueError, match='is the config of another kind of run'):
    rerun.get_config(tmp_path / 'other.json')


def test_the_inversion_is_reused_over_prompts_and_the_reconstruction_is_the_same(
  folder, motion_run
):
  *_, clips, metrics, _ = motion_run
  config = config_of(motion, folder, target_prompt='a bear')
  again, again_metrics, run_record = run(config, folder / 'bear')
  assert run_record['inversion_cached'] and run_record['compilations'].get('edit', 0) == 0
  np.testing.assert_array_equal(again['reconstruction'], clips['reconstruction'])
  assert again_metrics['reconstruction_psnr_db'] == metrics['reconstruction_psnr_db']
  assert not np.array_equal(again['edit'], clips['edit'])


def test_unwanted_clips_let_the_plan_drop_rows(folder):
  config = config_of(appearance, folder, outputs__reconstruction=False)
  clips, metrics, run_record = run(config, folder / 'only_edit')
  assert set(clips) == {'source', 'edit'} and metrics['reconstruction_psnr_db'] is None
  assert run_record['rows'] < 8 and not (folder / 'only_edit' / 'reconstruction.mp4').exists()


def test_direct_inversion_reports_its_drift_and_is_looked_at_for_masks(folder):
  auto = {'mask__source': 'auto', 'mask__source_prompt': 'a cat'}
  config = config_of(appearance, folder, inversion__method='direct', **auto)
  _, metrics, _ = run(config, folder / 'direct')
  assert metrics['reconstruction_is_stored_trajectory']
  assert metrics['reconstruction_psnr_db'] == metrics['vae_round_trip_psnr_db']
  assert metrics['free_running_reconstruction_psnr_db'] != metrics['reconstruction_psnr_db']
  assert (folder / 'direct/masks/source/003.png').exists()


def test_obelm_comes_back_to_what_the_vae_makes_of_the_clip(folder):
  _, metrics, _ = run(
    config_of(appearance, folder, inversion__method='obelm', steps=4), folder / 'obelm'
  )
  assert metrics['reconstruction_psnr_db'] == pytest.approx(
    metrics['vae_round_trip_psnr_db'], abs=0.02
  )


def test_all_that_an_edit_leaves_is_cleared_for_another(motion_run, tmp_path):
  folder = shutil.copytree(motion_run[1], tmp_path / 'run')
  for name in ('frames_2', 'masks', 'inspect'):
    (folder / name).mkdir()
  assert len(list(folder.iterdir())) > 12
  clear(folder)
  assert {path.name for path in folder.iterdir()} == {'config.json', 'inputs.json'}


def test_masks_are_used_and_written(folder, motion_run):
  masks = {f'mask__{side}': str(folder / f'{side}.npz') for side in ('source', 'target')}
  config = config_of(motion, folder, preset='release', **masks)
  clips, metrics, _ = run(config, folder / 'masked')
  assert (folder / 'masked/masks/source.mp4').exists() and (
    folder / 'masked/masks/target/003.png'
  ).exists()
  assert metrics['edit_source_background_psnr_db'] > 0
  unmasked, *_ = run(config_of(motion, folder, preset='release'), folder / 'unmasked')
  assert not np.array_equal(clips['edit'], unmasked['edit'])


def test_a_clip_of_windows_with_masks_that_are_found(folder, motion_run):
  *_, whole, _, _ = motion_run
  changes = {
    **AUTO,
    'mask__target_words': ('fox',),
    'mask__smoothing': 0.0,
    'window__frames': 3,
    'window__overlap': 1,
  }
  clips, *_ = run(config_of(motion, folder, **changes), folder / 'windows')
  assert clips['edit'].shape == whole['edit'].shape and not np.array_equal(
    clips['edit'], whole['edit']
  )
  masks = [read_masks(folder / f'windows/masks/{side}', 4, 64, 64) for side in ('source', 'target')]
  assert not np.array_equal(*masks)


def test_edits_of_one_clip_share_its_rows(folder, motion_run):
  *_, alone, metrics, _ = motion_run
  config = config_of(motion, folder, more_target_prompts=('a bear', 'a hen'))
  clips, measures, run_record = run(config, folder / 'three')
  assert [phase['rows'] for phase in run_record['phases']] == [1 + 2 * 3, 1 + 4 * 3]
  assert {'edit_3', 'motion_reference_3'} <= set(clips) and (folder / 'three/edit_2.gif').exists()
  assert np.abs(clips['edit'].astype(int) - alone['edit']).max() <= 1
  assert not np.array_equal(clips['edit_2'], clips['edit_3'])
  assert measures['edit_source_psnr_db'] == pytest.approx(metrics['edit_source_psnr_db'], abs=0.01)
  assert (
    measures['edit_3_source_psnr_db'] > 0 and len(list((folder / 'three/frames_2').iterdir())) == 4
  )
  # One more than there are clips: the source that the slider draws over the edit.
  assert (folder / 'three/report.html').read_text().count('<video') == 8 + 1


def test_an_edit_is_edited_again(folder, motion_run):
  config = chain.get_config()
  with config.unlocked():
    config.motion = motion_run[0].copy_and_resolve_references()
    config.appearance = config_of(appearance, folder, video='', target_prompt='a fox, oil painting')
  chain_entry.run(read_chain(config), folder / 'chain')
  first, second = folder / 'chain/motion', folder / 'chain/appearance'
  assert all((part / name).exists() for part in (first, second) for name in ('DONE', 'report.html'))
  source = video.read_clip(first / 'frames', frames=4, height=64, width=64).frames
  np.testing.assert_array_equal(source, motion_run[2]['edit'])
  metrics = json.loads((second / 'metrics.json').read_text())
  assert metrics['source_frame_difference'] == pytest.approx(
    pixel.frame_difference(source), abs=1e-6
  )
  config.appearance.target_prompt = ' '
  config.appearance.video = 'clip.mp4'
  with pytest.raises(ValueError) as error:
    read_chain(config)
  assert 'appearance.video, image or' in str(error.value) and "target_prompt is ''" in str(
    error.value
  )


def test_a_photo_is_filmed_and_edited(folder):
  Image.fromarray(np.uint8(np.random.default_rng(0).integers(256, size=(90, 160, 3)))).save(
    folder / 'photo.png'
  )
  changes = {
    'video': '',
    'image': str(folder / 'photo.png'),
    'move__kind': 'pan',
    'move__amount': 0.3,
    'outputs__plain': True,
  }
  clips, metrics, _ = run(config_of(image, folder, **changes), folder / 'photo')
  expected = camera.film_image(changes['image'], camera.CameraMove('pan', 0.3), 4, 64, 64)
  np.testing.assert_array_equal(clips['source'], expected)
  assert (folder / 'photo/motion_reference.mp4').exists() and metrics['source_frame_difference'] > 0
  # The report shows the same edit with nothing injected too.
  assert not np.array_equal(clips['edit'], clips['plain'])
  assert metrics['plain_source_psnr_db'] != metrics['edit_source_psnr_db']
  assert 'plain: nothing is injected' in (folder / 'photo/report.html').read_text()


def test_a_generated_clip_is_the_reconstruction_of_its_edit(folder):
  config = config_of(generate, folder, prompt='a cat', seed=3)
  (folder / 'generated').mkdir()
  clip = generate_entry.run(read_generation(config), folder / 'generated')
  changes = {
    'video': '',
    'generated': True,
    'source_prompt': 'a cat',
    'seed': 3,
    'preset': 'release',
  }
  clips, metrics, _ = run(config_of(motion, folder, **changes), folder / 'edit_of_generated')
  # another row count rounds differently
  assert np.abs(clips['reconstruction'].astype(int) - clip).max() <= 1
  assert 'edit_source_psnr_db' not in metrics


def test_a_size_is_a_multiple_of_the_factor_of_its_model(folder, tmp_path):
  vae = dataclasses.replace(TINY.vae, channels=(8, 8, 8))
  random_init.init_random(tmp_path / 'four', dataclasses.replace(TINY, vae=vae))
  config = config_of(motion, folder, checkpoint=str(tmp_path / 'four'))
  config.clip.height = config.clip.width = 36
  clips, *_ = run(config, tmp_path / 'larger')
  assert {clip.shape for clip in clips.values()} == {(4, 36, 36, 3)}
  config.clip.height = 34
  with pytest.raises(ValueError, match=r'clip\.height is 34; accepted: a positive multiple of 4'):
    read_edit(config)


def test_faults_are_listed_together_before_anything_is_loaded(folder):
  config = config_of(
    motion,
    folder,
    checkpoint='/nowhere',
    video=str(folder / 'missing.mp4'),
    target_prompt=' ',
    structure__steps=(0, 3),
    content__tensors=('w',),
    mask__target=str(folder / 'target.npz'),
    inversion__method='magic',
    plan='best',
    rows_per_pass=0,
  )
  with pytest.raises(ValueError) as caught:
    read_edit(config)
  message = str(caught.value)
  expected = (
    'missing.mp4',
    "no checkpoint at '/nowhere'",
    "target_prompt is ''",
    'structure.steps is (0, 3)',
  )
  expected += (
    "content.tensors is ('w',)",
    "mask.source is ''",
    "'magic'",
    "plan is 'best'",
    'rows_per_pass is 0',
  )
  assert [fault for fault in expected if fault not in message] == []
  assert message.index('missing.mp4') < message.index('/nowhere')


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'target_prompt': 'x' * 80}, 'has 82 tokens; accepted: at most 77'),
    ({'clip__frames': 9}, 'frames=9'),
    ({'window__frames': 5}, 'window.frames is 5 for a clip of 4 frames; accepted: 1 to 4'),
    (
      {'window__frames': 2, 'window__overlap': 2},
      'window.overlap is 2 for windows of 2 frames; accepted: 0 to 1',
    ),
    ({'clip__frames': 0}, 'clip.frames is 0'),
    ({'clip__height': 60}, 'accepted: a positive multiple of 8'),
    ({'rows_per_pass': 1}, 'rows_per_pass is 1; accepted: at least'),
    ({'steps': 0}, 'steps is 0; accepted: 1 to 999'),
    (
      {'inversion__inner_steps': 3},
      "inner_steps is 3 with method 'direct'; accepted: at least 1, with fixed_point or",
    ),
    (
      {'mask__source': 'auto', 'mask__target': 'auto'},
      "mask.source_prompt is '' with mask.source='auto'",
    ),
    (
      {'mask__source': 'auto'},
      "mask.target is '' but mask.source is given; accepted: both or neither",
    ),
    (
      {**AUTO, 'mask__source_words': ('bear',)},
      "mask.source_words: 'bear' is not in the prompt 'a cat'",
    ),
    (
      {**AUTO, 'mask__source_prompt': 'a fox'},
      "mask.source_words is () and the prompt 'a fox' has no word that",
    ),
    ({**AUTO, 'mask__blocks': (0, 1)}, 'accepted: blocks of one grid'),
    (
      {'more_target_prompts': ('a bear', 'a fox')},
      "more_target_prompts is ('a bear', 'a fox'); accepted: a tuple",
    ),
    (
      {**AUTO, 'more_target_prompts': ('a bear',)},
      "mask.target is 'auto' with more_target_prompts",
    ),
    ({**AUTO, 'task': 'appearance'}, "mask.target is 'auto' with task 'appearance'"),
    ({'preset': 'papr'}, "preset is 'papr'"),
    ({'schedule__beta_end': 2.0}, 'betas'),
    ({'generated': True}, "clip.mp4' and generated is True; accepted: one of them"),
    ({'image': 'photo.png'}, "image is 'photo.png'; accepted: one of them"),
    ({'image': 'photo.png', 'video': ''}, "image is 'photo.png', which does not exist here"),
    (
      {'image': 'photo.png', 'video': '', 'move__kind': 'dolly'},
      "move.kind is 'dolly'; accepted: 'pan'",
    ),
    ({'dtype': 'f32'}, "dtype is 'f32'"),
  ],
)
def test_single_faults(folder, changes, message):
  with pytest.raises(ValueError) as caught:
    read_edit(config_of(motion, folder, **changes))
  assert message in str(caught.value)


def test_equal_prompts_are_a_warning(folder):
  edit = read_edit(config_of(appearance, folder, source_prompt='a fox'))
  assert 'should change nothing' in edit.warnings[0]


@pytest.mark.parametrize(
  'module, changes, expected',
  [
    (appearance, {}, ('ddim', 'a cat')),
    (appearance, {'inversion__prompt': ''}, ('ddim', '')),
    (motion, {}, ('direct', 'a cat')),
    (motion, {'inversion__method': 'ddim'}, ('ddim', 'a cat')),
    (motion, {'video': '', 'generated': True}, ('ddim', 'a cat')),
  ],
)
def test_how_a_clip_is_inverted_unless_told_otherwise(folder, module, changes, expected):
  edit = read_edit(config_of(module, folder, source_prompt='a cat', **changes))
  resolved = edit.as_tree()['inversion']
  found = edit.inversion.method, edit.inversion.prompt
  assert found == (resolved['method'], resolved['prompt']) == expected


def test_too_little_memory_names_the_setting_that_fits(folder, monkeypatch):
  monkeypatch.setattr(memory, 'available', lambda: memory.needed(TINY, 3, 4, 64, 64, 'float32'))
  with pytest.raises(ValueError, match='accepted: rows_per_pass=3'):
    read_edit(config_of(motion, folder))


def test_the_command_line_overrides_and_refuses(folder):
  command = [
    sys.executable,
    '-m',
    'experiments.edit',
    '--config=configs/motion.py',
    f'--workdir={folder}/cli',
  ]
  done = subprocess.run([*command, '--config.stepz=3'], capture_output=True, text=True, check=False)
  assert done.returncode != 0
  assert done.stderr == "config.stepz is no field of configs/motion.py; did you mean 'steps'?\n"
  overrides = ['--config.structure.steps=(0,99)', '--config.video=none.mp4']
  done = subprocess.run([*command, *overrides], capture_output=True, text=True, check=False)
  assert (
    done.returncode != 0
    and 'structure.steps is (0, 99)' in done.stderr
    and 'Traceback' not in done.stderr
  )
