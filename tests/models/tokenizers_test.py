"""The tokenizer of models that know few words."""

import re

import pytest

from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.tokenizers import WordTokenizer

WORDS = ['a', 'blue', 'red', 'square', 'squares']
CONFIG = TextConfig(
  vocabulary=7, positions=6, width=8, layers=1, heads=1, mlp_width=8, bos=5, eos=6
)


def test_encodes_lowers_drops_punctuation_and_pads():
  tokens = WordTokenizer(WORDS, CONFIG).encode(['', 'A red, Square!'])
  assert tokens.tolist() == [[5, 6, 6, 6, 6, 6], [5, 0, 2, 3, 6, 6]]
  assert tokens.dtype == 'int32'


def test_unknown_words_list_the_vocabulary_and_the_nearest():
  with pytest.raises(ValueError) as error:
    WordTokenizer(WORDS, CONFIG).encode(['a red square', 'a rde squar, xyz xyz'])
  message = str(error.value)
  assert message.startswith(
    "prompt 'a rde squar, xyz xyz' has words that the model does not know: "
  )
  assert re.search(r"'rde' \(nearest: red\)", message)
  assert "'squar' (nearest: square, squares)" in message
  assert message.count("'xyz'") == 1
  assert message.endswith('accepted: a blue red square squares')


def test_never_truncates():
  tokenizer = WordTokenizer(WORDS, CONFIG)
  assert tokenizer.encode(['a a a a'])[0].tolist() == [5, 0, 0, 0, 0, 6]
  with pytest.raises(ValueError, match='has 7 tokens; accepted: at most 6'):
    tokenizer.encode(['a a a a a'])


@pytest.mark.parametrize(
  'words', [['a', 'b', 'c', 'd', 'e', 'f'], ['a', 'a']], ids=['reach the special tokens', 'twice']
)
def test_vocabularies_that_do_not_fit(words):
  with pytest.raises(ValueError, match=f'the vocabulary has {len(words)} words'):
    WordTokenizer(words, CONFIG)
