"""Converted checkpoints that lie on a hub, on loopback: fetched in two steps, checked as others."""

import shutil

import jax
import numpy as np
import pytest

import uniedit_jax as ue
from tests.helpers import fake_hub, tiny_clip
from tests.helpers.tiny_run import TINY
from uniedit_jax.metrics import clip_model
from uniedit_jax.models.config import PARTS, abstract_params
from uniedit_jax.pipeline.check import check_edit, read_model_config
from uniedit_jax.runtime import checkpoint, random_init
from uniedit_jax.runtime.faults import Faults, FaultsError

SMALL = ['config.json', 'manifest.json', 'tokenizer/merges.txt', 'tokenizer/vocab.json']


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A tiny checkpoint whose VAE is an orbax tree, of many files."""
  folder = tmp_path_factory.mktemp('saved') / 'tiny'
  with checkpoint.creating(folder, TINY, random_init.byte_tokenizer(TINY.text)) as staging:
    for part in PARTS:
      params = random_init.random_params(abstract_params(TINY, part), part=part)
      checkpoint.save_params(staging, part, params, compact=part != 'vae')
  return folder


@pytest.fixture
def served(saved, hub_server):
  shutil.copytree(saved, hub_server.root / 'owner/tiny')
  hub_server.add('owner/tiny', {'README.md': '# Tiny', 'unet/unlisted': b'x'})
  shutil.copytree(saved, hub_server.root / 'owner/several/small/tiny')
  hub_server.add('owner/torch', {'model_index.json': '{}', 'unet/x.safetensors': b'x'})
  return hub_server


def test_a_request_is_checked_with_the_small_files_alone(served):
  request = ue.EditRequest(
    checkpoint='owner/tiny', generated=True, source_prompt='a', target_prompt='b', steps=2
  )
  assert check_edit(request).model_config == TINY
  assert served.fetched('owner/tiny') == SMALL
  with pytest.raises(FaultsError) as error:
    check_edit(request.replace({'steps': 0, 'checkpoint': 'owner/torch'}))
  faults = ' '.join(error.value.faults)
  for words in ('owner/torch on the hub is no converted checkpoint: it lacks config.json', 'steps'):
    assert words in faults
  assert served.fetched('owner/torch') == []


@pytest.mark.parametrize('name', ['owner/tiny', 'owner/several/small/tiny@main', 'hf://owner/tiny'])
def test_a_checkpoint_of_the_hub_is_loaded_as_a_local_one(saved, served, tmp_path, name):
  found, expected = ue.load(name, cache=str(tmp_path)), checkpoint.load(saved)
  assert found.hash == expected.hash == checkpoint.read_hash(name)
  jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
  assert found.tokenizer.encode(['a cat']).tolist() == expected.tokenizer.encode(['a cat']).tolist()
  assert checkpoint.fingerprint(name, tmp_path) == checkpoint.fingerprint(saved, tmp_path)
  fetched = [name for repo in ('owner/tiny', 'owner/several') for name in served.fetched(repo)]
  assert len(fetched) == len(set(fetched))
  assert not [name for name in fetched if name.endswith(('README.md', 'unlisted'))]


def test_parts_that_are_not_loaded_are_not_fetched(served):
  checkpoint.load('owner/tiny', parts=('text',))
  assert served.fetched('owner/tiny') == sorted([*SMALL, 'text.safetensors'])


def test_local_folders_and_shipped_models_come_first(saved, served, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  shutil.copytree(saved, 'owner/tiny')
  assert checkpoint.locate('owner/tiny') == tmp_path / 'owner/tiny'
  assert checkpoint.locate('sprites') == checkpoint.SHIPPED['sprites']
  # A mistyped name in a folder that exists is not looked for on the hub.
  faults = Faults()
  assert read_model_config('owner/tinny', faults) is None
  assert faults[0].startswith("no checkpoint at 'owner/tinny'; accepted: a folder made by `python")
  assert served.asked == []


@pytest.mark.parametrize(
  'name, words',
  [
    ('owner/none', 'checkpoint: owner/none is neither here nor on the hub: http://'),
    ('owner/tiny@v3', "checkpoint: owner/tiny has no revision 'v3'"),
    ('owner/several', 'no converted checkpoint: it lacks config.json, manifest.json and has noth'),
    ('hf://tiny', "checkpoint: 'hf://tiny' is no hub id; accepted: hf://owner/repo"),
  ],
)
def test_what_is_no_checkpoint_on_the_hub_is_one_fault(served, name, words):
  faults = Faults()
  assert read_model_config(name, faults) is None
  assert len(faults) == 1 and words in faults[0], faults


def test_files_that_the_hub_lacks_are_told_before_others_are_fetched(served):
  (served.root / 'owner/tiny/unet.safetensors').unlink()
  shutil.rmtree(served.root / 'owner/tiny/vae')
  with pytest.raises(FaultsError) as error:
    checkpoint.load('owner/tiny')
  assert 'owner/tiny lacks unet.safetensors' in error.value.faults[0]
  assert 'owner/tiny lacks vae/' in error.value.faults[1]
  assert served.fetched('owner/tiny') == SMALL


@pytest.mark.parametrize('size', [-1, 0])
def test_parameters_that_are_not_those_of_the_manifest_are_refused(served, size):
  path = served.root / 'owner/tiny/unet.safetensors'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content[: len(content) + size])
  words = 'bytes; accepted: ' if size else 'is damaged or was replaced: its sha256 is'
  with pytest.raises(ValueError, match=words):
    checkpoint.load('owner/tiny')


def test_a_fetched_checkpoint_is_loaded_offline(served, tmp_path, monkeypatch):
  before = checkpoint.load('owner/tiny')
  fake_hub.use(served, tmp_path / 'hub_cache', monkeypatch, offline=True)
  assert checkpoint.load('owner/tiny').hash == before.hash
  fake_hub.use(served, tmp_path / 'other_cache', monkeypatch, offline=True)
  with pytest.raises(
    ValueError, match=r'owner/tiny is neither here nor whole in .*other_cache, and'
  ):
    checkpoint.load('owner/tiny')


def test_clip_models_are_fetched_in_two_steps_too(served, tmp_path):
  tiny_clip.make_clip_model(tmp_path / 'clip')
  shutil.copytree(tmp_path / 'clip', served.root / 'owner/clip')
  assert clip_model.read_tokenizer('owner/clip').encode(['a']) is not None
  assert served.fetched('owner/clip') == SMALL
  found, expected = clip_model.load('owner/clip'), clip_model.load(str(tmp_path / 'clip'))
  jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
  with pytest.raises(FaultsError, match=r'manifest\.json: clip is None'):
    clip_model.read_tokenizer('owner/tiny')
