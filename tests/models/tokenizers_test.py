"""Tokenizers: CLIP's byte pairs and one id a word."""

import dataclasses
import json
import re

import numpy as np
import pytest

from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.tokenizers import CLIPTokenizer, WordTokenizer, word_positions

SIZES = {'positions': 6, 'width': 8, 'layers': 1, 'heads': 1, 'mlp_width': 8}
WORDS = ['a', 'blue', 'red', 'square', 'squares']
WORD_CONFIG = TextConfig(vocabulary=7, bos=5, eos=6, **SIZES)
CLIP_CONFIG = TextConfig(vocabulary=12, bos=10, eos=11, **(SIZES | {'positions': 8}))


@pytest.fixture
def vocabulary(tmp_path):
  words = ['a', 'b', 'c', 'a</w>', 'b</w>', 'c</w>', '!', '!</w>', 'ab', 'abc</w>']
  words += ['<|startoftext|>', '<|endoftext|>']
  (tmp_path / 'vocab.json').write_text(json.dumps({word: i for i, word in enumerate(words)}))
  (tmp_path / 'merges.txt').write_text('#version: 0.2\na b\nab c</w>\n')
  return tmp_path


def test_clip_lowers_merges_and_pads(vocabulary):
  tokens = CLIPTokenizer(vocabulary, CLIP_CONFIG).encode(['', 'ABC  c!', 'ab'])
  assert tokens.dtype == np.int32
  end = 11
  expected = [[10, *[end] * 7], [10, 9, 5, 7, *[end] * 4], [10, 0, 4, *[end] * 5]]
  np.testing.assert_array_equal(tokens, expected)


def test_clip_pads_as_the_text_tower_says(vocabulary):
  config = dataclasses.replace(CLIP_CONFIG, pad=0)
  tokens = CLIPTokenizer(vocabulary, config).encode(['', 'a b c a b c'])
  np.testing.assert_array_equal(tokens, [[10, 11, *[0] * 6], [10, 3, 4, 5, 3, 4, 5, 11]])


def test_the_padding_is_no_word_of_the_prompt():
  tokenizer = WordTokenizer(WORDS, dataclasses.replace(WORD_CONFIG, pad=0))
  assert tokenizer.encode(['red square']).tolist() == [[5, 2, 3, 6, 0, 0]]
  assert word_positions(tokenizer, 'red square', ['square']) == [2]
  with pytest.raises(ValueError, match="'a' is not in the prompt"):
    word_positions(tokenizer, 'red square', ['a'])


def test_clip_never_truncates(vocabulary):
  tokenizer = CLIPTokenizer(vocabulary, CLIP_CONFIG)
  assert tokenizer.encode(['a b c a b c'])[0, -1] == CLIP_CONFIG.eos
  with pytest.raises(ValueError, match=r"'a b c a b c a' has 9 tokens; accepted: at most 8"):
    tokenizer.encode(['a', 'a b c a b c a'])


def test_errors_of_clip(vocabulary):
  match = r'begin and end tokens \(10, 11\); the text encoder expects'
  with pytest.raises(ValueError, match=match):
    CLIPTokenizer(vocabulary, TextConfig())
  (vocabulary / 'merges.txt').unlink()
  with pytest.raises(FileNotFoundError, match='merges'):
    CLIPTokenizer(vocabulary, CLIP_CONFIG)


def test_words_are_lowered_without_punctuation_and_padded():
  tokens = WordTokenizer(WORDS, WORD_CONFIG).encode(['', 'A red, Square!'])
  assert tokens.tolist() == [[5, 6, 6, 6, 6, 6], [5, 0, 2, 3, 6, 6]]
  assert tokens.dtype == 'int32'


def test_unknown_words_list_the_vocabulary_and_the_nearest():
  with pytest.raises(ValueError) as error:
    WordTokenizer(WORDS, WORD_CONFIG).encode(['a red square', 'a rde squar, xyz xyz'])
  message = str(error.value)
  assert message.startswith(
    "prompt 'a rde squar, xyz xyz' has words that the model does not know: "
  )
  assert re.search(r"'rde' \(nearest: red\)", message)
  assert "'squar' (nearest: square, squares)" in message
  assert message.count("'xyz'") == 1
  assert message.endswith('accepted: a blue red square squares')


def test_words_are_never_truncated():
  tokenizer = WordTokenizer(WORDS, WORD_CONFIG)
  assert tokenizer.encode(['a a a a'])[0].tolist() == [5, 0, 0, 0, 0, 6]
  with pytest.raises(ValueError, match='has 7 tokens; accepted: at most 6'):
    tokenizer.encode(['a a a a a'])


@pytest.mark.parametrize(
  'words', [['a', 'b', 'c', 'd', 'e', 'f'], ['a', 'a']], ids=['reach the special tokens', 'twice']
)
def test_vocabularies_that_do_not_fit(words):
  with pytest.raises(ValueError, match=f'the vocabulary has {len(words)} words'):
    WordTokenizer(words, WORD_CONFIG)
