"""`experiments.publish`: a folder for the hub that loads as what it was made of, and its card."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.publish.__main__ import publish
from tests.helpers import tiny_clip
from tests.helpers.tiny_run import TINY
from uniedit_jax.models.config import PARTS, abstract_params
from uniedit_jax.runtime import checkpoint, random_init
from uniedit_jax.runtime.faults import FaultsError


def make(folder, source):
  """A tiny checkpoint whose VAE is an orbax tree."""
  with checkpoint.creating(folder, TINY, random_init.byte_tokenizer(TINY.text)) as staging:
    for part in PARTS:
      params = random_init.random_params(abstract_params(TINY, part), part=part)
      checkpoint.save_params(staging, part, params, source, compact=part != 'vae')
  return folder


def head_of(folder):
  """The head of the card, as the hub reads it."""
  from huggingface_hub import ModelCard

  return ModelCard((folder / 'README.md').read_text(encoding='utf-8')).data.to_dict()


def test_the_card_of_sprites_is_made_by_the_command_and_the_folder_loads_from_the_hub(
  tmp_path, hub_server
):
  out = hub_server.root / 'owner/sprites'
  command = [sys.executable, '-m', 'experiments.publish', '--checkpoint=sprites', f'--out={out}']
  done = subprocess.run(
    [*command, '--repo=owner/sprites'], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0 and f'hf upload owner/sprites {out}' in done.stdout, done.stderr
  head, card = head_of(out), (out / 'README.md').read_text()
  assert head['license'] == 'apache-2.0' and head['library_name'] == 'uniedit_jax'
  assert {'jax', 'video-editing'} <= set(head['tags'])
  for words in (
    "ue.load('owner/sprites')", '--config.checkpoint=owner/sprites', '| unet | 7,831,720 | 15.8 MB',
    '94 % (88 to 97)', '38 words',
  ):  # fmt: skip
    assert words in card
  # Its numbers are those of docs/sprites.md.
  docs = (checkpoint.SHIPPED['sprites'].parents[2] / 'docs/sprites.md').read_text()
  for row in re.findall(r'\| (\d+ % \| \d+ % \(\d+ to \d+\) \| [\d.]+ dB)', card):
    assert row in docs
  assert card.count('dB |') == 3
  found, expected = checkpoint.load('owner/sprites'), checkpoint.load('sprites')
  assert found.hash == expected.hash
  jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)


def test_sources_are_named_without_folders_of_this_machine(tmp_path):
  hub_source = 'hf://Vchitect/LaVie/lavie_base.pt@abc'
  make(tmp_path / 'a', '/home/me/secret/lavie_base.pt')
  make(tmp_path / 'b', hub_source)
  for name, source in (('a', 'lavie_base.pt'), ('b', hub_source)):
    publish(str(tmp_path / name), str(tmp_path / f'{name}_out'), 'other')
    text = ''.join(
      (tmp_path / f'{name}_out' / f).read_text() for f in ('README.md', 'manifest.json')
    )
    assert 'secret' not in text and source in text
    assert 'Measured' not in text and '<owner>/tiny' in text
    checkpoint.load(tmp_path / f'{name}_out', parts=('vae',))
  assert head_of(tmp_path / 'b_out')['base_model'] == ['Vchitect/LaVie']
  assert 'base_model' not in head_of(tmp_path / 'a_out')


def test_measured_numbers_and_clip_models(tmp_path):
  tiny_clip.make_clip_model(tmp_path / 'clip')
  (tmp_path / 'numbers.md').write_text('**7 of 9**', encoding='utf-8')
  publish(str(tmp_path / 'clip'), str(tmp_path / 'out'), 'mit', 'a/b', str(tmp_path / 'numbers.md'))
  card = (tmp_path / 'out/README.md').read_text()
  assert '**7 of 9**' in card and '--config.metrics.clip=a/b' in card and 'ue.load' not in card
  from uniedit_jax.metrics import clip_model

  assert clip_model.load(str(tmp_path / 'out')).config == tiny_clip.TINY


def test_a_model_of_the_same_name_does_not_get_the_numbers_of_the_shipped_one(tmp_path):
  shutil.copytree(checkpoint.SHIPPED['sprites'], tmp_path / 'mine')
  config = json.loads((tmp_path / 'mine/config.json').read_text())
  (tmp_path / 'mine/config.json').write_text(json.dumps(config | {'fps': 9}))
  with pytest.raises(FaultsError, match="license is ''"):
    publish(str(tmp_path / 'mine'), str(tmp_path / 'out'))
  publish(str(tmp_path / 'mine'), str(tmp_path / 'out'), 'mit')
  assert 'Measured' not in (tmp_path / 'out/README.md').read_text()


def test_all_faults_are_listed_and_nothing_is_left(tmp_path):
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full/x').touch()
  with pytest.raises(FaultsError) as error:
    publish('/nowhere', str(tmp_path / 'full'), 'My License', 'no id', str(tmp_path / 'none.md'))
  faults = error.value.faults
  begins = 'out: ', "repo is 'no id'", 'measured: ', 'checkpoint: /nowhere is no', "license is 'My"
  assert len(faults) == 5
  assert all(fault.startswith(begin) for fault, begin in zip(faults, begins, strict=True)), faults


def test_damaged_parameters_are_not_published(tmp_path):
  folder = make(tmp_path / 'a', '')
  path = folder / 'unet.safetensors'
  data = bytearray(path.read_bytes())
  data[-1] ^= 1
  path.write_bytes(data)
  with pytest.raises(ValueError, match='damaged or was replaced'):
    publish(str(folder), str(tmp_path / 'out'), 'mit')
  assert [child.name for child in tmp_path.iterdir()] == ['a']
