"""The converters of ModelScope, VideoCrafter2 and AnimateDiff on files in the published forms."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from convert import animatediff, kinds, lavie, modelscope, synthetic, videocrafter, weight_files
from uniedit_jax.models import presets
from uniedit_jax.models.config import PARTS, abstract_params
from uniedit_jax.models.presets import MODELS
from uniedit_jax.runtime import checkpoint, random_init

SMALL = {name: MODELS[f'{name}-small'] for name in ('modelscope', 'videocrafter2', 'animatediff')}
VAE_NAMES = {
  'encoder.down.0.block.1.norm1.weight': 'encoder.down_blocks.0.resnets.1.norm1.weight',
  'encoder.down.2.downsample.conv.bias': 'encoder.down_blocks.2.downsamplers.0.conv.bias',
  'encoder.mid.attn_1.norm.weight': 'encoder.mid_block.attentions.0.group_norm.weight',
  'decoder.mid.attn_1.q.weight': 'decoder.mid_block.attentions.0.to_q.weight',
  'decoder.mid.attn_1.proj_out.bias': 'decoder.mid_block.attentions.0.to_out.0.bias',
  'decoder.mid.block_2.conv2.weight': 'decoder.mid_block.resnets.1.conv2.weight',
  'decoder.up.3.block.0.conv1.weight': 'decoder.up_blocks.0.resnets.0.conv1.weight',
  'decoder.up.0.block.2.nin_shortcut.bias': 'decoder.up_blocks.3.resnets.2.conv_shortcut.bias',
  'decoder.up.1.upsample.conv.weight': 'decoder.up_blocks.2.upsamplers.0.conv.weight',
  'decoder.norm_out.weight': 'decoder.conv_norm_out.weight',
  'encoder.conv_in.weight': 'encoder.conv_in.weight',
  'quant_conv.weight': 'quant_conv.weight',
}


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  """{name: folder with its files}, as .safetensors."""
  folder = tmp_path_factory.mktemp('published')
  for name, config in SMALL.items():
    synthetic.write(folder / name, config, safe=True)
  return {name: folder / name for name in SMALL}


def convert(name, folder, out, **changes):
  """Converts what `synthetic` wrote of a small model."""
  call, flags = {
    'modelscope': (modelscope.convert, {'source': folder / 'source'}),
    'videocrafter2': (
      videocrafter.convert,
      {'ckpt': folder / 'model.safetensors', 'tokenizer': folder / 'tokenizer', 'groups': 16},
    ),
    'animatediff': (
      animatediff.convert,
      {'sd': folder / 'sd', 'motion': folder / 'motion.safetensors', 'version': '3'},
    ),
  }[name]
  return call(out=out, **flags | changes)


def rewrite(path, change):
  """Changes the state dict of a .safetensors file in place."""
  state = safetensors.numpy.load_file(path)
  safetensors.numpy.save_file(change(state) or state, path)


@pytest.fixture
def copied(published, tmp_path):
  return lambda name: shutil.copytree(published[name], tmp_path / name)


@pytest.mark.parametrize('name', SMALL)
def test_every_parameter_arrives(published, tmp_path, name):
  rows = convert(name, published[name], tmp_path / 'out')
  assert [part for part, *_ in rows] == [*PARTS]
  found, config = checkpoint.load(tmp_path / 'out'), SMALL[name]
  known = {'modelscope': presets.MODELSCOPE, 'animatediff': presets.ANIMATEDIFF}.get(
    name, presets.VIDEOCRAFTER2
  )
  clips = {field: getattr(known, field) for field in ('name', 'frames', 'height', 'width', 'fps')}
  assert found.config == dataclasses.replace(config, **clips)

  def compare(path, x, expected):
    if path[-1].key == 'frame_positions':
      expected = animatediff.sinusoids(*expected.shape)
    np.testing.assert_array_equal(x, expected)

  for part in PARTS:
    expected = random_init.random_params(abstract_params(config, part), part=part)
    jax.tree_util.tree_map_with_path(compare, found.params[part], expected)


@pytest.mark.parametrize('name', SMALL)
def test_a_tensor_more_or_less_is_refused(copied, tmp_path, name):
  folder = copied(name)
  path = {
    'modelscope': folder / 'source/unet/diffusion_pytorch_model.safetensors',
    'videocrafter2': folder / 'model.safetensors',
    'animatediff': folder / 'motion.safetensors',
  }[name]
  middle = '.temporal_transformer.' if name == 'animatediff' else ''
  dropped = next(n for n in safetensors.numpy.load_file(path) if middle in n and 'norm' in n)
  rewrite(path, lambda state: {n: x for n, x in state.items() if n != dropped})
  with pytest.raises(ValueError, match=r'the file does not fill|is for a UNet|are for a UNet'):
    convert(name, folder, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('old, new', VAE_NAMES.items())
def test_names_of_the_vae_of_latent_diffusion(old, new):
  assert [*videocrafter.vae_state({old: 0}, levels=4)] == [new]


# What a file of one kind is called by the converters of the others.
@pytest.mark.parametrize(
  'names, words',
  [
    (['model.diffusion_model.init_attn.0.norm.weight'], 'convert.videocrafter'),
    (['down_blocks.0.attentions.0.transformer_blocks.0.attn_temp.to_q.weight'], 'convert.lavie'),
    (['transformer_in.norm.weight', 'down_blocks.0.resnets.0.norm1.weight'], 'convert.modelscope'),
    (['down_blocks.0.motion_modules.0.norm.weight'], 'convert.animatediff'),
    (['vision_model.post_layernorm.weight'], 'convert.clip'),
    (['model.diffusion_model.input_blocks.0.0.weight'], 'there is no converter'),
    (['down_blocks.0.resnets.0.norm1.weight'], 'an image UNet'),
  ],
)
def test_another_kind_names_its_converter(names, words):
  state = dict.fromkeys(names, np.zeros(1))
  for reader, call in (
    ('convert.lavie', lambda: lavie.infer_unet_config(state, 32)),
    ('convert.videocrafter', lambda: videocrafter.split(state)),
    (
      'convert.animatediff',
      lambda: animatediff.motion_modules(state, presets.ANIMATEDIFF_UNET, '3'),
    ),
  ):
    with pytest.raises(ValueError) as error:
      call()
    assert reader == words or words in str(error.value)


def test_another_class_of_unet_names_its_converter(copied, tmp_path):
  folder = copied('animatediff')
  (folder / 'sd').rename(folder / 'source')
  with pytest.raises(ValueError, match=r'UNet2DConditionModel.*python -m convert.animatediff'):
    convert('modelscope', folder, tmp_path / 'out')
  with pytest.raises(ValueError, match=r'UNet3DConditionModel.*python -m convert.modelscope'):
    convert('animatediff', folder, tmp_path / 'out', sd=copied('modelscope') / 'source')
  kinds.refuse_other_class('UNet2DConditionModel', 'UNet2DConditionModel')


def edit_json(path, **changes):
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
  'file, changes, words',
  [
    ('scheduler/scheduler_config.json', {'prediction_type': 'v_prediction'}, "'v_prediction'"),
    ('scheduler/scheduler_config.json', {'beta_schedule': 'cosine'}, "beta_schedule is 'cosine'"),
    ('unet/config.json', {'cross_attention_dim': 96}, 'unet.text_width is 96, text.width is 64'),
    ('unet/config.json', {'attention_head_dim': [5, 10]}, r'attention_head_dim is \(5, 10\)'),
    ('unet/config.json', {'out_channels': 8}, 'out_channels is 8; accepted: 4'),
  ],
)
def test_a_config_that_does_not_fit_is_told_by_its_name(copied, tmp_path, file, changes, words):
  folder = copied('modelscope')
  edit_json(folder / 'source' / file, **changes)
  with pytest.raises(ValueError, match=f'--source.*{words}'):
    convert('modelscope', folder, tmp_path / 'out')


def test_another_generation_of_stable_diffusion_is_refused(copied, tmp_path):
  folder = copied('animatediff')
  edit_json(folder / 'sd/unet/config.json', attention_head_dim=[5, 10, 20, 20])
  with pytest.raises(ValueError, match=r'accepted: one number, as in Stable Diffusion 1\.x'):
    convert('animatediff', folder, tmp_path / 'out')


def test_motion_modules_of_stable_diffusion_xl_are_told(copied, tmp_path):
  folder = copied('animatediff')
  drop = lambda state: {n: x for n, x in state.items() if 'blocks.3.' not in n}
  rewrite(folder / 'motion.safetensors', drop)
  with pytest.raises(ValueError, match=r'of \(64, 64, 128\) channels, as for Stable Diffusion XL'):
    convert('animatediff', folder, tmp_path / 'out')


@pytest.mark.parametrize(
  'version, words', [('2', 'no module in the middle'), ('1', 'no table of sinusoids of 24 frames')]
)
def test_another_version_of_the_motion_modules_is_told(published, tmp_path, version, words):
  with pytest.raises(ValueError, match=words):
    convert('animatediff', published['animatediff'], tmp_path / 'out', version=version)


def test_the_second_version_has_a_module_in_the_middle(tmp_path):
  unet = dataclasses.replace(
    SMALL['animatediff'].unet, temporal=presets.ANIMATEDIFF_V2_UNET.temporal
  )
  synthetic.write(tmp_path, dataclasses.replace(SMALL['animatediff'], unet=unet), safe=True)
  with pytest.raises(ValueError, match='a module in the middle, and --version is 3'):
    convert('animatediff', tmp_path, tmp_path / 'out')
  convert('animatediff', tmp_path, tmp_path / 'out', version='2', norms='diffusers')
  found = checkpoint.read_config(tmp_path / 'out').unet
  assert 'middle' in found.temporal and found.clip_norms == ('module',)


def test_motion_modules_in_the_form_of_diffusers_and_other_tensors_next_to_them(copied, tmp_path):
  folder = copied('animatediff')
  state = safetensors.numpy.load_file(folder / 'motion.safetensors')
  names = {name: animatediff.rename(name) for name in state if not name.endswith('.pe')}
  changed = {
    new.replace('.temp_attentions.', '.motion_modules.'): state[old] for old, new in names.items()
  }
  changed['epoch.step'] = np.zeros(1, np.float32)
  (folder / 'adapter').mkdir()
  path = folder / 'adapter/diffusion_pytorch_model.safetensors'
  safetensors.numpy.save_file(changed, path)
  convert('animatediff', folder, tmp_path / 'out', motion=folder / 'adapter')
  convert('animatediff', folder, tmp_path / 'same')
  first, second = (
    checkpoint.read_manifest(tmp_path / name)['unet']['sha256'] for name in ('out', 'same')
  )
  assert first == second


@pytest.mark.parametrize(
  'change, words',
  [
    (lambda state: state.update(scale_arr=np.ones(1400, np.float32)), 'scale_arr is '),
    (
      lambda state: state.update(alphas_cumprod=0.9 * state['alphas_cumprod']),
      'alphas_cumprod is ',
    ),
    (lambda state: state.update(extra=np.zeros(1, np.float32)), 'no part of VideoCrafter2: extra'),
    (
      lambda state: [state.pop(name) for name in [*state] if name.startswith('first_stage')],
      'no tensors under first_stage_model.',
    ),
    (
      lambda state: [state.pop(name) for name in [*state] if '.fps_embedding.' in name],
      'VideoCrafter1',
    ),
    (lambda state: [state.pop('model.diffusion_model.input_blocks.0.0.weight')], 'is missing'),
  ],
)
def test_a_file_that_is_not_videocrafter2_is_told(copied, tmp_path, change, words):
  folder = copied('videocrafter2')
  rewrite(folder / 'model.safetensors', lambda state: change(state) and None)
  with pytest.raises(ValueError, match=words):
    convert('videocrafter2', folder, tmp_path / 'out')


def test_all_faults_of_the_inputs_are_listed_before_anything_is_read(tmp_path):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out/file').touch()
  (tmp_path / 'tokenizer').mkdir()
  with pytest.raises(ValueError) as error:
    videocrafter.convert(tmp_path / 'model.ckpt', tmp_path / 'tokenizer', tmp_path / 'out')
  for words in ('--ckpt: there is no file', '--tokenizer: ', 'merges.txt', 'already holds'):
    assert words in str(error.value)


@pytest.mark.parametrize('name', ['modelscope', 'videocrafter', 'animatediff'])
def test_commands_need_no_torch_for_safetensors(published, tmp_path, name):
  folder = published[f'{name}2' if name == 'videocrafter' else name]
  flags = {
    'modelscope': (f'--source={folder}/source', '--model=zeroscope'),
    'videocrafter': (
      f'--ckpt={folder}/model.safetensors',
      f'--tokenizer={folder}/tokenizer',
      '--groups=16',
      '--fps=12',
    ),
    'animatediff': (
      f'--sd={folder}/sd',
      f'--motion={folder}/motion.safetensors',
      '--version=3',
      '--norms=diffusers',
    ),
  }[name]
  code = (
    "import sys, runpy; sys.modules['torch'] = None; "
    f"runpy.run_module('convert.{name}', run_name='__main__', alter_sys=True)"
  )
  command = [sys.executable, '-c', code, *flags, f'--out={tmp_path}/out']
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert f'wrote {tmp_path}/out' in done.stdout, done.stderr
  config = checkpoint.read_config(tmp_path / 'out')
  assert {
    'modelscope': config.frames == 24,
    'videocrafter': config.unet.fps == 12,
    'animatediff': config.unet.clip_norms == ('module',),
  }[name]


def test_a_checkpoint_on_the_hub(published, tmp_path, hub_server):
  shutil.copytree(published['modelscope'] / 'source', hub_server.root / 'ali-vilab/text-to-video')
  environment = os.environ | hub_server.environment(tmp_path / 'home')
  flags = '--source=ali-vilab/text-to-video', f'--out={tmp_path}/out'
  command = [sys.executable, '-m', 'convert.modelscope', *flags]
  done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
  assert 'wrote' in done.stdout, done.stderr
  assert 'tokenizer/special_tokens_map.json' in hub_server.fetched('ali-vilab/text-to-video')
  assert checkpoint.read_config(tmp_path / 'out').text.pad == 0


@pytest.mark.parity
@pytest.mark.parametrize('wrapper, prefix', [('state_dict', ''), ('module', '_forward_module.')])
def test_pickles_of_lightning_and_deepspeed(published, tmp_path, wrapper, prefix):
  torch = pytest.importorskip('torch')
  state = safetensors.numpy.load_file(published['videocrafter2'] / 'model.safetensors')
  tensors = {prefix + name: torch.from_numpy(x) for name, x in state.items()}
  content = {wrapper: tensors, 'global_step': 7, 'hyper_parameters': {'lr': 1e-4}}
  torch.save(content, tmp_path / 'model.ckpt')
  found = weight_files.read_tensors(tmp_path / 'model.ckpt')
  assert set(found) == set(state)
