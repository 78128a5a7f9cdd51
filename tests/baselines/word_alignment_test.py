"""Alignments of short prompts, token by token."""

import numpy as np
import pytest

from tests.helpers.setups import TOKENIZER, WORDS
from uniedit_jax.baselines.word_alignment import align, refine, replace
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.tokenizers import WordTokenizer

# It pads with a word of the prompts, as OpenCLIP's does with "!".
PADDED = WordTokenizer(WORDS, TextConfig(vocabulary=10, positions=7, bos=8, eos=9, pad=0))


@pytest.mark.parametrize(
  'source, target, expected',
  [
    ('a cat', 'a cat', [0, 1, 2, 3, 4, 5, 6]),
    ('a cat on grass', 'a red cat on grass', [0, 1, -1, 2, 3, 4, 5]),  # added
    # Exchanged words are no pair.
    ('a cat on grass', 'a dog on grass', [0, 1, -1, 3, 4, 5, 6]),
    ('a red cat', 'a cat', [0, 1, 3, 4, 4, 5, 6]),  # left out; the padding belongs to itself
    ('', 'a cat', [0, -1, -1, 1, 4, 5, 6]),
  ],
)
def test_alignment(source, target, expected):
  for tokenizer in (TOKENIZER, PADDED):
    ids = tokenizer.encode([source, target])
    assert align(*ids, tokenizer.end).tolist() == expected


def test_refine_takes_what_has_a_source_and_keeps_the_rest():
  taken, kept = refine(TOKENIZER, 'a cat on grass', 'a red cat on grass')
  assert kept.tolist() == [0, 0, 1, 0, 0, 0, 0]
  np.testing.assert_array_equal(taken.sum(0), 1 - kept)
  assert [int(taken[:, j].argmax()) for j in (0, 1, 3, 4, 5, 6)] == [0, 1, 2, 3, 4, 5]


def test_replace_pairs_words_by_their_places():
  for tokenizer in (TOKENIZER, PADDED):
    taken, kept = replace(tokenizer, 'a cat on grass', 'a dog on grass')
    np.testing.assert_array_equal(taken, np.eye(7))
    assert not kept.any()


def test_replace_spreads_words_over_their_tokens():
  # One word of one token against one of two: each of the two gets half of it.
  taken, _ = replace(TOKENIZER, 'a cat on', 'a red,dog on')
  expected = np.zeros((7, 7))
  expected[0, 0] = expected[1, 1] = expected[3, 4] = expected[4, 5] = expected[5, 6] = 1
  expected[2, 2:4] = 0.5
  np.testing.assert_array_equal(taken, expected)


def test_prompts_of_other_lengths_cannot_be_replaced():
  with pytest.raises(ValueError, match='have 1 and 2 words; accepted: equally many, or False'):
    replace(TOKENIZER, 'cat', 'a cat')
