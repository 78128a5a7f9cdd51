"""The benchmark's entry point on a tiny random model that makes clips of the sprites' size."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from configs import common, sprites_benchmark
from experiments import evaluate, inversions, masks
from uniedit_jax.media import video
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.pipeline.invert import Inversion
from uniedit_jax.pipeline.model import encode_clip
from uniedit_jax.runtime import checkpoint, random_init
from uniedit_jax.runtime import workdir as record
from uniedit_jax.sprites import model, scores, scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import KINDS, Edit, Scene, draw_edits, vocabulary

WORDS = len(vocabulary())
TINY = ModelConfig(
  name='tiny',
  unet=UNetConfig(
    channels=(32, 32), heads=1, groups=4, layers_per_block=1, latent_channels=4, text_width=16
  ),
  vae=VAEConfig(channels=(4, 4, 4), layers=1, groups=2, latent_channels=4),
  text=TextConfig(
    WORDS + 2, positions=16, width=16, layers=1, heads=1, mlp_width=16, bos=WORDS, eos=WORDS + 1
  ),
  frames=4,
  height=32,
  width=32,
)
TURNED = Edit('motion', Scene(motion='rising'), Scene(motion='falling'))
METHODS = {
  'motion': ['inversion', 'structure', 'content', 'content + motion', 'all'],
  'appearance': ['inversion', 'all'],
}


def write_checkpoint(folder, config, parts=PARTS):
  words = {checkpoint.WORDS_FILE: '\n'.join(vocabulary()) + '\n'}
  with checkpoint.creating(folder, config, words) as staging:
    for part in parts:
      params = random_init.random_params(abstract_params(config, part), part=part)
      checkpoint.save_params(staging, part, params, compact=True)


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('evaluate')
  write_checkpoint(folder / 'tiny', TINY)
  return folder


def config_of(folder, **changes):
  config = sprites_benchmark.get_config()
  with config.unlocked():
    for task in METHODS:
      config[task] = common.edit(task, 'paper')
      config[task].steps = 2
    config.update_from_flattened_dict(
      {
        'checkpoint': str(folder / 'tiny'),
        'cache': str(folder / 'cache'),
        'per_kind': 1,
        'source_prompt': 'null',
        'text_to_video.clips': 2,
        'text_to_video.batch': 1,
        'text_to_video.steps': 2,
        **{name.replace('__', '.'): value for name, value in changes.items()},
      }
    )
  return config


def run(config, workdir):
  request = evaluate.read_benchmark(config)
  assert record.begin(workdir, evaluate.resolve_benchmark(config, request))
  evaluate.run(config, request, workdir)
  record.mark_done(workdir)


@pytest.fixture(scope='session')
def finished(folder):
  """The folder of a run that nothing interrupted."""
  run(config_of(folder), folder / 'finished')
  return folder / 'finished'


def test_a_run_leaves_everything(finished):
  assert all(
    (finished / name).stat().st_size > 300 for name in ('results.csv', 'index.html', 'config.json')
  )
  summary, told = (
    json.loads((finished / name).read_text()) for name in ('summary.json', 'run.json')
  )
  with open(finished / 'results.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  per_edit = {name: ['vae floor', 'reconstruction', *methods] for name, methods in METHODS.items()}
  wanted = [
    (str(i), method) for i in range(5) for method in per_edit['appearance' if i else 'motion']
  ]
  assert [(row['edit'], row['method']) for row in rows] == wanted
  # no two methods of the motion edit came to the same
  assert len({row['psnr'] for row in rows[:7]}) == 7
  assert {kind: list(methods) for kind, methods in summary['kinds'].items()} == {
    'motion': per_edit['motion'],
    **dict.fromkeys(
      ('style', 'background', 'rigid object', 'non-rigid object'), per_edit['appearance']
    ),
    scores.ALL_KINDS: per_edit['appearance'],
  }
  assert summary['methods']['motion']['all'] == ['structure', 'content', 'motion']
  assert summary['text_to_video']['held out']['all together']['count'] == 2
  assert summary['probe'] == {'exact_targets_changed': 1.0, 'unedited_sources_changed': 0.0}
  assert told['checkpoint_hash'] and set(told['seconds']) >= {
    'check the probe',
    'text to video',
    'edit',
    'write',
  }
  # The reconstruction with the null prompt, and two halves of each method: the other motion
  # references equal one.
  assert max(phase['rows'] for phase in told['phases']['motion']) == 1 + 2 * 5
  info = video.probe(finished / 'edits' / '000.mp4')
  assert (info.frames, info.width) == (4, 9 * 96 + 8 * 4)
  assert (finished / 'index.html').read_text().count('<video') == 5


def test_a_finished_run_is_not_repeated(folder, finished):
  config = config_of(folder)
  assert not record.begin(
    finished, evaluate.resolve_benchmark(config, evaluate.read_benchmark(config))
  )
  config.motion.guidance = 3.0
  with pytest.raises(ValueError, match='differs in motion'):
    record.begin(finished, evaluate.resolve_benchmark(config, evaluate.read_benchmark(config)))


def test_a_killed_run_goes_on_to_the_same_results(folder, finished, monkeypatch):
  made, invert, read = [], scoring.invert, scoring.read_text_to_video

  def killed_at(count):
    def killed(*args):
      if len(made) == count:
        raise KeyboardInterrupt
      made.append(args[2])
      return invert(*args)

    return killed

  monkeypatch.setattr(scoring, 'invert', killed_at(3))
  with pytest.raises(KeyboardInterrupt):
    run(config_of(folder), folder / 'killed')
  assert len(made) == 3 and not (folder / 'killed' / 'summary.json').exists()
  asked = []
  monkeypatch.setattr(
    scoring, 'read_text_to_video', lambda *args, **kw: asked.append(args) or read(*args, **kw)
  )
  monkeypatch.setattr(scoring, 'invert', killed_at(None))
  run(config_of(folder), folder / 'killed')
  assert made == draw_edits(scoring.SPLITS['benchmark'], 1) and asked == []
  for name in ('results.csv', 'summary.json'):
    assert (folder / 'killed' / name).read_bytes() == (finished / name).read_bytes()


def test_leftovers_of_another_config_are_not_taken(tmp_path):
  made = []
  once = lambda key: record.once(tmp_path / 'a.json', lambda x: made.append(x) or [x], key, key=key)
  assert once('a') == once('a') == ['a'] and once('b') == ['b'] and made == ['a', 'b']


def test_captions_and_noise_do_not_depend_on_the_batch(folder, monkeypatch):
  loaded, noises, scenes = checkpoint.load(folder / 'tiny'), [], []
  monkeypatch.setattr(
    scoring.sampling, 'sample_prompts', lambda a, p, noise, *_: noises.append(noise) or noise
  )
  monkeypatch.setattr(scoring, '_right', lambda clip, scene: scenes.append(scene))
  options = dict(seed=0, steps=2, guidance=4.0, dtype='float32')
  for group, numbers in (
    ('trained', range(2)),
    ('trained', range(1)),
    ('trained', range(1, 2)),
    ('held out', range(2)),
  ):
    scoring.read_text_to_video(loaded, 'benchmark', group, numbers, **options)
  assert scenes[:2] == scenes[2:4] and len(set(scenes)) == 4
  assert [scene.held_out for scene in scenes] == [False] * 4 + [True] * 2
  np.testing.assert_array_equal(noises[0], np.concatenate(noises[1:3]))
  assert not np.array_equal(noises[0][0], noises[0][1]) and not np.array_equal(noises[0], noises[3])


def clips_of(folder, **changes):
  """The clips of `TURNED`, and the task it was made by."""
  task = evaluate.read_benchmark(config_of(folder, **changes)).tasks['motion']
  source, target = (render(scene, 32, 4).frames for scene in (TURNED.source, TURNED.target))
  loaded = checkpoint.load(folder / 'tiny')
  latents = encode_clip(loaded, source, 'float32')
  inverted = scoring.invert(loaded, task, TURNED, latents, 'float32', folder / 'cache')
  return scoring.make_clips(loaded, task, *inverted, target, 'float32'), task


def close(a, b):
  return np.abs(a.astype(int) - b).max() <= 1  # other rows beside it round differently


def test_methods_made_together_are_those_made_alone(folder):
  together, _ = clips_of(folder)
  off = {'motion__content__steps': (0, 0), 'motion__motion__steps': (0, 0)}
  alone, task = clips_of(folder, **off)
  assert list(task.settings) == ['inversion', 'all'] and scoring.parts(task.settings['all']) == [
    'structure'
  ]
  assert close(together['structure'], alone['all']) and not close(together['all'], alone['all'])
  for name in ('inversion', 'reconstruction', 'vae floor'):
    assert close(together[name], alone[name])


@pytest.mark.parametrize(
  'method, given', [('ddim', 'null'), ('ddim', 'caption'), ('direct', 'null')]
)
def test_what_inversion_and_reconstruction_are_conditioned_on(folder, monkeypatch, method, given):
  asked = {}

  def invert(model, latents, text, source_prompt, schedule, steps, options, *_):
    asked.update(
      noisy=latents + steps,
      text=text,
      source_prompt=source_prompt,
      prompt=options.prompt,
      method=options.method,
    )
    return Inversion(np.stack([latents + i for i in range(steps + 1)])), False

  def edit(apply, params, start, texts, layout, *_, trajectory, sampler, masks):
    asked.update(start=start, texts=texts, stored=layout.stored, sampler=sampler)
    return {branch: start for branch in layout.branches if branch.kind in layout.wanted}

  monkeypatch.setattr(scoring.clip_inversion, 'invert', invert)
  monkeypatch.setattr(scoring.editing, 'edit', edit)
  clips, task = clips_of(folder, source_prompt=given, motion__inversion__method=method)
  caption = TURNED.source.caption if given == 'caption' else ''
  assert asked['source_prompt'] == asked['prompt'] == caption and asked['method'] == method
  assert asked['stored'].any() == (method == 'direct') and asked['sampler'] == 'ddim'
  np.testing.assert_array_equal(asked['start'], asked['noisy'])
  # Main and motion reference have the target's caption in their cond half, and the null prompt in
  # the other.
  assert list(asked['text']) == ['', TURNED.source.caption, TURNED.target.caption]
  np.testing.assert_array_equal(asked['texts'], np.stack(list(asked['text'].values())))
  texts = task.layout.texts
  assert (texts[:, 0, 1] == ['', TURNED.source.caption].index(caption)).all() and not texts[
    :, :, 0
  ].any()
  assert (texts[:, 1:, 1] == 2).all()
  assert list(clips) == ['vae floor', 'reconstruction', *METHODS['motion']]


def test_the_shipped_configs_fit_the_shipped_model(folder):
  write_checkpoint(folder / 'sprites', model.CONFIG, parts=())
  config = sprites_benchmark.get_config()
  config.checkpoint = str(folder / 'sprites')
  tasks = evaluate.read_benchmark(config).tasks
  assert {name: list(task.settings)[-1] for name, task in tasks.items()} == {
    'motion': 'all',
    'appearance': 'all',
  }
  assert 'motion' in scoring.parts(tasks['motion'].settings['all'])


def test_faults_are_listed_together_before_anything_is_loaded(folder):
  config = config_of(
    folder,
    checkpoint='/nowhere',
    split='test',
    per_kind=0,
    seed=-1,
    source_prompt='',
    dtype='f32',
    text_to_video__clips=-1,
    text_to_video__batch=0,
    text_to_video__steps=0,
    motion__structure__steps=(0, 3),
    motion__inversion__method='magic',
    motion__guided__steps=(0, 2),
    appearance__preset='papr',
    appearance__inversion__method='magic',
    appearance__steps=0,
    appearance__task='motion',
    appearance__schedule__beta_end=2.0,
  )
  with pytest.raises(ValueError) as caught:
    evaluate.read_benchmark(config)
  expected = (
    "checkpoint is '/nowhere'",
    "split is 'test'",
    'per_kind is 0',
    'seed is -1',
    "source_prompt is ''",
  )
  expected += (
    "dtype is 'f32'",
    'text_to_video.clips is -1',
    'text_to_video.batch is 0',
    'text_to_video: steps is 0',
  )
  expected += (
    'motion.structure.steps is (0, 3)',
    "motion.inversion.method is 'magic'",
    "appearance.preset is 'papr'",
  )
  expected += (
    "appearance.inversion.method is 'magic'",
    'appearance.steps is 0',
    "appearance.task is 'motion'",
  )
  expected += ('appearance.betas',)
  assert [fault for fault in expected if fault not in str(caught.value)] == []


@pytest.mark.parametrize(
  'change, message', [({'height': 64}, 'clips of (64, 32) pixels'), ({}, 'does not know')]
)
def test_a_model_of_another_world_is_refused(folder, tmp_path, change, message):
  text = dataclasses.replace(TINY.text, vocabulary=514, bos=512, eos=513, positions=77)
  other = dataclasses.replace(TINY, text=text, **change)
  files = {checkpoint.WORDS_FILE: 'cat dog\n'}
  with checkpoint.creating(tmp_path / 'other', other, files):
    pass
  with pytest.raises(ValueError) as caught:
    evaluate.read_benchmark(config_of(folder, checkpoint=str(tmp_path / 'other')))
  assert message in str(caught.value)


def test_inversions_are_compared(folder, tmp_path):
  config = config_of(folder)
  with config.unlocked():
    config.methods = ('ddim', 'obelm')
    config.motion.steps = config.appearance.steps = 4
  requests = inversions.read_inversions(config)
  assert [request.tasks['motion'].inversion.method for request in requests.values()] == [
    'ddim',
    'obelm',
  ]
  inversions.run(config, requests, tmp_path)
  with open(tmp_path / 'results.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [(row['method'], row['kind']) for row in rows[::5]] == [
    ('ddim', 'motion'),
    ('obelm', 'motion'),
  ]
  assert len(rows) == 10 and {row['calls'] for row in rows} == {'4', '12'}
  for row in rows[5:]:
    assert abs(float(row['free_psnr']) - float(row['floor_psnr'])) < 0.1  # O-BELM is exact
  lines = (tmp_path / 'table.md').read_text().splitlines()
  assert lines[0].count('|') == 8 and [line.split()[1] for line in lines[2:]] == ['ddim', 'obelm']
  with config.unlocked():
    config.methods = ('ddim', 'magic')
  with pytest.raises(ValueError, match=r"motion.inversion.method is 'magic'"):
    inversions.read_inversions(config)


def test_found_masks_are_compared_with_true_ones(folder, tmp_path):
  config = config_of(folder)
  with config.unlocked():
    config.words = 'object'
  request = masks.read_masks(config)
  masks.run(config, request, tmp_path)
  with open(tmp_path / 'results.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['masks'] for row in rows] == ['none', 'found', 'true'] * 5
  for row in rows:
    assert 0 <= float(row['source_iou']) <= 1 and (row['target_iou'] == '') == (
      row['kind'] != 'motion'
    )
  psnr = {row['masks']: row['psnr'] for row in rows if row['kind'] == 'motion'}
  assert len(set(psnr.values())) == 3  # each kind of masks changes the edit
  lines = (tmp_path / 'table.md').read_text().splitlines()
  assert [line.split('|')[1:3] for line in lines[2:]] == [
    [f' {kind} ', f' {given} '] for kind in KINDS for given in ('none', 'found', 'true')
  ]
  assert len(list((tmp_path / 'masks').iterdir())) == 5
  with config.unlocked():
    config.words = 'all'
    config.motion.mask.threshold = 2.0
  with pytest.raises(ValueError) as caught:
    masks.read_masks(config)
  assert "words is 'all'" in str(caught.value) and 'motion.mask.threshold is 2.0' in str(
    caught.value
  )
