"""`convert.clip` on models that transformers wrote, and its faults for others."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from etils import epath

from convert import clip as convert_clip
from tests.helpers.tolerances import VAE_TEXT, agreement
from uniedit_jax.metrics import clip_model
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.runtime import random_init
from uniedit_jax.runtime.faults import FaultsError

SIZES = 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size'
TEXT = dict(zip(SIZES, (48, 2, 2, 64), strict=True))
IMAGE = dict(zip(SIZES, (40, 3, 4, 56), strict=True))
PROMPTS = ['a cat', 'a fox is running over the green hills', '']


@pytest.fixture(scope='module')
def reference():
  """A small random model of transformers."""
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  torch.manual_seed(0)
  text = TEXT | {'vocab_size': 514, 'bos_token_id': 512, 'eos_token_id': 513, 'pad_token_id': 513}
  image = IMAGE | {'image_size': 56, 'patch_size': 14}
  config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=32)
  model = transformers.CLIPModel(config)
  # Noise on all parameters, so that norms and biases matter.
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  return model.eval()


@pytest.fixture
def source(tmp_path, reference):
  folder = tmp_path / 'source'
  # Writes config.json and model.safetensors.
  reference.save_pretrained(folder)
  write_tokenizer(folder)
  return folder


def write_tokenizer(folder):
  config = TextConfig(vocabulary=514, width=48, heads=2, bos=512, eos=513)
  for name, text in random_init.byte_tokenizer(config).items():
    (folder / name).write_text(text)


def to_pickle(reference, folder, more=()):
  """The weights as files of 2022 have them: a pickle with position ids."""
  import torch

  ids = {'text_model.embeddings.position_ids': torch.arange(77)[None]}
  ids['vision_model.embeddings.position_ids'] = torch.arange(17)[None]
  torch.save(reference.state_dict() | ids | dict(more), folder / 'pytorch_model.bin')
  (folder / 'model.safetensors').unlink()


def command(source, out):
  command = [sys.executable, '-m', 'convert.clip', f'--source={source}', f'--out={out}']
  return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parity
@pytest.mark.parametrize('pickled', [False, True])
def test_features_and_logits_are_those_of_transformers(source, tmp_path, reference, pickled):
  import torch

  if pickled:
    to_pickle(reference, source)
  done = command(source, tmp_path / 'out')
  assert done.returncode == 0, done.stderr
  assert 'vit40_14_56: ' in done.stdout
  model = clip_model.load(str(tmp_path / 'out'))
  frames = np.random.default_rng(0).integers(0, 256, (5, 60, 90, 3), np.uint8)
  tokens, pixels = model.tokenizer.encode(PROMPTS), clip_model.prepare(frames, 56)
  ids, values = torch.from_numpy(tokens).long(), torch.from_numpy(pixels.transpose(0, 3, 1, 2))
  with torch.no_grad():
    expected = reference(input_ids=ids, pixel_values=values)
  images, texts = clip_model.image_features(model, frames), clip_model.text_features(model, PROMPTS)
  assert agreement(images, expected.image_embeds) <= VAE_TEXT
  assert agreement(texts, expected.text_embeds) <= VAE_TEXT
  scale = np.exp(np.asarray(model.params['logit_scale']))
  assert agreement(scale * images @ texts.T, expected.logits_per_image) <= VAE_TEXT
  # The features of two inputs differ by far more than that.
  assert np.abs(np.diff(images, axis=0)).max() > 1e-2 < np.abs(np.diff(texts, axis=0)).max()


@pytest.mark.parity
@pytest.mark.parametrize('size', [(60, 90), (90, 61), (500, 281), (224, 224), (31, 40)])
def test_preparation_is_that_of_transformers(size):
  from transformers.models.clip import image_processing_pil_clip

  frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
  processor = image_processing_pil_clip.CLIPImageProcessorPil()
  expected = np.stack(processor(list(frames), input_data_format='channels_last')['pixel_values'])
  found = clip_model.prepare(frames, 224)
  np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), atol=1e-6)


@pytest.mark.parity
def test_tensors_that_do_not_fit_leave_nothing(source, tmp_path, reference):
  import torch

  to_pickle(reference, source, {'text_model.extra.weight': torch.zeros(2, 2)})
  done = command(source, tmp_path / 'out')
  assert done.returncode != 0
  assert 'text_model.extra.weight (2, 2)' in done.stderr
  assert 'Traceback' not in done.stderr
  data = json.loads((source / 'config.json').read_text())
  data['vision_config']['patch_size'] = 28
  (source / 'config.json').write_text(json.dumps(data))
  done = command(source, tmp_path / 'out')
  patches = 'vision_model.embeddings.patch_embedding.weight: (14, 14, 3, 40) in our layout'
  assert patches in done.stderr
  assert sorted(path.name for path in tmp_path.iterdir()) == ['source']


def config_json(**changes):
  text = {'vocab_size': 514, 'max_position_embeddings': 77, **TEXT}
  image = {'image_size': 56, 'patch_size': 14, **IMAGE}
  config = {'model_type': 'clip', 'text_config': text, 'vision_config': image, 'projection_dim': 32}
  return config | changes


def test_all_faults_of_the_inputs_are_listed(tmp_path):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'file').touch()
  with pytest.raises(FaultsError) as error:
    convert_clip.check_inputs(epath.Path(tmp_path / 'nothing'), epath.Path(tmp_path / 'out'))
  assert len(error.value.faults) == 5
  message = str(error.value)
  assert 'has none of model.safetensors' in message
  for name in ('config.json', 'vocab.json', 'merges.txt', 'out already holds something else'):
    assert name in message
  done = command(tmp_path / 'nothing', tmp_path / 'out')
  assert done.returncode != 0
  assert done.stderr.startswith('convert.clip: the run cannot start:')
  assert done.stderr.count('\n  - ') == 5
  assert 'Traceback' not in done.stderr


def with_image(**changes):
  return {'vision_config': config_json()['vision_config'] | changes}


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'model_type': 'siglip'}, "model_type is 'siglip'; accepted: 'clip'"),
    ({'text_config': TEXT}, 'missing field vocab_size'),
    (with_image(hidden_act='gelu'), "hidden_act is 'gelu'; accepted"),
    (with_image(layer_norm_eps=1e-6), 'layer_norm_eps is 1e-06'),
  ],
)
def test_models_of_another_kind(tmp_path, changes, message):
  write_tokenizer(tmp_path)
  (tmp_path / 'model.safetensors').touch()
  (tmp_path / 'config.json').write_text(json.dumps(config_json(**changes)))
  with pytest.raises(ValueError) as error:
    convert_clip.check_inputs(epath.Path(tmp_path), epath.Path(tmp_path / 'out'))
  assert message in str(error.value)


def test_sizes_and_preparation(tmp_path):
  write_tokenizer(tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps(config_json()))
  config = convert_clip.read_config(epath.Path(tmp_path))
  assert (config.text.width, config.text.bos, config.text.eos, config.width) == (48, 512, 513, 32)
  image = config.image
  assert (image.size, image.patch, image.layers, image.mlp_width) == (56, 14, 3, 56)
  # Text tower, image tower, projections and scale.
  leaves = jax.tree.leaves(convert_clip.clip_image.abstract_clip(config))
  assert len(leaves) == 36 + (16 * 3 + 7) + 3
  (tmp_path / 'preprocessor_config.json').write_text(json.dumps({'image_mean': [0.5, 0.5, 0.5]}))
  with pytest.raises(ValueError, match=r'image_mean is \[0.5, 0.5, 0.5\]; accepted: \[0.48145466'):
    convert_clip.read_config(epath.Path(tmp_path))
