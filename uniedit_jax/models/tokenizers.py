"""Tokenizers: CLIP's byte pairs, or one id a word for small models; and words within a prompt."""

import difflib
import re
import tempfile

import numpy as np
from etils import epath

TOKENIZER_FILES = ('vocab.json', 'merges.txt')


class CLIPTokenizer:
  """CLIP's lower-casing byte-pair tokenizer, read from a folder with vocab.json and merges.txt.

  Attributes:
    end: id of the end token.
  """

  def __init__(self, folder, config):
    """Reads the vocabulary in a folder, local or remote, for a text tower's `TextConfig`.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: the vocabulary does not fit `config`.
    """
    # The import takes seconds, and only prompts need it.
    import transformers

    folder = epath.Path(folder)
    with tempfile.TemporaryDirectory() as local:
      for name in TOKENIZER_FILES:
        (epath.Path(local) / name).write_text((folder / name).read_text())
      self._tokenizer = transformers.CLIPTokenizer.from_pretrained(local)
    self._config, self.end = config, config.eos
    found = (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id)
    if found != (config.bos, config.eos) or len(self._tokenizer) > config.vocabulary:
      raise ValueError(
        f'{folder} has {len(self._tokenizer)} ids, begin and end tokens {found}; the text encoder '
        f'expects at most {config.vocabulary} ids, begin and end tokens {(config.bos, config.eos)}'
      )

  def encode(self, prompts):
    """Token ids i32[P, T] of P prompts, padded to T = `config.positions` as `config.pad` says.

    Raises:
      ValueError: a prompt has more tokens than positions; prompts are never truncated.
    """
    ids = (self._tokenizer(prompt)['input_ids'] for prompt in prompts)
    return _pad(prompts, ids, self._config)


class WordTokenizer:
  """One id a word, case and punctuation ignored; the interface of `CLIPTokenizer`."""

  def __init__(self, words, config):
    """Takes a vocabulary, a list of str whose indices are the ids, for a text tower's `TextConfig`.

    Raises:
      ValueError: the vocabulary does not fit `config`.
    """
    self._ids, self._config = {word: i for i, word in enumerate(words)}, config
    self.end = config.eos
    distinct, lowest = len(self._ids) == len(words), min(config.bos, config.eos)
    highest = max(len(words), config.bos + 1, config.eos + 1)
    if not distinct or lowest < len(words) or config.vocabulary < highest:
      raise ValueError(
        f'the vocabulary has {len(words)} words, {len(self._ids)} different; accepted: different '
        f'words, fewer than bos={config.bos}, eos={config.eos} and '
        f'vocabulary={config.vocabulary} of the text encoder'
      )

  def encode(self, prompts):
    """Token ids as `CLIPTokenizer.encode`; raises ValueError for unknown words too."""
    return _pad(prompts, map(self._encode, prompts), self._config)

  def _encode(self, prompt):
    words = split_words(prompt)
    if prompt.strip() and not words:
      raise ValueError(f'prompt {prompt!r} has no words; accepted: words, or none at all')
    if unknown := [word for word in dict.fromkeys(words) if word not in self._ids]:
      listed = ', '.join(self._suggest(word) for word in unknown)
      raise ValueError(
        f'prompt {prompt!r} has words that the model does not know: {listed}; '
        f'accepted: {" ".join(self._ids)}'
      )
    return [self._config.bos, *(self._ids[word] for word in words), self._config.eos]

  def _suggest(self, word):
    near = ', '.join(difflib.get_close_matches(word, self._ids, n=3, cutoff=0.5))
    return f'{word!r} (nearest: {near})' if near else repr(word)


def split_words(prompt):
  """The words of a prompt, lower-cased and without punctuation."""
  return re.findall(r"[\w'-]+", prompt.lower())


def word_positions(tokenizer, prompt, words):
  """Positions of the tokens of some words in a prompt, list of int.

  Args:
    tokenizer: `CLIPTokenizer` or `WordTokenizer`.
    prompt: str.
    words: list of str, each a word or several consecutive words.

  Raises:
    ValueError: no words, or words that the prompt does not have.
  """
  padded = tokenizer.encode([prompt, *words]).tolist()
  # Only up to the end token, as the padding may be the token of a word.
  prompt_ids, *ids = (ids[: ids.index(tokenizer.end)] for ids in padded)
  positions = set()
  for word, (_, *tokens) in zip(words, ids, strict=True):
    places = range(len(prompt_ids) if tokens else 0)
    starts = [i for i in places if prompt_ids[i : i + len(tokens)] == tokens]
    if not starts:
      raise ValueError(f'{word!r} is not in the prompt {prompt!r}; accepted: words of the prompt')
    positions |= {i + j for i in starts for j in range(len(tokens))}
  if not positions:
    fault = f'there are no words of the prompt {prompt!r} to look for; accepted: at least one'
    raise ValueError(fault)
  return sorted(positions)


def _pad(prompts, ids, config):
  """i32[P, T] of the ids of P prompts, padded; none may have more than T."""
  pad = config.eos if config.pad < 0 else config.pad
  out = np.full((len(prompts), config.positions), pad, np.int32)
  for row, prompt, tokens in zip(out, prompts, ids, strict=True):
    if len(tokens) > len(row):
      raise ValueError(
        f'prompt {prompt!r} has {len(tokens)} tokens; accepted: at most {len(row)}, '
        'begin and end tokens included'
      )
    row[: len(tokens)] = tokens
  return out
