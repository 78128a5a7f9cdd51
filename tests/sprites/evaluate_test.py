"""The benchmark's entry point on a tiny random model that makes clips of the sprites' size."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from configs import common, sprites_benchmark
from experiments import evaluate, inversions, masks
from experiments.requests.inversions import read_inversions
from experiments.requests.masks import read_masks
from experiments.requests.sprites import read_scoring, resolve_scoring
from uniedit_jax.media import video
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.invert import Inversion
from uniedit_jax.runtime import checkpoint, random_init
from uniedit_jax.runtime import workdir as record
from uniedit_jax.runtime.run_log import RunLog
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
  request = read_scoring(config)
  assert record.begin(workdir, resolve_scoring(request))
  evaluate.run(request, workdir)
  record.mark_done(workdir)


@pytest.fixture(scope='session')
def finished(folder):
  """The folder of a run that nothing interrupted."""
  run(config_of(folder), folder / 'finished')
  return folder / 'finished'


def test_a_run_leaves_everything(folder, finished):
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
  assert summary['reader_check'] == {'exact_targets_changed': 1.0, 'unedited_sources_changed': 0.0}
  assert told['checkpoint_hash'] and set(told['seconds']) >= {
    'check the reader',
    'text to video',
    'score',
    'write',
  }
  # The reconstruction with the null prompt, and two halves of each method: the other motion
  # references equal one.
  assert max(phase['rows'] for phase in told['phases']['motion']) == 1 + 2 * 5
  info = video.probe(finished / 'edits' / '000.mp4')
  assert (info.frames, info.width) == (4, 9 * 160 + 8 * 4)
  assert (finished / 'index.html').read_text().count('<video') == 5


def test_a_finished_run_is_not_repeated(folder, finished):
  config = config_of(folder)
  assert not record.begin(finished, resolve_scoring(read_scoring(config)))
  config.motion.guidance = 3.0
  with pytest.raises(ValueError, match='differs in tasks'):
    record.begin(finished, resolve_scoring(read_scoring(config)))


def test_a_killed_run_goes_on_to_the_same_results(folder, finished, monkeypatch):
  made, make, read = [], scoring.make_clips, scoring.read_text_to_video

  def killed_at(count):
    def killed(*args):
      if len(made) == count:
        raise KeyboardInterrupt
      made.append(args[2])
      return make(*args)

    return killed

  monkeypatch.setattr(scoring, 'make_clips', killed_at(3))
  with pytest.raises(KeyboardInterrupt):
    run(config_of(folder), folder / 'killed')
  assert len(made) == 3 and not (folder / 'killed' / 'summary.json').exists()
  asked = []
  monkeypatch.setattr(
    scoring, 'read_text_to_video', lambda *args, **kw: asked.append(args) or read(*args, **kw)
  )
  monkeypatch.setattr(scoring, 'make_clips', killed_at(None))
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
    scoring.sampling, 'sample_prompts', lambda _, noise, *__: noises.append(noise) or noise
  )
  monkeypatch.setattr(scoring, '_right', lambda clip, scene: scenes.append(scene))
  videos = scoring.TextToVideo(clips=2, batch=2, steps=2, guidance=4.0)
  options = {'seed': 0, 'options': videos, 'dtype': 'float32'}
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
  task = read_scoring(config_of(folder, **changes)).tasks['motion']
  target, loaded = render(TURNED.target, 32, 4).frames, checkpoint.load(folder / 'tiny')
  return scoring.make_clips(loaded, task, TURNED, target, RunLog())[0], task


def close(a, b):
  return np.abs(a.astype(int) - b).max() <= 1  # other rows beside it round differently


def test_methods_made_together_are_those_made_alone(folder):
  together, _ = clips_of(folder)
  off = {'motion__content__steps': (0, 0), 'motion__motion__steps': (0, 0)}
  alone, task = clips_of(folder, **off)
  assert list(task.methods) == ['inversion', 'all']
  assert scoring.parts(task.methods['all']) == ['structure']
  assert close(together['structure'], alone['all']) and not close(together['all'], alone['all'])
  for name in ('inversion', 'reconstruction', 'vae floor'):
    assert close(together[name], alone[name])


@pytest.mark.parametrize(
  'method, given', [('ddim', 'null'), ('ddim', 'caption'), ('direct', 'null')]
)
def test_what_inversion_and_reconstruction_are_conditioned_on(folder, monkeypatch, method, given):
  asked = {}

  def invert(_, clips, *__, **___):
    ((latents, texts, source_prompt, options, sampler),) = clips
    asked.update(noisy=latents + sampler.steps, text=texts, source_prompt=source_prompt)
    asked.update(prompt=options.prompt, method=options.method)
    return [(Inversion(np.stack([latents + i for i in range(sampler.steps + 1)])), False)]

  def sample(_, starts, plans, samplers, given, **__):
    (start,), (plan,), (sampler,), (conditioning,) = starts, plans, samplers, given
    asked.update(start=start, texts=conditioning.texts, plan=plan, sampler=sampler.kind)
    return [{branch: start for branch in plan.branches if branch.kind in plan.wanted}]

  monkeypatch.setattr(pipeline_edit, 'invert_clips', invert)
  monkeypatch.setattr(pipeline_edit, 'sample_edits', sample)
  clips, _ = clips_of(folder, source_prompt=given, motion__inversion__method=method)
  caption = TURNED.source.caption if given == 'caption' else ''
  assert asked['source_prompt'] == asked['prompt'] == caption and asked['method'] == method
  assert asked['plan'].stored.any() == (method == 'direct') and asked['sampler'] == 'ddim'
  np.testing.assert_array_equal(asked['start'], asked['noisy'])
  # Main and motion reference have the target's caption in their cond half, and the null prompt in
  # the other.
  prompts = list(dict.fromkeys(['', caption, TURNED.target.caption]))
  assert list(asked['text']) == prompts
  np.testing.assert_array_equal(asked['texts'], np.stack(list(asked['text'].values())))
  texts = asked['plan'].texts
  assert (texts[:, 0, 1] == prompts.index(caption)).all() and not texts[:, :, 0].any()
  assert (texts[:, 1:, 1] == prompts.index(TURNED.target.caption)).all()
  assert list(clips) == ['vae floor', 'reconstruction', *METHODS['motion']]


def test_the_shipped_configs_fit_the_shipped_model(folder, monkeypatch):
  monkeypatch.setattr(checkpoint, 'check', checkpoint.read_config)  # without weights
  write_checkpoint(folder / 'sprites', model.CONFIG, parts=())
  config = sprites_benchmark.get_config()
  config.checkpoint = str(folder / 'sprites')
  tasks = read_scoring(config).tasks
  assert {name: list(task.methods)[-1] for name, task in tasks.items()} == {
    'motion': 'all',
    'appearance': 'all',
  }
  assert 'motion' in scoring.parts(tasks['motion'].methods['all'])


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
  )
  assert_faults(config, (
    "no checkpoint at '/nowhere'", "split is 'test'", 'per_kind is 0', 'seed is -1',
    "source_prompt is ''", "dtype is 'f32'", 'text_to_video.clips is -1',
    'text_to_video.batch is 0', 'text_to_video.steps is 0',
  ))  # fmt: skip
  # Tasks are checked as edits are, with a model.
  config = config_of(
    folder,
    motion__structure__steps=(0, 3),
    motion__inversion__method='magic',
    motion__guided__steps=(0, 2),
    appearance__preset='papr',
    appearance__inversion__method='magic',
    appearance__steps=0,
    appearance__schedule__beta_end=2.0,
  )
  assert_faults(config, (
    'motion: structure.steps is (0, 3)', "motion: inversion.method is 'magic'",
    'motion: guided.steps needs masks', "appearance: preset is 'papr'",
    "appearance: inversion.method is 'magic'", 'appearance: steps is 0',
    'appearance: schedule: betas',
  ))  # fmt: skip
  assert_faults(config_of(folder, appearance__task='motion'), ["appearance: task is 'motion'"])


def assert_faults(config, expected):
  with pytest.raises(ValueError) as caught:
    read_scoring(config)
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
    read_scoring(config_of(folder, checkpoint=str(tmp_path / 'other')))
  assert message in str(caught.value)


def test_inversions_are_compared(folder, tmp_path):
  config = config_of(folder)
  with config.unlocked():
    config.methods = ('ddim', 'obelm')
    config.motion.steps = config.appearance.steps = 4
  request = read_inversions(config)
  tasks = [one.tasks['motion'].request for one in request.values()]
  assert [one.inversion.method for one in tasks] == ['ddim', 'obelm']
  inversions.run(request, tmp_path)
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
  with pytest.raises(ValueError, match=r"motion: inversion.method is 'magic'"):
    read_inversions(config)


def test_found_masks_are_compared_with_true_ones(folder, tmp_path):
  config = config_of(folder)
  with config.unlocked():
    config.words = 'object'
  masks.run(read_masks(config), tmp_path)
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
    read_masks(config)
  assert "words is 'all'" in str(caught.value) and 'motion: mask.threshold is 2.0' in str(
    caught.value
  )
