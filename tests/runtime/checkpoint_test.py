"""Checkpoint folders: what goes in comes out, and everything else is an error with advice."""

import dataclasses
import json
import logging
import pathlib
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from tests.helpers import bucket
from tests.helpers.tiny_run import TINY
from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params, network
from uniedit_jax.models.presets import SMALL
from uniedit_jax.runtime import checkpoint, random_init

# The text tower alone is enough for most tests, and quick.
CONFIG = dataclasses.replace(SMALL, text=dataclasses.replace(SMALL.text, layers=1, mlp_width=64))


@pytest.fixture(scope='module')
def text_params():
  return random_init.random_params(abstract_params(CONFIG, 'text'), seed=3, part='text')


def save(folder, params, config=CONFIG, **options):
  """Writes a checkpoint that has only a text tower."""
  with checkpoint.creating(folder, config, random_init.byte_tokenizer(config.text)) as staging:
    checkpoint.save_params(staging, 'text', params, **options)
  return folder


@pytest.fixture(scope='module')
def saved(tmp_path_factory, text_params):
  return save(tmp_path_factory.mktemp('checkpoint') / 'model', text_params, source='a test')


@pytest.fixture(scope='module')
def random_small(tmp_path_factory):
  folder = tmp_path_factory.mktemp('random') / 'small'
  random_init.init_random(folder, SMALL, seed=1)
  return folder


def count(tree):
  return sum(x.size for x in jax.tree.leaves(tree))


def test_what_goes_in_comes_out(saved, text_params):
  model = checkpoint.load(saved, parts=('text',))
  assert model.config == CONFIG
  jax.tree.map(np.testing.assert_array_equal, model.params['text'], text_params)
  assert model.tokenizer.encode(['ab']).tolist()[0][:4] == [512, ord('a'), 256 + ord('b'), 513]
  entry = json.loads((saved / 'manifest.json').read_text())['text']
  assert entry['parameters'] == count(text_params)
  assert entry['source'] == 'a test'


def test_dtype_is_cast_on_load(saved, text_params):
  params = checkpoint.load(saved, 'bfloat16', parts=('text',)).params['text']
  expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), text_params)
  jax.tree.map(np.testing.assert_array_equal, params, expected)
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype('bfloat16')}


def test_hash_follows_parameters_and_config(saved, text_params, tmp_path):
  hashes = {checkpoint.load(saved, parts=()).hash}
  changed = jax.tree.map(np.copy, text_params)
  changed['text_model']['final_layer_norm']['bias'][0] += 1e-3
  other = dataclasses.replace(CONFIG, frames=9)
  variants = [(text_params, CONFIG), (changed, CONFIG), (text_params, other)]
  for i, (params, config) in enumerate(variants):
    hashes.add(checkpoint.load(save(tmp_path / str(i), params, config), parts=()).hash)
  assert len(hashes) == 3


def test_relative_paths(text_params, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert checkpoint.load(save('here', text_params), parts=('text',)).config == CONFIG


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
  files = random_init.byte_tokenizer(CONFIG.text)
  # A killed process has left this folder.
  (tmp_path / 'model.partial').mkdir()
  (tmp_path / 'model.partial' / 'junk').touch()
  with pytest.raises(KeyboardInterrupt), checkpoint.creating(tmp_path / 'model', CONFIG, files):
    raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(saved, tmp_path):
  files = random_init.byte_tokenizer(CONFIG.text)
  before = sorted(saved.rglob('*'))
  for folder, what in ((saved, 'a checkpoint'), (saved / 'tokenizer', 'something else')):
    with pytest.raises(FileExistsError, match=f'already holds {what}'):
      random_init.init_random(folder, CONFIG)
  assert sorted(saved.rglob('*')) == before
  (tmp_path / 'empty').mkdir()
  with checkpoint.creating(tmp_path / 'empty', CONFIG, files):
    pass
  assert (tmp_path / 'empty' / 'config.json').exists()


def test_a_folder_that_is_no_checkpoint(saved, tmp_path):
  match = r'lacks: config.json, .*unet, .*convert.lavie.*sprites'
  with pytest.raises(FileNotFoundError, match=match):
    checkpoint.load(tmp_path)
  with pytest.raises(FileNotFoundError, match='lacks: unet, vae'):
    checkpoint.load(saved)


def test_other_parameters_list_both_sides(text_params, tmp_path):
  params = jax.tree.map(np.copy, text_params)
  norm = params['text_model']['final_layer_norm']
  norm['gain'], norm['bias'] = norm.pop('scale'), np.zeros(3, np.float32)
  folder = save(tmp_path / 'model', params)
  with pytest.raises(ValueError, match=r'does not match its config\.json') as error:
    checkpoint.load(folder, parts=('text',))
  _, found, wanted = str(error.value).splitlines()
  path = 'text_model/final_layer_norm'
  assert found == f'  only in the checkpoint: {path}/bias (3,), {path}/gain (64,)'
  assert wanted == f'  only in the model: {path}/bias (64,), {path}/scale (64,)'


def test_config_is_strict():
  text = CONFIG.to_json()
  assert ModelConfig.from_json(text) == CONFIG
  data = json.loads(text)
  data['unet']['attention'] = data['unet'].pop('heads')
  del data['frames']
  data['fps'] = '8'
  data['vae'] = 3
  with pytest.raises(ValueError) as error:
    ModelConfig.from_json(json.dumps(data))
  faults = ['unknown field unet.attention', 'missing field unet.heads', 'missing field frames']
  faults += ["fps is '8'; accepted: int", 'vae is 3; accepted: VAEConfig']
  assert all(fault in str(error.value) for fault in faults)


def test_files_from_before_a_field_mean_what_was_then():
  data = json.loads(CONFIG.to_json())
  assert data['unet'].pop('frame_positions') == 0
  for part, added in {
    'schedule': {'signal_end': 1.0, 'signal_steps': 400, 'set_alpha_to_one': False},
    'text': {'activation': 'quick_gelu', 'pad': -1},
  }.items():
    assert {name: data[part].pop(name) for name in added} == added
  assert ModelConfig.from_json(json.dumps(data)) == CONFIG


def test_parts_must_fit_together():
  text = dataclasses.replace(CONFIG.text, width=32)
  with pytest.raises(ValueError, match=r'unet.text_width is 64, text.width is 32; 60 x 96 pixels'):
    dataclasses.replace(CONFIG, text=text, height=60)


def test_special_tokens_are_of_the_vocabulary():
  text = dataclasses.replace(CONFIG.text, pad=514)
  with pytest.raises(ValueError, match=r'text.pad is 514; accepted: less than text.vocabulary'):
    dataclasses.replace(CONFIG, text=text)


def test_random_small_model_is_sane(random_small):
  model = checkpoint.load(random_small)
  config, size = model.config, (2, model.config.height, model.config.width, 3)

  def apply(part, *inputs, **options):
    function = lambda p, *x: network(config, part).apply({'params': p}, *x, **options)
    return jax.jit(function)(model.params[part], *inputs)

  text = apply('text', model.tokenizer.encode(['a cat']))[0]
  frames = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
  latents = apply('vae', frames, method='encode')
  decoded = apply('vae', latents, method='decode')
  epsilon, _ = apply('unet', latents, 981, text)
  assert latents.shape == epsilon.shape == (2, 8, 12, 4)
  for x in (text, latents, decoded, epsilon):
    assert 0.2 < float(x.std()) < 3 and abs(float(x.mean())) < 0.5


def test_random_parameters_depend_on_seed_and_path_only(random_small):
  abstract = abstract_params(SMALL, 'text')
  loaded = checkpoint.load(random_small, parts=('text',)).params['text']
  again = random_init.random_params(abstract, seed=1, part='text')
  jax.tree.map(np.testing.assert_array_equal, loaded, again)
  layer = again['text_model']['encoder']['layers_0']
  assert not np.array_equal(layer['mlp']['fc1']['kernel'], layer['mlp']['fc2']['kernel'].T)
  other = random_init.random_params(abstract, seed=2, part='text')
  other_layer = other['text_model']['encoder']['layers_0']
  assert not np.array_equal(layer['layer_norm1']['bias'], other_layer['layer_norm1']['bias'])


def test_byte_tokenizer_needs_room():
  with pytest.raises(ValueError, match='vocabulary of at least 514'):
    random_init.byte_tokenizer(dataclasses.replace(CONFIG.text, bos=0))


def test_loading_is_quiet(saved, caplog):
  with caplog.at_level(logging.INFO):
    checkpoint.load(saved, parts=('text',))
  assert not [r for r in caplog.records if 'orbax' in r.pathname]


def test_compact_parts_are_float16_files(text_params, tmp_path):
  folder = save(tmp_path / 'model', text_params, compact=True)
  assert not (folder / 'text').exists()
  size = (folder / 'text.safetensors').stat().st_size
  assert 2 * count(text_params) < size < 2.2 * count(text_params)
  loaded = checkpoint.load(folder, parts=('text',)).params['text']
  half = lambda x: x.astype(np.float16).astype(np.float32)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, half(b)), loaded, text_params)
  assert {x.dtype for x in jax.tree.leaves(loaded)} == {jnp.dtype('float32')}


def test_compact_parts_of_another_shape_are_refused(text_params, tmp_path):
  params = jax.tree.map(np.copy, text_params)
  params['text_model']['final_layer_norm']['bias'] = np.zeros(3, np.float32)
  folder = save(tmp_path / 'model', params, compact=True)
  match = r'text.safetensors does not match[\s\S]*final_layer_norm/bias \(3,\)'
  with pytest.raises(ValueError, match=match):
    checkpoint.load(folder, parts=('text',))


@pytest.fixture(scope='module')
def compact(tmp_path_factory):
  """A checkpoint of three small files, and its parameters in float16."""
  folder, parts = tmp_path_factory.mktemp('compact') / 'model', {}
  with checkpoint.creating(folder, TINY, random_init.byte_tokenizer(TINY.text)) as staging:
    for part in PARTS:
      parts[part] = random_init.random_params(abstract_params(TINY, part), seed=5, part=part)
      checkpoint.save_params(staging, part, parts[part], compact=True)
  return folder, jax.tree.map(np.float16, parts)


def test_files_are_mapped_and_read_side_by_side(compact, monkeypatch):
  folder, stored = compact
  readers, together = set(), threading.Barrier(len(stored), timeout=60)
  restore = checkpoint.restore

  def meet(*args, **kwargs):
    readers.add(threading.get_ident())
    together.wait()
    return restore(*args, **kwargs)

  def refuse(path):
    raise AssertionError(f'{path} is read whole')

  monkeypatch.setattr(checkpoint, 'restore', meet)
  monkeypatch.setattr(type(folder / 'unet.safetensors'), 'read_bytes', refuse)
  params = checkpoint.load(folder).params
  assert len(readers) == len(stored) == 3 and list(params) == list(PARTS)
  jax.tree.map(np.testing.assert_array_equal, params, jax.tree.map(np.float32, stored))
  assert {leaf.committed for leaf in jax.tree.leaves(params)} == {True}


def test_remote_files_are_read(compact):
  folder, stored = compact
  with bucket.opened():
    there = epath.Path('gs://box/model')
    for path in filter(pathlib.Path.is_file, pathlib.Path(folder).rglob('*')):
      (there / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())
    assert checkpoint.count_parameters(there) == count(stored)
    params = checkpoint.load(there, 'bfloat16').params
  expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), stored)
  jax.tree.map(np.testing.assert_array_equal, params, expected)


@pytest.mark.parametrize('content', [b'', b'no safetensors'])
def test_a_damaged_part_of_several_is_named(compact, tmp_path, content):
  shutil.copytree(compact[0], tmp_path / 'model')
  (tmp_path / 'model/vae.safetensors').write_bytes(content)
  with pytest.raises(ValueError, match=r'vae\.safetensors'):
    checkpoint.load(tmp_path / 'model')


def test_parameters_are_counted_without_the_model(random_small, saved):
  parts = (abstract_params(SMALL, part) for part in PARTS)
  assert checkpoint.count_parameters(random_small) == sum(map(count, parts))
  # This one has no UNet.
  assert checkpoint.count_parameters(saved) is None


def test_the_shipped_model_is_what_its_config_says():
  """`load` leaves this to the test."""
  folder = checkpoint.locate('sprites')
  config = ModelConfig.from_json((folder / 'config.json').read_text())
  for part in PARTS:
    checkpoint.restore(folder, part, abstract_params(config, part))


def test_the_shipped_model_goes_by_name():
  model = checkpoint.load('sprites')
  assert model.config.name == 'sprites' and model.config.unet.blocks == 16
  assert model.tokenizer.encode(['a big red square jumping']).shape == (1, 16)
  folder = checkpoint.locate('sprites')
  files = filter(pathlib.Path.is_file, pathlib.Path(folder).rglob('*'))
  assert sum(path.stat().st_size for path in files) <= 25e6
  assert checkpoint.locate('./sprites') != folder
