"""`convert.lavie` on small models that PyTorch packages wrote in the published formats."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from convert import rules
from tests.helpers.tolerances import VAE_TEXT, agreement
from uniedit_jax.media import video
from uniedit_jax.models import clip_text, vae
from uniedit_jax.models.config import abstract_params, network
from uniedit_jax.runtime import checkpoint, random_init

pytestmark = pytest.mark.parity

MANIFEST = pathlib.Path(__file__).parents[1] / 'goldens' / 'unet_small_manifest.json'
WIDTH = 48  # text width of the UNet of the manifest
CLIP_MODEL = ('text_encoder/pytorch_model.bin', 'text_encoder/model.safetensors')
VAE_MODEL = ('vae/diffusion_pytorch_model.bin', 'vae/diffusion_pytorch_model.safetensors')


@pytest.fixture(scope='module')
def torch():
  pytest.importorskip('diffusers')
  return pytest.importorskip('torch')


@pytest.fixture(scope='module')
def references(torch):
  """The VAE of diffusers and the text tower of transformers, small and random."""
  import diffusers
  import transformers

  torch.manual_seed(0)
  vae_reference = diffusers.AutoencoderKL(
    block_out_channels=(8, 8, 16, 16),
    down_block_types=['DownEncoderBlock2D'] * 4,
    up_block_types=['UpDecoderBlock2D'] * 4,
    layers_per_block=1,
    norm_num_groups=4,
    latent_channels=4,
  ).eval()
  # The ids of bos and eos are wrong, as in the file of Stable Diffusion 1.4.
  text_reference = transformers.CLIPTextModel(
    transformers.CLIPTextConfig(
      vocab_size=514,
      hidden_size=WIDTH,
      num_hidden_layers=2,
      num_attention_heads=2,
      intermediate_size=64,
      hidden_act='quick_gelu',
      bos_token_id=0,
      eos_token_id=2,
    )
  ).eval()
  return vae_reference, text_reference


@pytest.fixture(scope='module')
def unet_state(torch):
  """A state dict with the real names; every tensor is exact in half precision."""
  torch.manual_seed(1)
  shapes = json.loads(MANIFEST.read_text())
  state = {name: (0.1 * torch.randn(shape)).half().float() for name, shape in shapes.items()}
  freqs = 10000.0 ** (-torch.arange(16) / 16)
  return {name: freqs if name.endswith('rotary_emb.freqs') else x for name, x in state.items()}


@pytest.fixture
def sd(tmp_path, references, torch):
  """Stable Diffusion as published in 2022: pickles with the names of that time, position ids."""
  vae_reference, text_reference = references
  folder = tmp_path / 'sd'
  configs = {'vae': _json(vae_reference), 'text_encoder': text_reference.config.to_json_string()}
  for part, config in configs.items():
    (folder / part).mkdir(parents=True)
    (folder / part / 'config.json').write_text(config)
  names = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
  state = {}
  for name, x in vae_reference.state_dict().items():
    for new, old in names.items():
      name = name.replace(f'attentions.0.{new}.', f'attentions.0.{old}.')
    state[name] = x
  torch.save(state, folder / VAE_MODEL[0])
  state = text_reference.state_dict()
  state = {f'text_model.{name.removeprefix("text_model.")}': x for name, x in state.items()}
  state['text_model.embeddings.position_ids'] = torch.arange(77)[None]
  torch.save(state, folder / CLIP_MODEL[0])
  (folder / 'tokenizer').mkdir()
  config = clip_text.TextConfig(vocabulary=514, width=WIDTH, heads=2, bos=512, eos=513)
  for name, text in random_init.byte_tokenizer(config).items():
    (folder / 'tokenizer' / name).write_text(text)
  return folder


def _json(model):
  config = dict(model.config)
  # The file of 2022 has no scale.
  for key in ('scaling_factor', '_name_or_path'):
    config.pop(key, None)
  return json.dumps(config)


def command(sd, lavie, out, *more):
  args = [f'--sd={sd}', f'--lavie={lavie}', f'--out={out}', '--groups=16', *more]
  command = [sys.executable, '-m', 'convert.lavie', *args]
  return subprocess.run(command, capture_output=True, text=True, check=False)


def to_safetensors(torch, path, target):
  import safetensors.torch

  state = torch.load(path, weights_only=True)
  state = state.get('ema', state)
  safetensors.torch.save_file({name: x.clone().contiguous() for name, x in state.items()}, target)
  path.unlink()


def check(out, unet_state, references):
  """Compares the checkpoint with its sources: parameters of the UNet, outputs of the rest."""
  vae_reference, text_reference = references
  model = checkpoint.load(out)
  config = model.config
  assert (config.unet.channels, config.unet.text_width) == ((64, 128, 128, 128), WIDTH)
  assert (config.unet.heads, config.unet.groups, config.unet.layers_per_block) == (2, 16, 2)
  assert config.vae == vae.VAEConfig((8, 8, 16, 16), layers=1, groups=4)
  text = config.text
  assert (text.bos, text.eos, text.layers, text.mlp_width) == (512, 513, 2, 64)
  assert (config.schedule.beta_schedule, config.schedule.beta_start) == ('linear', 1e-4)

  abstract = abstract_params(config, 'unet')
  expected = rules.convert({name: x.numpy() for name, x in unet_state.items()}, abstract)
  jax.tree.map(np.testing.assert_array_equal, model.params['unet'], expected)

  import torch

  rng = np.random.default_rng(0)
  frames = rng.uniform(-1, 1, (1, 16, 24, 3)).astype(np.float32)
  tokens = model.tokenizer.encode(['a cat'])
  with torch.no_grad(), jax.default_matmul_precision('highest'):
    mean = vae_reference.encode(torch.from_numpy(frames.transpose(0, 3, 1, 2))).latent_dist.mean
    latents = vae.encode_frames(network(config, 'vae'), model.params['vae'], frames)
    assert agreement(latents, 0.18215 * mean.permute(0, 2, 3, 1)) <= VAE_TEXT
    reference = text_reference(input_ids=torch.from_numpy(tokens).long()).last_hidden_state
    text = jax.jit(network(config, 'text').apply)({'params': model.params['text']}, tokens)
    assert agreement(text, reference) <= VAE_TEXT


def test_pickles_as_published(sd, tmp_path, torch, unet_state, references):
  torch.save({'ema': unet_state}, tmp_path / 'lavie_base.pt')
  done = command(sd, tmp_path / 'lavie_base.pt', tmp_path / 'out')
  assert done.returncode == 0, done.stderr
  rows = [line.split()[:2] for line in done.stdout.splitlines()]
  for row in (['unet', '812'], ['vae', '180'], ['text', '36']):
    assert row in rows, done.stdout
  check(tmp_path / 'out', unet_state, references)


def test_the_result_alone_is_enough_to_edit(sd, tmp_path, torch, unet_state):
  from configs import motion
  from experiments import edit
  from experiments.requests.edit import read_edit

  torch.save({'ema': unet_state}, tmp_path / 'lavie_base.pt')
  done = command(sd, tmp_path / 'lavie_base.pt', tmp_path / 'out')
  assert done.returncode == 0, done.stderr
  shutil.rmtree(sd)
  (tmp_path / 'lavie_base.pt').unlink()
  rng = np.random.default_rng(0)
  video.write_frames(tmp_path / 'clip', rng.integers(0, 255, (4, 32, 48, 3), np.uint8))
  config = motion.get_config()
  config.checkpoint, config.video = str(tmp_path / 'out'), str(tmp_path / 'clip')
  config.target_prompt, config.steps, config.cache = 'a fox', 1, str(tmp_path / 'cache')
  config.clip.update(frames=4, height=32, width=48)
  clips = edit.run(read_edit(config), tmp_path / 'edit')
  assert clips['edit'].shape == (4, 32, 48, 3) and clips['edit'].std() > 1
  assert video.probe(tmp_path / 'edit' / 'edit.mp4').frames == 4


def test_safetensors_and_bare_half_precision(sd, tmp_path, torch, unet_state, references):
  torch.save({name: x.half() for name, x in unet_state.items()}, tmp_path / 'lavie.pt')
  to_safetensors(torch, tmp_path / 'lavie.pt', tmp_path / 'lavie.safetensors')
  for old, new in (CLIP_MODEL, VAE_MODEL):
    to_safetensors(torch, sd / old, sd / new)
  done = command(sd, tmp_path / 'lavie.safetensors', tmp_path / 'out')
  assert done.returncode == 0, done.stderr
  check(tmp_path / 'out', unet_state, references)


@pytest.mark.parametrize('legacy', [False, True])
def test_half_precision_pickles_of_both_ages(sd, tmp_path, torch, unet_state, references, legacy):
  state = {name: x.half() for name, x in unet_state.items()}
  torch.save(state, tmp_path / 'lavie.pt', _use_new_zipfile_serialization=not legacy)
  done = command(sd, tmp_path / 'lavie.pt', tmp_path / 'out')
  assert done.returncode == 0, done.stderr
  check(tmp_path / 'out', unet_state, references)


class Malicious:
  """A pickle that would create a folder when it is loaded."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def test_a_pickle_that_is_more_than_tensors_is_not_run(sd, tmp_path, torch, unet_state):
  torch.save({'ema': unet_state, 'extra': Malicious(tmp_path / 'owned')}, tmp_path / 'lavie.pt')
  done = command(sd, tmp_path / 'lavie.pt', tmp_path / 'out')
  assert done.returncode != 0 and 'plain settings (posix.mkdir)' in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (tmp_path / 'owned').exists() and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  'content, message', [('nothing', 'damaged'), ({'a': 1}, 'holds a: int'), ([], 'holds list')]
)
def test_other_files(sd, tmp_path, torch, content, message):
  path = tmp_path / 'lavie.pt'
  if isinstance(content, str):
    path.write_text(content)
  else:
    torch.save(content, path)
  done = command(sd, path, tmp_path / 'out')
  assert done.returncode != 0 and message in done.stderr, done.stderr
  assert 'Traceback' not in done.stderr


def test_wrong_groups_and_missing_tensors_leave_nothing(sd, tmp_path, torch, unet_state):
  state = dict(unet_state)
  del state['conv_out.bias']
  torch.save(state, tmp_path / 'lavie.pt')
  done = command(sd, tmp_path / 'lavie.pt', tmp_path / 'out')
  assert done.returncode != 0 and 'conv_out/bias (4,)' in done.stderr, done.stderr
  done = command(sd, tmp_path / 'lavie.pt', tmp_path / 'out', '--groups=48')
  assert done.returncode != 0 and 'groups=48' in done.stderr, done.stderr
  assert sorted(path.name for path in tmp_path.iterdir()) == ['lavie.pt', 'sd']
