"""A tokenizer with one id a word, for models that know few words."""

import difflib
import re

import numpy as np


def split_words(prompt):
  """The words of a prompt, lower-cased and without punctuation."""
  return re.findall(r"[\w'-]+", prompt.lower())


class WordTokenizer:
  """Lower-cases, drops punctuation, and looks words up; the same function as `clip.Tokenizer`."""

  def __init__(self, words, config):
    """Takes a vocabulary.

    Args:
      words: list of str; the id of a word is its place.
      config: `clip.TextConfig` the token ids are meant for.

    Raises:
      ValueError: the vocabulary does not fit `config`.
    """
    self._ids = {word: i for i, word in enumerate(words)}
    self._config = config
    highest = max(len(words), config.bos + 1, config.eos + 1)
    if len(self._ids) < len(words) or min(config.bos, config.eos) < len(words) or config.vocabulary < highest:
      raise ValueError(
        f'the vocabulary has {len(words)} words, {len(self._ids)} different; accepted: different words, fewer than '
        f'bos={config.bos}, eos={config.eos} and vocabulary={config.vocabulary} of the text encoder'
      )

  def encode(self, prompts):
    """Token ids of prompts, padded with the end token.

    Args:
      prompts: list of str, P of them.

    Returns:
      i32[P, T], T = `config.positions`.

    Raises:
      ValueError: a prompt has unknown words, or more tokens than positions. Nothing is ever cut silently.
    """
    config = self._config
    out = np.full((len(prompts), config.positions), config.eos, np.int32)
    for row, prompt in zip(out, prompts, strict=True):
      words = split_words(prompt)
      if unknown := [word for word in dict.fromkeys(words) if word not in self._ids]:
        raise ValueError(self._unknown(prompt, unknown))
      ids = [config.bos, *(self._ids[word] for word in words), config.eos]
      if len(ids) > len(row):
        raise ValueError(
          f'prompt {prompt!r} has {len(ids)} tokens; accepted: at most {len(row)}, begin and end tokens included'
        )
      row[: len(ids)] = ids
    return out

  def _unknown(self, prompt, unknown):
    nearest = {word: difflib.get_close_matches(word, self._ids, n=3, cutoff=0.5) for word in unknown}
    told = [f'{word!r}' + (f' (nearest: {", ".join(near)})' if near else '') for word, near in nearest.items()]
    accepted = ' '.join(self._ids)
    return f'prompt {prompt!r} has words that the model does not know: {", ".join(told)}; accepted: {accepted}'
