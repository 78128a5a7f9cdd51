"""Weights in all forms that PyTorch packages write: which files are taken, and what is read."""

import argparse
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from convert import weight_files

POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'
STEMS = ('vae/model', 'vae/pytorch_model')
STATE = {'a.weight': np.ones((2, 2), np.float32), 'b.bias': np.zeros(2, np.float16)}


def put(folder, *names, content=b'x'):
  for name in names:
    path = epath.Path(folder / name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def save(path, state):
  path.parent.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(state, path)


def save_parts(folder, stem='model', ending='.safetensors', index='.safetensors.index.json'):
  """STATE in two parts with their index, with a byte order mark; the path of the index."""
  table = {}
  for i, (name, x) in enumerate(STATE.items(), 1):
    file = f'{stem}-0000{i}-of-00002{ending}'
    save(folder / file, {name: x})
    table[name] = file
  path = epath.Path(folder / f'{stem}{index}')
  path.write_text('\ufeff' + json.dumps({'metadata': {}, 'weight_map': table}))
  return path


def equal(found, expected=STATE):
  assert found.keys() == expected.keys()
  for name, x in expected.items():
    np.testing.assert_array_equal(found[name], x)


@pytest.mark.parametrize(
  'names, expected',
  [
    (['vae/model.bin', 'vae/model.safetensors'], ['vae/model.safetensors', 'vae/model.bin']),
    (['vae/pytorch_model.bin', 'vae/model.ckpt'], ['vae/model.ckpt', 'vae/pytorch_model.bin']),
    # Whole precision in a pickle comes before half precision in a .safetensors.
    (['vae/model.fp16.safetensors', 'vae/model.bin'], ['vae/model.bin', 'vae/model.fp16.safetens']),
    (['vae/model.safetensors.index.json'], ['vae/model.safetensors.index.json']),
    (['vae/model.safetensors.index.fp16.json'], ['vae/model.safetensors.index.fp16.json']),
    (['vae/model.safetensors.fp16.index.json'], ['vae/model.safetensors.fp16.index.json']),
    (['vae/model.fp16.safetensors.index.json'], ['vae/model.fp16.safetensors.index.json']),
    (['vae/pytorch_model.bin.index.json'], ['vae/pytorch_model.bin.index.json']),
    (['vae/model.non_ema.safetensors', 'vae/model.onnx', 'unet/model.safetensors'], []),
  ],
)
def test_the_best_files_are_chosen_by_their_names(names, expected):
  found = [group[0] for group in weight_files.candidates(names, STEMS)]
  assert len(found) == len(expected)
  assert all(name.startswith(begin) for name, begin in zip(found, expected, strict=True)), found


def test_an_index_brings_the_parts_of_its_precision():
  whole = [f'vae/model-0000{i}-of-00002.safetensors' for i in (1, 2)]
  half = [f'vae/model-0000{i}-of-00002.fp16.safetensors' for i in (1, 2)]
  others = ['vae/model-00001-of-00002.bin', 'vae/pytorch_model-00001-of-00001.safetensors']
  indices = ['vae/model.safetensors.index.json', 'vae/model.safetensors.index.fp16.json']
  found = weight_files.candidates([*whole, *half, *others, *indices], STEMS)
  assert found == [(indices[0], *whole), (indices[1], *half)]


def test_a_pointer_is_passed_over_with_a_warning_where_there_is_another_file(tmp_path, caplog):
  put(tmp_path, 'vae/model.safetensors', content=POINTER)
  put(tmp_path, 'vae/model.bin')
  assert weight_files.find_weights(epath.Path(tmp_path), STEMS) == ('vae/model.bin',)
  for words in ('model.safetensors is a Git LFS pointer', '`hf download`', 'vae/model.bin is read'):
    assert words in caplog.text
  put(tmp_path, 'vae/model.bin', content=POINTER)
  with pytest.raises(
    ValueError, match=r'model\.safetensors is a .*git lfs pull.*model\.bin is a Gi'
  ):
    weight_files.find_weights(epath.Path(tmp_path), STEMS)


def test_an_index_whose_parts_are_missing_or_pointers_is_passed_over(tmp_path, caplog):
  index, folder = save_parts(tmp_path / 'vae'), epath.Path(tmp_path)
  assert weight_files.find_weights(folder, STEMS)[0] == 'vae/model.safetensors.index.json'
  put(tmp_path, 'vae/model-00002-of-00002.safetensors', content=POINTER)
  with pytest.raises(ValueError, match=r'00002\.safetensors is a Git LFS pointer'):
    weight_files.find_weights(folder, STEMS)
  put(tmp_path, 'vae/pytorch_model.bin')
  assert weight_files.find_weights(folder, STEMS) == ('vae/pytorch_model.bin',)
  (tmp_path / 'vae/model-00001-of-00002.safetensors').unlink()
  with pytest.raises(ValueError, match=r'needs model-00001-of-00002\.safetensors next to it; acc'):
    weight_files.read_index(index)


def test_without_weights_the_message_says_what_is_there(tmp_path):
  put(tmp_path, 'vae/model-00001-of-00002.safetensors', 'vae/other.txt')
  with pytest.raises(ValueError) as error:
    weight_files.find_weights(epath.Path(tmp_path), STEMS)
  for words in (
    'has none of vae/model.safetensors, ',
    'it has vae/model-00001-of-00002.safetensors, vae/other.txt; the parts of a file in several',
  ):
    assert words in str(error.value)


@pytest.mark.parametrize('mark', ['', '.fp16'])
def test_parts_are_read_as_one_state_dict(tmp_path, mark):
  index = f'.safetensors.index{mark}.json'
  equal(weight_files.read_tensors(save_parts(tmp_path, ending=f'{mark}.safetensors', index=index)))


@pytest.mark.parametrize(
  'table',
  [None, {}, [], {'a': 1}, {'a': '../x.safetensors'}, {'a': '/etc/passwd'}, {'a': 'x.py'}],
)
def test_an_index_that_names_no_files_next_to_it_is_refused(tmp_path, table):
  path = epath.Path(tmp_path / 'model.safetensors.index.json')
  path.write_text(json.dumps({'weight_map': table}))
  with pytest.raises(ValueError, match=r"weight_map is .*; accepted: {'weight_map': {tensor: file"):
    weight_files.read_tensors(path)


def test_parts_that_lack_a_tensor_of_the_index_are_refused(tmp_path):
  path = save_parts(tmp_path)
  save(tmp_path / 'model-00002-of-00002.safetensors', {'c': np.ones(1)})
  with pytest.raises(ValueError, match=r'its parts lack b\.bias; accepted'):
    weight_files.read_tensors(path)


@pytest.mark.parametrize(
  'prefix', ['module.', '_orig_mod.', 'unet.', 'model.', 'module._orig_mod.', '_orig_mod.module.']
)
def test_prefixes_of_all_names_are_left_out(tmp_path, prefix):
  path = epath.Path(tmp_path / 'x.safetensors')
  save(path, {prefix + name: x for name, x in STATE.items()})
  equal(weight_files.read_tensors(path))


def test_prefixes_of_some_names_stay():
  state = {'model.a': 1, 'b': 2}
  assert weight_files.without_prefixes(state) == state
  assert weight_files.without_prefixes({}) == {}


SETTINGS = {
  'args': argparse.Namespace(lr=1e-4, name='x', nested=argparse.Namespace(a=[1, (2.0, None)])),
  'config': {'steps': 1000, 'tags': ['a'], 'on': True},
  'step': 7,
  'loss': 0.5,
  'note': 'of 2023',
}


@pytest.mark.parity
@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
  'wrap',
  [
    lambda state: state,
    lambda state: {'ema': state, **SETTINGS},
    lambda state: {**SETTINGS, 'state_dict': state, 'optimizer': {'state': {0: {'step': 1}}}},
    lambda state: {'model': {f'module.{name}': x for name, x in state.items()}, **SETTINGS},
    lambda state: {'ema': {'decay': 0.9}, 'model': {'state_dict': state}},
    lambda state: {'ema': None, 'state_dict': {}, 'model': state},
    # Of both, the averaged weights.
    lambda state: {'model': {name: x + 1 for name, x in state.items()}, 'ema': state},
  ],
)
def test_wrapped_state_dicts_with_settings_next_to_them_are_read(tmp_path, wrap, legacy):
  torch = pytest.importorskip('torch')
  path = epath.Path(tmp_path / 'x.pt')
  content = wrap({name: torch.from_numpy(x) for name, x in STATE.items()})
  torch.save(content, path, _use_new_zipfile_serialization=not legacy)
  equal(weight_files.read_tensors(path))


class Runs:
  """A pickle that would make a file when it is loaded."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.PosixPath(self.path),)


@pytest.mark.parity
def test_settings_that_would_run_code_are_not_read(tmp_path):
  torch = pytest.importorskip('torch')
  path, made = epath.Path(tmp_path / 'x.pt'), tmp_path / 'made'
  args = argparse.Namespace(hidden=Runs(str(made)))
  torch.save({'ema': {'a': torch.ones(1)}, 'args': args}, path)
  with pytest.raises(ValueError, match='more than tensors and plain settings'):
    weight_files.read_tensors(path)
  assert not made.exists()
  # Nor is a function called that an attribute holds.
  args = argparse.Namespace()
  vars(args)['__setstate__'] = print
  torch.save({'ema': {'a': torch.ones(1)}, 'args': args}, path)
  with pytest.raises(ValueError, match=r'plain settings \((builtins\.)?print\)'):
    weight_files.read_tensors(path)


@pytest.mark.parity
@pytest.mark.parametrize(
  'make, words',
  [
    (lambda t: {'ema': {'a': 1}}, 'it holds a: int'),
    (lambda t: {'weights': {'a': t.ones(1)}}, 'it holds weights: dict'),
    (lambda t: {1: t.ones(1)}, 'it holds 1: Tensor'),
    (lambda t: {}, 'it holds nothing'),
    (lambda t: t.ones(1), 'it holds Tensor'),
  ],
)
def test_other_contents_are_named(tmp_path, make, words):
  torch = pytest.importorskip('torch')
  path = epath.Path(tmp_path / 'x.pt')
  torch.save(make(torch), path)
  with pytest.raises(ValueError, match=f'is no dict of tensors; {words}'):
    weight_files.read_tensors(path)


@pytest.mark.parity
def test_parts_that_are_pickles_are_read_too(tmp_path):
  torch = pytest.importorskip('torch')
  table = {}
  for i, (name, x) in enumerate(STATE.items()):
    table[name] = f'pytorch_model-0000{i}-of-00002.bin'
    torch.save({name: torch.from_numpy(x)}, tmp_path / table[name])
  path = epath.Path(tmp_path / 'pytorch_model.bin.index.json')
  path.write_text(json.dumps({'weight_map': table}))
  equal(weight_files.read_tensors(path))
