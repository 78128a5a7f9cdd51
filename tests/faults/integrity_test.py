"""Checkpoints, configs and published weights that are damaged: what is wrong is named early."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from convert import diffusers_folder, rules, weight_files
from tests.helpers.tiny_run import TINY
from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params
from uniedit_jax.models.vae import VAEConfig
from uniedit_jax.runtime import checkpoint, random_init, weights

POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n'


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A checkpoint with a tree (text) and two files."""
  folder = tmp_path_factory.mktemp('whole') / 'model'
  with checkpoint.creating(folder, TINY, random_init.byte_tokenizer(TINY.text)) as staging:
    for part in PARTS:
      params = random_init.random_params(abstract_params(TINY, part), part=part)
      checkpoint.save_params(staging, part, params, compact=part != 'text')
  return folder


@pytest.fixture
def copy(whole, tmp_path):
  return epath.Path(shutil.copytree(whole, tmp_path / 'model'))


def cut(name):
  return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def put(name, content):
  return lambda folder: (folder / name).write_bytes(content)


def remove(name):
  return lambda folder: (folder / name).unlink()


def cut_data(folder):
  path = max(weights.part_files(folder, 'text'), key=lambda path: path.stat().length)
  path.write_bytes(path.read_bytes()[:-9])


def without_digest(folder):
  manifest = json.loads((folder / 'manifest.json').read_text())
  del manifest['vae']['sha256']
  (folder / 'manifest.json').write_text(json.dumps(manifest))


def of_earlier_version(folder):
  """The manifest of before it listed files, and a file cut."""
  manifest = json.loads((folder / 'manifest.json').read_text())
  for entry in manifest.values():
    del entry['files']
  (folder / 'manifest.json').write_text(json.dumps(manifest))
  cut('vae.safetensors')(folder)


@pytest.mark.parametrize(
  'damage, words',
  [
    (remove('text/_METADATA'), ('text/_METADATA is missing',)),
    (remove('text/manifest.ocdbt'), ('text/manifest.ocdbt is missing',)),
    (cut_data, ('/text/', 'bytes; accepted:')),
    (cut('vae.safetensors'), ('vae.safetensors has', 'as it was written')),
    (of_earlier_version, ('vae.safetensors cannot be read', 'accepted: a whole')),
    (put('vae.safetensors', POINTER), ('vae.safetensors is a Git LFS pointer', 'git lfs pull')),
    (put('config.json', POINTER), ('config.json is a Git LFS pointer',)),
    (remove('unet.safetensors'), ('lacks: unet',)),
    (remove('manifest.json'), ('lacks: manifest.json',)),
    (cut('manifest.json'), ('manifest.json is no JSON',)),
    (put('manifest.json', b'[]'), ('manifest.json holds []',)),
    (put('config.json', b'{"a'), ('config.json is no JSON',)),
    (put('config.json', b'null'), ('config.json holds None',)),
    (put('config.json', b'\xff\xfe'), ('config.json is no JSON',)),
    (put('config.json', b'[' * 10**5), ('config.json is no JSON',)),
    (without_digest, ('manifest.json: vae is', "'sha256'")),
  ],
)
def test_a_checkpoint_that_is_not_whole_is_refused_before_it_is_loaded(copy, damage, words):
  checkpoint.check(copy)
  damage(copy)
  with pytest.raises((ValueError, OSError)) as error:
    checkpoint.check(copy)
  assert [word for word in words if word not in str(error.value)] == []


def flip(folder, part):
  path = max(weights.part_files(folder, part), key=lambda path: path.stat().length)
  data = bytearray(path.read_bytes())
  for i in range(len(data) * 2 // 3, len(data) * 2 // 3 + 40):
    data[i] ^= 5
  path.write_bytes(bytes(data))


def rewrite(change):
  """Changes all arrays of the VAE, which keep their names and the file its size."""

  def damage(folder):
    path = folder / 'vae.safetensors'
    tensors = safetensors.numpy.load_file(path)
    path.write_bytes(safetensors.numpy.save({name: change(x) for name, x in tensors.items()}))

  return damage


@pytest.mark.parametrize(
  'damage, words',
  [
    (lambda folder: flip(folder, 'vae'), ('vae.safetensors',)),
    (lambda folder: flip(folder, 'text'), ('/text',)),
    (rewrite(lambda x: x / 2), ('vae.safetensors is damaged or was replaced', 'sha256')),
    (rewrite(lambda x: x * np.float16(np.nan)), ('vae.safetensors has NaN or infinite numbers',)),
    (rewrite(lambda x: x.view(np.int16)), ('vae.safetensors', 'is I16', 'accepted: F16')),
  ],
)
def test_other_parameters_than_were_written_are_refused(copy, tmp_path, damage, words):
  cache = tmp_path / 'cache'
  before = checkpoint.fingerprint(copy, cache)
  assert before == checkpoint.fingerprint(copy, cache)
  damage(copy)
  for read in (checkpoint.fingerprint, lambda folder, cache: checkpoint.load(folder, cache=cache)):
    with pytest.raises(ValueError) as error:
      read(copy, cache)
    assert [word for word in words if word not in str(error.value)] == []


def test_files_that_have_not_changed_are_not_read_again(copy, tmp_path, monkeypatch):
  checkpoint.load(copy, cache=tmp_path / 'cache')
  monkeypatch.setattr(weights, '_read_all', lambda path: pytest.fail(f'{path} is read again'))
  checkpoint.load(copy, cache=tmp_path / 'cache')


@pytest.mark.parametrize(
  'params, words',
  [
    ({'x': np.array([1.0, np.nan])}, 'NaN or infinite numbers in x'),
    ({'x': np.array([1e6])}, 'NaN or infinite numbers in x'),  # as float16
    ({'x': np.array([1])}, r'x \(int64\)'),
  ],
)
def test_parameters_that_no_model_has_are_not_saved(tmp_path, params, words):
  with pytest.raises(ValueError, match=words), checkpoint.creating(tmp_path / 'm', TINY, {}) as new:
    checkpoint.save_params(new, 'vae', params, compact=True)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'field, value',
  [
    *[('fps', value) for value in (0, -8, 8.0, None, True, '8')],
    *[('unet.heads', value) for value in (0, -1, 10**6, [1])],
    *[('unet.groups', value) for value in (0, 10**6)],
    *[('unet.layers_per_block', value) for value in (0, 10**6)],
    *[('unet.channels', value) for value in ([], ['a'], [32, True], 32, [32] * 20, [0], [10**9])],
    *[('vae.channels', value) for value in ([], {}, [8, None])],
    *[('vae.scale', value) for value in (0, -1.0, float('nan'), float('inf'), 'x')],
    *[('text.layers', value) for value in (0, 10**6)],
    *[('text.vocabulary', value) for value in (0, 500, 10**9)],
    *[('schedule.offset', value) for value in (999, -5)],
    *[('schedule.beta_end', value) for value in (2.0, float('nan'))],
    *[('schedule.train_steps', value) for value in (0, 10**9)],
    *[('unet.frame_positions', value) for value in (-1, 3)],
    *[('height', value) for value in (0, -64, 10**8, 63)],
    ('frames', 0), ('unet', []), ('schedule', None),
  ],
)  # fmt: skip
def test_a_config_that_no_model_has_names_the_field(field, value):
  data = json.loads(TINY.to_json())
  section, _, name = field.rpartition('.')
  (data[section] if section else data)[name] = value
  with pytest.raises(ValueError) as error:
    ModelConfig.from_json(json.dumps(data))
  shown = {'height': 'pixels'}.get(name, name) if value == 63 else name
  assert shown in str(error.value) and ('accepted' in str(error.value))


def test_weights_of_a_published_file_that_no_model_has_are_named():
  target = {'a': {'bias': np.zeros(2)}, 'b': {'bias': np.zeros(2)}}
  state = {'a.bias': np.array([1.0, np.inf]), 'b.bias': np.array([1, 2])}
  with pytest.raises(ValueError) as error:
    rules.convert(state, target)
  for words in (
    'a.bias: 1 of 2 numbers are NaN',
    'b.bias: int64, where a model has floating-point',
  ):
    assert words in str(error.value)
  assert set(state) == {'a.bias', 'b.bias'}


def safetensors_of(dtype, size):
  header = json.dumps({'x': {'dtype': dtype, 'shape': [1], 'data_offsets': [0, size]}}).encode()
  return len(header).to_bytes(8, 'little') + header + b'\0' * size


@pytest.mark.parametrize(
  'content, words',
  [
    (POINTER, 'a Git LFS pointer'),
    (safetensors_of('F8_E4M3', 1), 'x is F8_E4M3; accepted: F16'),
    (safetensors_of('F32', 4)[:-1], 'cannot be read'),
    (b'<html>', 'cannot be read'),
    (b'', 'cannot be read'),
  ],
)
def test_a_published_file_that_cannot_be_read_says_why(tmp_path, content, words):
  path = epath.Path(tmp_path / 'model.safetensors')
  path.write_bytes(content)
  with pytest.raises(ValueError, match=words):
    weight_files.read_tensors(path)


@pytest.mark.parity
@pytest.mark.parametrize(
  'make, words',
  [
    (lambda t: {'x': t.zeros(2).to(t.float8_e4m3fn)}, 'x is torch.float8_e4m3fn; accepted: dense'),
    (lambda t: {'x': t.eye(2).to_sparse()}, 'torch.sparse_coo'),
    (lambda t: {'x': t.empty(2, device='meta')}, 'x is a meta tensor'),
    (lambda t: {'x': t.zeros(2, dtype=t.complex64)}, 'x is torch.complex64'),
    (lambda t: {'x': t.quantize_per_tensor(t.ones(2), 0.1, 0, t.qint8)}, 'x is torch.qint8'),
    (lambda t: 'a text file, not a pickle at all', 'is damaged or no PyTorch file'),
    (lambda t: POINTER.decode(), 'a Git LFS pointer'),
    (None, 'another checksum|damaged'),
  ],
)
def test_a_published_pickle_that_cannot_be_read_says_why(tmp_path, make, words):
  torch = pytest.importorskip('torch')
  path = epath.Path(tmp_path / 'model.pt')
  content = {'x': torch.ones(4096)} if make is None else make(torch)
  if isinstance(content, str):
    path.write_text(content)
  else:
    torch.save(content, path)
    expected = weight_files.read_tensors(path) if make is None else None
  if make is None:
    np.testing.assert_array_equal(expected['x'], np.ones(4096))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # of a number
    path.write_bytes(bytes(data))
  with pytest.raises(ValueError, match=words):
    weight_files.read_tensors(path)


@pytest.mark.parametrize('mark', ['', '\ufeff'])
def test_a_config_of_diffusers_is_read_with_a_byte_order_mark(tmp_path, mark):
  (tmp_path / 'vae').mkdir()
  sizes = {'block_out_channels': [8, 8], 'layers_per_block': 1, 'norm_num_groups': 4}
  path = tmp_path / 'vae/config.json'
  path.write_text(mark + json.dumps({**sizes, 'latent_channels': 4}), encoding='utf-8')
  expected = VAEConfig(channels=(8, 8), layers=1, groups=4)
  assert diffusers_folder.read_vae_config(epath.Path(tmp_path)) == expected
  path.write_text(json.dumps({**sizes, 'latent_channels': 4, 'scaling_factor': None}))
  assert diffusers_folder.read_vae_config(epath.Path(tmp_path)) == expected
  path.write_text(json.dumps({**sizes, 'latent_channels': None}))
  with pytest.raises(ValueError, match='latent_channels is None; accepted'):
    diffusers_folder.read_vae_config(epath.Path(tmp_path))


def test_conversions_into_one_folder_do_not_hurt_each_other(tmp_path):
  first = checkpoint.creating(tmp_path / 'm', TINY, {})
  staging = first.__enter__()
  with checkpoint.creating(tmp_path / 'm', dataclasses.replace(TINY, fps=9), {}):
    assert staging.exists()
  with pytest.raises(FileExistsError, match='already holds something else'):
    first.__exit__(None, None, None)
  assert [path.name for path in tmp_path.iterdir()] == ['m']
  assert ModelConfig.from_json((tmp_path / 'm/config.json').read_text()).fps == 9
