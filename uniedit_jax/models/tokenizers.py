"""Tokenizers: byte-pair encoding (CLIP), one id a word (small models), and where words are in a
prompt.
"""

import difflib
import re
import tempfile

import numpy as np
from etils import epath


def split_words(prompt):
  """The words of a prompt, lower-cased and without punctuation."""
  return re.findall(r"[\w'-]+", prompt.lower())


class WordTokenizer:
  """Lower-cases, drops punctuation, and looks words up; the same function as
  `tokenizers.CLIPTokenizer`.
  """

  def __init__(self, words, config):
    """Takes a vocabulary.

    Args:
      words: list of str; the id of a word is its place.
      config: `clip_text.TextConfig` the token ids are meant for.

    Raises:
      ValueError: the vocabulary does not fit `config`.
    """
    self._ids = {word: i for i, word in enumerate(words)}
    self._config = config
    highest = max(len(words), config.bos + 1, config.eos + 1)
    if (
      len(self._ids) < len(words)
      or min(config.bos, config.eos) < len(words)
      or config.vocabulary < highest
    ):
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
      ValueError: a prompt has unknown words, or more tokens than positions. Nothing is ever cut
        silently.
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
    nearest = {
      word: difflib.get_close_matches(word, self._ids, n=3, cutoff=0.5) for word in unknown
    }
    told = [
      f'{word!r}' + (f' (nearest: {", ".join(near)})' if near else '')
      for word, near in nearest.items()
    ]
    accepted = ' '.join(self._ids)
    return f'prompt {prompt!r} has words that the model does not know: {", ".join(told)}; accepted: {accepted}'


TOKENIZER_FILES = ('vocab.json', 'merges.txt')


class CLIPTokenizer:
  """CLIP's lower-casing byte-pair tokenizer, read from a folder with vocab.json and merges.txt."""

  def __init__(self, folder, config):
    """Reads the vocabulary.

    Args:
      folder: path, local or remote.
      config: `TextConfig` the token ids are meant for.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: the vocabulary does not fit `config`.
    """
    import transformers  # late: it takes seconds, and only prompts need it

    folder = epath.Path(folder)
    with tempfile.TemporaryDirectory() as local:
      for name in TOKENIZER_FILES:
        (epath.Path(local) / name).write_text((folder / name).read_text())
      self._tokenizer = transformers.CLIPTokenizer.from_pretrained(local)
    self._config = config
    found = (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id)
    if found != (config.bos, config.eos) or len(self._tokenizer) > config.vocabulary:
      raise ValueError(
        f'{folder} has {len(self._tokenizer)} ids, begin and end tokens {found}; the text encoder expects at '
        f'most {config.vocabulary} ids, begin and end tokens {(config.bos, config.eos)}'
      )

  def encode(self, prompts):
    """Token ids of prompts, padded with the end token.

    Args:
      prompts: list of str, P of them.

    Returns:
      i32[P, T], T = `config.positions`.

    Raises:
      ValueError: a prompt has more tokens than positions. Nothing is ever cut silently.
    """
    limit = self._config.positions
    out = np.full((len(prompts), limit), self._config.eos, np.int32)
    for row, prompt in zip(out, prompts, strict=True):
      ids = self._tokenizer(prompt)['input_ids']
      if len(ids) > limit:
        raise ValueError(
          f'prompt {prompt!r} has {len(ids)} tokens; accepted: at most {limit}, begin and end tokens included'
        )
      row[: len(ids)] = ids
    return out


def word_positions(tokenizer, prompt, words):
  """Where the tokens of some words are in a prompt.

  Args:
    tokenizer: has `encode` (list of P prompts -> i32[P, T], between a begin and an end token).
    prompt: str.
    words: list of str, each a word or several that follow each other.

  Returns:
    list of int, token positions.

  Raises:
    ValueError: no words, or words that the prompt does not have.
  """
  prompt_ids, *ids = tokenizer.encode([prompt, *words]).tolist()
  # the padding; a padding token that the prompt may have too is never searched for
  end = prompt_ids[-1]
  positions = []
  for word, (_, *tokens) in zip(words, ids, strict=True):
    tokens = tokens[: tokens.index(end)]
    starts = [
      i for i in range(len(prompt_ids)) if tokens and prompt_ids[i : i + len(tokens)] == tokens
    ]
    if not starts:
      raise ValueError(f'{word!r} is not in the prompt {prompt!r}; accepted: words of the prompt')
    positions += [i + j for i in starts for j in range(len(tokens))]
  if not positions:
    raise ValueError(
      f'there are no words of the prompt {prompt!r} to look for; accepted: at least one'
    )
  return sorted(set(positions))
