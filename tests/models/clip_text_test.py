"""The text tower: causality, shapes, errors, and agreement with transformers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert import open_clip, rules
from tests.helpers import reference
from tests.helpers.tolerances import EXACT, MODULE, VAE_TEXT, agreement
from uniedit_jax.models import clip_text
from uniedit_jax.models.tokenizers import WordTokenizer
from uniedit_jax.runtime import random_init

TINY = clip_text.TextConfig(
  vocabulary=12, positions=8, width=16, layers=2, heads=2, mlp_width=32, bos=10, eos=11
)


def abstract(config):
  tokens = jax.ShapeDtypeStruct((1,), jnp.int32)
  return jax.eval_shape(clip_text.TextEncoder(config).init, jax.random.key(0), tokens)['params']


@pytest.fixture(scope='module')
def tiny():
  encoder = clip_text.TextEncoder(TINY)
  return encoder, random_init.random_params(abstract(TINY))


def test_leading_axes_and_dtype(tiny):
  encoder, params = tiny
  tokens = jax.random.randint(jax.random.key(1), (2, 3, 8), 0, 12)
  text = jax.jit(encoder.apply)({'params': params}, tokens)
  assert (text.shape, text.dtype) == ((2, 3, 8, 16), jnp.float32)
  assert agreement(text[1, 2], encoder.apply({'params': params}, tokens[1, 2])) <= MODULE
  half = jax.eval_shape(encoder.clone(dtype=jnp.bfloat16).apply, {'params': params}, tokens)
  assert half.dtype == jnp.bfloat16


def test_tokens_do_not_see_later_ones(tiny):
  encoder, params = tiny
  tokens = jnp.arange(8)
  before, after = (encoder.apply({'params': params}, x) for x in (tokens, tokens.at[5].set(11)))
  assert agreement(after[:5], before[:5]) == EXACT
  assert (np.abs(after[5:] - before[5:]).max(-1) > 1e-3).all()


def test_errors_of_the_tower(tiny):
  encoder, params = tiny
  with pytest.raises(ValueError, match='9 positions; accepted: at most 8'):
    encoder.apply({'params': params}, jnp.zeros(9, jnp.int32))
  with pytest.raises(ValueError, match='width is 10'):
    clip_text.TextConfig(width=10, heads=3)


def test_activations_are_checked():
  with pytest.raises(ValueError, match=r"activation is 'relu'; accepted: \('quick_gelu', 'gelu'\)"):
    clip_text.TextConfig(activation='relu')


# OpenCLIP's tower of 4 layers, of which 3 are read.
OPEN_CLIP = clip_text.TextConfig(
  vocabulary=100,
  width=32,
  layers=3,
  heads=2,
  mlp_width=128,
  bos=98,
  eos=99,
  activation='gelu',
  pad=0,
)


@pytest.fixture(scope='module')
def open_clip_numbers():
  return reference.golden('text_tower')


def open_clip_text(layers, ids):
  """The text f32[B, T, E] of the golden tower, from open_clip's names."""
  config = dataclasses.replace(OPEN_CLIP, layers=layers)
  state = reference.state_dict('text_tower', 'open_clip')
  params = rules.convert(open_clip.text_tower(state, layers), abstract(config))
  return clip_text.TextEncoder(config).apply({'params': params}, ids)


@pytest.mark.parametrize('layers, name', [(3, 'penultimate'), (4, 'last')])
def test_agrees_with_open_clip(open_clip_numbers, layers, name):
  text = open_clip_text(layers, open_clip_numbers['ids'])
  assert agreement(text, open_clip_numbers[name]) <= VAE_TEXT


def test_agrees_with_transformers_of_the_same_activation(open_clip_numbers):
  state = reference.state_dict('text_tower', 'transformers')
  params = rules.convert(state, abstract(OPEN_CLIP))
  text = clip_text.TextEncoder(OPEN_CLIP).apply({'params': params}, open_clip_numbers['ids'])
  assert agreement(text, open_clip_numbers['transformers']) <= VAE_TEXT


def test_open_clip_pads_with_id_zero(open_clip_numbers):
  words = [str(i) for i in range(98)]
  ids = open_clip_numbers['ids']
  prompt = ' '.join(str(i) for i in ids[0, 1 : np.argmax(ids[0] == OPEN_CLIP.eos)])
  np.testing.assert_array_equal(WordTokenizer(words, OPEN_CLIP).encode([prompt, '']), ids[[0, 2]])
  padded_by_end = dataclasses.replace(OPEN_CLIP, pad=-1)
  np.testing.assert_array_equal(WordTokenizer(words, padded_by_end).encode([prompt]), ids[[1]])


@pytest.mark.parity
@pytest.mark.parametrize('activation', clip_text.ACTIVATIONS)
@pytest.mark.parametrize('prefix', ['text_model.', ''])
def test_agrees_with_transformers(prefix, activation):
  torch = pytest.importorskip('torch')
  import transformers

  torch.manual_seed(0)
  config = clip_text.TextConfig(
    vocabulary=50,
    positions=77,
    width=64,
    layers=3,
    heads=4,
    mlp_width=160,
    bos=48,
    eos=49,
    activation=activation,
  )
  reference = transformers.CLIPTextModel(
    transformers.CLIPTextConfig(
      vocab_size=50,
      max_position_embeddings=77,
      hidden_size=64,
      num_hidden_layers=3,
      num_attention_heads=4,
      intermediate_size=160,
      hidden_act=activation,
      bos_token_id=48,
      eos_token_id=49,
    )
  ).eval()
  # Random changes make norms and biases matter.
  with torch.no_grad():
    for parameter in reference.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  # transformers 5 drops the prefix that the files of Stable Diffusion 1.4 have.
  state = {
    prefix + name.removeprefix('text_model.'): x.detach().numpy()
    for name, x in reference.state_dict().items()
  }
  state[f'{prefix}embeddings.position_ids'] = np.arange(77)[None]
  params = rules.convert(state, abstract(config))

  tokens = np.random.default_rng(0).integers(0, 50, (2, 77))
  with torch.no_grad(), jax.default_matmul_precision('highest'):
    expected = reference(input_ids=torch.from_numpy(tokens)).last_hidden_state
    text = clip_text.TextEncoder(config).apply({'params': params}, tokens)
  assert agreement(text, expected) <= VAE_TEXT
