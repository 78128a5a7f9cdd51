"""`convert.lavie` and `convert.clip` on ids of a hub on loopback, and on folders of all kinds."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from convert import clip as convert_clip
from convert import lavie, synthetic, weight_files
from tests.helpers import fake_hub
from tests.helpers.tiny_run import TINY
from uniedit_jax.models.config import PARTS, abstract_params
from uniedit_jax.runtime import checkpoint, random_init

VAE = 'vae/diffusion_pytorch_model'
NEEDED = [
  'text_encoder/config.json',
  'text_encoder/pytorch_model.safetensors',
  'tokenizer/merges.txt',
  'tokenizer/vocab.json',
  'vae/config.json',
  f'{VAE}.safetensors',
]
SD, LAVIE = 'CompVis/stable-diffusion-v1-4', 'Vchitect/LaVie/base/lavie_base.safetensors'


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  """The files of a tiny model, as .safetensors."""
  folder = tmp_path_factory.mktemp('published')
  synthetic.write(folder, TINY, safe=True)
  return folder


@pytest.fixture
def sd(published, tmp_path):
  return shutil.copytree(published / 'sd', tmp_path / 'sd')


@pytest.fixture
def served(published, hub_server):
  """The hub with both repositories, and with files that no converter needs."""
  shutil.copytree(published / 'sd', hub_server.root / SD)
  others = ('unet/x.safetensors', 'README.md', f'{VAE}.bin', f'{VAE}.fp16.safetensors')
  hub_server.add(SD, dict.fromkeys((*others, 'text_encoder/pytorch_model.fp16.bin'), b'unneeded'))
  content = (published / 'lavie_base.safetensors').read_bytes()
  hub_server.add('Vchitect/LaVie', {'base/lavie_base.safetensors': content, 'other.pt': b'x'})
  return hub_server


def command(module, served, tmp_path, *flags):
  environment = os.environ | served.environment(tmp_path / 'home')
  done = [sys.executable, '-m', f'convert.{module}', *flags]
  return subprocess.run(done, capture_output=True, text=True, check=False, env=environment)


def test_the_command_converts_hub_ids_and_fetches_nothing_else(served, tmp_path):
  flags = f'--sd={SD}@main', f'--lavie=hf://{LAVIE}', f'--out={tmp_path}/out', '--groups=8'
  done = command('lavie', served, tmp_path, *flags)
  assert done.returncode == 0 and f'wrote {tmp_path}/out' in done.stdout, done.stderr
  found = checkpoint.load(tmp_path / 'out')
  for part in PARTS:
    expected = random_init.random_params(abstract_params(TINY, part), part=part)
    jax.tree.map(np.testing.assert_array_equal, found.params[part], expected)
  assert (tmp_path / 'home/hub').is_dir()
  assert served.fetched(SD) == NEEDED
  assert served.fetched('Vchitect/LaVie') == ['base/lavie_base.safetensors']
  source = f'hf://{LAVIE}@{served.commit("Vchitect/LaVie")}'
  assert checkpoint.read_manifest(tmp_path / 'out')['unet']['source'] == source


def inputs(sd, lavie_file, out):
  """What `convert.lavie` reads: ({part: state dict}, configs)."""
  _, paths, *configs = lavie.check_inputs(*lavie.published.places_of(out, sd=sd, lavie=lavie_file))
  return {part: weight_files.read_tensors(path) for part, path in paths.items()}, configs


def test_a_second_conversion_fetches_nothing(served, tmp_path):
  first = inputs(SD, LAVIE, tmp_path / 'out')
  fake_hub.forget()  # as another process
  second = inputs(SD, LAVIE, tmp_path / 'out')
  jax.tree.map(np.testing.assert_array_equal, first[0], second[0])
  assert served.fetched(SD) == NEEDED


@pytest.mark.parametrize(
  'flags, words',
  [
    (
      ('--sd=owner/none', f'--lavie={LAVIE}'),
      '--sd: owner/none is neither here nor on the hub: http://',
    ),
    (('--sd=owner/gated', f'--lavie={LAVIE}'), '--sd: owner/gated is gated'),
    (
      (f'--sd={SD}', '--lavie=Vchitect/LaVie/lavie.pt'),
      'the hub has other.pt; accepted: a file that ends',
    ),
    ((f'--sd={SD}', '--lavie=Vchitect/LaVie'), 'there is no file Vchitect/LaVie'),
    ((f'--sd={SD}', '--lavie=hf://x'), "--lavie: 'hf://x' is no hub id"),
    ((f'--sd={SD}', '--lavie=tests/lavie_base.pt'), 'there is no file tests/lavie_base.pt'),
    ((f'--sd={SD}@v9', f'--lavie={LAVIE}'), "has no revision 'v9'"),
    (('--sd=Vchitect/LaVie', f'--lavie={LAVIE}'), 'Vchitect/LaVie has no tokenizer/vocab.json'),
  ],
)
def test_what_the_hub_does_not_have_is_told_before_weights_are_fetched(
  served, tmp_path, flags, words
):
  served.add('owner/gated', {'x': b''})
  served.gated.add('owner/gated')
  given = dict(flag.removeprefix('--').split('=', 1) for flag in flags)
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out/file').touch()
  with pytest.raises(ValueError) as error:
    lavie.convert(given['sd'], given['lavie'], tmp_path / 'out')
  assert words in str(error.value)
  if 'hf://x' not in words:  # a name that is none is told first
    assert 'out already holds something else' in str(error.value)
  assert not {NEEDED[1], NEEDED[-1], 'base/lavie_base.safetensors'} & {
    *served.fetched(SD),
    *served.fetched('Vchitect/LaVie'),
  }


def test_faults_of_the_hub_end_the_command_in_lines_without_a_traceback(served, tmp_path):
  served.address = 'http://127.0.0.1:9'  # where nobody listens
  done = command('clip', served, tmp_path, '--source=openai/clip', f'--out={tmp_path}/out')
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  lines = done.stderr.strip().splitlines()
  assert lines[-1].startswith('  - --source: openai/clip is not here, and http://127.0.0.1:9')
  assert len(lines) == 2, done.stderr


def test_files_needed_by_clip_alone_are_fetched(served, tmp_path):
  from tests.convert.convert_clip_test import config_json, write_tokenizer

  folder = served.root / 'openai/clip'
  folder.mkdir(parents=True)
  write_tokenizer(folder)
  names = ('model.safetensors', 'pytorch_model.bin', 'flax_model.msgpack', 'tf_model.h5')
  served.add('openai/clip', {name: b'x' for name in names})
  served.add('openai/clip', {'config.json': json.dumps(config_json()), 'README.md': 'x'})
  served.add('openai/clip', {'preprocessor_config.json': '{"resample": 3}'})
  source, out = convert_clip.published.places_of(source='openai/clip', out=tmp_path / 'out')
  found, weights, config = convert_clip.check_inputs(source, out)
  assert weights == found / 'model.safetensors' and config.text.width == 48
  small = ['config.json', 'merges.txt', 'preprocessor_config.json', 'vocab.json']
  assert served.fetched('openai/clip') == sorted([*small, 'model.safetensors'])


def split(path, parts=3):
  """Replaces a .safetensors file by parts and their index."""
  state, table = safetensors.numpy.load_file(path), {}
  for i in range(parts):
    some = dict(list(state.items())[i::parts])
    name = f'{path.stem}-{i + 1:05d}-of-{parts:05d}.safetensors'
    safetensors.numpy.save_file(some, path.with_name(name))
    table |= dict.fromkeys(some, name)
  path.with_name(f'{path.name}.index.json').write_text(json.dumps({'weight_map': table}))
  path.unlink()


def halve(path):
  """Replaces a .safetensors file by its variant of half precision."""
  state = safetensors.numpy.load_file(path)
  half = {n: x.astype(np.float16) if x.dtype == np.float32 else x for n, x in state.items()}
  safetensors.numpy.save_file(half, path.with_suffix('.fp16.safetensors'))
  path.unlink()


def prefix(path):
  state = safetensors.numpy.load_file(path)
  safetensors.numpy.save_file({f'module._orig_mod.{name}': x for name, x in state.items()}, path)


def point(path):
  """Moves a file to its other name, and leaves the pointer of Git LFS."""
  shutil.copy(path, path.with_name('pytorch_model.safetensors'))
  path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')


def mark(path):
  """Gives the configs and vocabularies a byte order mark, and the VAE a scale of null."""
  for found in path.parents[1].rglob('*.json'):
    data = json.loads(found.read_text())
    data |= {'scaling_factor': None} if found.parent.name == 'vae' else {}
    found.write_text('\ufeff' + json.dumps(data), encoding='utf-8')


@pytest.mark.parametrize('change', [split, halve, prefix, point, mark])
@pytest.mark.parametrize('where', ['disk', 'hub'])
def test_folders_of_all_kinds_are_converted(published, sd, hub_server, tmp_path, change, where):
  vae, text = (sd / name for name in (f'{VAE}.safetensors', NEEDED[1]))
  text = text.rename(text.with_name('model.safetensors'))
  change(text)
  if change in (split, halve, prefix):
    change(vae)
  if where == 'hub':
    shutil.copytree(sd, hub_server.root / SD)
    if change is point:  # a hub gives the file itself
      pathlib.Path(hub_server.root / SD / 'text_encoder/pytorch_model.safetensors').rename(
        hub_server.root / SD / 'text_encoder/model.safetensors'
      )
  source, file = SD if where == 'hub' else sd, published / 'lavie_base.safetensors'
  found, configs = inputs(source, file, tmp_path / 'out')
  expected, sizes = inputs(published / 'sd', file, tmp_path / 'out')
  if change is halve:
    half = lambda x: x.astype(np.float16) if x.dtype == np.float32 else x
    expected |= {part: jax.tree.map(half, expected[part]) for part in ('vae', 'text')}
  assert configs == sizes and found.keys() == expected.keys()
  for part in PARTS:
    assert found[part].keys() == expected[part].keys()
    jax.tree.map(np.testing.assert_array_equal, found[part], expected[part])
