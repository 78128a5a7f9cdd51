"""`experiments.train`: both parts from end to end, interrupted and not, and its faults."""

import dataclasses
import shutil

import numpy as np
import pytest

from configs import sprites_model, sprites_vae
from experiments.requests.train import read_training
from experiments.train import __main__ as train
from experiments.train import tasks
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.runtime import checkpoint
from uniedit_jax.sprites import training_curves
from uniedit_jax.sprites.model import CONFIG

TINY = dataclasses.replace(
  CONFIG,
  unet=UNetConfig(
    channels=(32,), heads=1, groups=4, layers_per_block=1, latent_channels=2, text_width=8
  ),
  vae=VAEConfig(channels=(4, 8, 8), layers=1, groups=4, latent_channels=2, scale=1.0),
  text=dataclasses.replace(CONFIG.text, width=8, heads=1, mlp_width=8, layers=1),
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
  monkeypatch.setattr(tasks, 'CONFIG', TINY)
  monkeypatch.setattr(tasks, 'SAMPLING', dataclasses.replace(tasks.SAMPLING, steps=2, guidance=2.0))
  monkeypatch.setattr(train, 'LOG_EVERY', 2)


def small(config, cache, **changes):
  """A config of a run of seconds: two stages of three steps each."""
  config.data.clips, config.data.validation, config.cache = 2, 12, str(cache)
  config.look_every, config.warmup = 4, 2
  stage = {'steps': 3, 'images': 8, 'first_rate': 1e-2, 'last_rate': 1e-3}
  with config.unlocked():
    config.stage1 = {**stage, 'clips': 0}
    config.stage2 = {**stage, 'clips': 8 * (config.part == 'model')}
    config.update(changes)
  return config


def start(config, workdir):
  train.run(read_training(config), workdir)


@pytest.fixture(scope='module')
def vae_run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('vae')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tasks, 'CONFIG', TINY)
    patch.setattr(train, 'LOG_EVERY', 2)
    start(small(sprites_vae.get_config(), folder / 'cache'), folder / 'run')
  return folder


def test_the_vae_is_exported_with_the_scale_of_its_latents(vae_run):
  model = checkpoint.load(vae_run / 'run' / 'checkpoint', parts=('vae',))
  assert model.config.vae.scale not in (0.0, 1.0)
  assert (vae_run / 'run' / 'looks' / '000004.png').exists()
  last = training_curves.read(vae_run / 'run' / 'losses.csv', until=99)[-1]
  assert last['step'] == 6 and {'loss', 'error', 'kl', 'validation_psnr'} <= set(last)


def test_a_run_that_was_killed_before_its_export_exports(vae_run, tmp_path):
  folder = shutil.copytree(vae_run / 'run', tmp_path / 'run')
  shutil.rmtree(folder / 'checkpoint')
  start(small(sprites_vae.get_config(), vae_run / 'cache'), folder)
  folders = folder / 'checkpoint', vae_run / 'run' / 'checkpoint'
  made, whole = (checkpoint.load(path, parts=('vae',)) for path in folders)
  assert made.hash == whole.hash


def test_a_run_that_is_stopped_goes_on_with_the_same_losses(vae_run, tmp_path):
  vae = str(vae_run / 'run' / 'checkpoint')
  make = lambda **changes: small(sprites_model.get_config(), vae_run / 'cache', vae=vae, **changes)
  start(make(), tmp_path / 'whole')
  with pytest.raises(SystemExit) as stop:
    start(make(max_minutes=0.0), tmp_path / 'parts')
  assert not stop.value.code
  curves = lambda name: training_curves.read(tmp_path / name / 'losses.csv', until=99)
  assert [row['step'] for row in curves('parts')] == [2]
  start(make(), tmp_path / 'parts')

  whole, parts = curves('whole'), curves('parts')
  assert [row['step'] for row in whole] == [row['step'] for row in parts] == [2, 4, 6]
  for name in ('loss', 'images'):
    assert [row[name] for row in whole] == [row[name] for row in parts]
  assert whole[-1].keys() >= {'clips', 'validation_images', 'validation_clips', 'motion_right'}
  models = [checkpoint.load(tmp_path / name / 'checkpoint') for name in ('whole', 'parts')]
  assert models[0].hash == models[1].hash
  assert models[0].tokenizer.encode(['a red square']).shape == (1, 16)


def test_init_goes_on_from_a_checkpoint(vae_run, tmp_path):
  init = str(vae_run / 'run' / 'checkpoint')
  start(small(sprites_vae.get_config(), vae_run / 'cache', init=init), tmp_path / 'more')
  first = lambda folder: training_curves.read(folder / 'losses.csv', until=2)[0]['loss']
  assert first(tmp_path / 'more') < first(vae_run / 'run')


def test_all_faults_are_listed(tmp_path):
  changes = {'vae': str(tmp_path / 'none'), 'init': 'nothing', 'dtype': 'int8'}
  config = small(sprites_model.get_config(), tmp_path, **changes)
  config.part = 'tower'
  config.stage1.images = 3
  config.stage2.images = config.stage2.clips = 0
  config.data.validation = 1
  with pytest.raises(ValueError) as error:
    read_training(config)
  for fault in (
    "part is 'tower'; accepted: 'vae', 'model'",
    'stage1.images is 3; accepted: multiples of the 8 devices',
    'stage2 is',
    'data.validation is 1; accepted: 12 to',
    "init is 'nothing', which is no checkpoint",
    "dtype is 'int8'",
  ):
    assert fault in str(error.value)


def test_faults_of_the_model_alone(tmp_path):
  config = small(sprites_model.get_config(), tmp_path, vae='sprites', localization=-1.0)
  with pytest.raises(ValueError, match=r'localization is -1\.0; accepted: 0 to 1000'):
    read_training(config)


def test_rates_fall_in_every_stage_of_the_configs():
  for config in (sprites_vae.get_config(), sprites_model.get_config()):
    stages = [config[name] for name in sorted(config) if name.startswith('stage')]
    assert stages and all(np.diff([stage.last_rate, stage.first_rate]) > 0 for stage in stages)
