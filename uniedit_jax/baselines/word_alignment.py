"""Aligns the tokens of two prompts (prompt-to-prompt, Hertz et al. 2022; FateZero); numpy only."""

import numpy as np

MATCH, MISMATCH, GAP = 1, -1, 0


def token_count(ids, end):
  """The number of tokens of a prompt in padded ids i32[T], begin token and `end` included."""
  return int(np.argmax(ids == end)) + 1


def align(source, target, end):
  """Global alignment of two sequences of padded token ids i32[T]; `end` is the end token's.

  Returns:
    i32[T]: for each target token that of the source, or -1; padding is aligned with itself.
  """
  rows, columns = token_count(source, end), token_count(target, end)
  score = np.zeros((rows + 1, columns + 1), int)
  for i in range(1, rows + 1):
    for j in range(1, columns + 1):
      score[i, j] = max(_moves(score, source, target, i, j))
  found, i, j = np.arange(len(target)), rows, columns
  found[:columns] = -1
  while i and j:
    left, up, _ = _moves(score, source, target, i, j)
    # A gap is preferred to a pair of different tokens.
    if score[i, j] == left:
      j -= 1
    elif score[i, j] == up:
      i -= 1
    else:
      i, j = i - 1, j - 1
      found[j] = i
  return found


def _moves(score, source, target, i, j):
  """The scores of leaving out target token j - 1 or source token i - 1, and of pairing them."""
  pair = MATCH if source[i - 1] == target[j - 1] else MISMATCH
  return score[i, j - 1] + GAP, score[i - 1, j] + GAP, score[i - 1, j - 1] + pair


def refine(tokenizer, source, target):
  """Weights of the source map if words were added to a prompt or exchanged.

  Returns:
    (taken f32[T, T], which pairs aligned tokens; kept f32[T], 1 for target tokens without a source
    token).
  """
  found = align(*tokenizer.encode([source, target]), tokenizer.end)
  taken = np.zeros((len(found), len(found)), np.float32)
  has_source = found >= 0
  taken[found[has_source], np.flatnonzero(has_source)] = 1
  return taken, np.float32(~has_source)


def replace(tokenizer, source, target):
  """Weights of the source map if every word replaces the one in its place: kept f32[T] is 0.

  Returns:
    (taken f32[T, T], kept f32[T]).

  Raises:
    ValueError: the numbers of words differ, or the tokens of words are not those of the prompt.
  """
  words = [prompt.split() for prompt in (source, target)]
  if len(words[0]) != len(words[1]):
    raise ValueError(
      f'baseline.replace is True and the prompts {source!r} and {target!r} have {len(words[0])} '
      f'and {len(words[1])} words; accepted: equally many, or False'
    )
  spans = [_spans(tokenizer, *pair) for pair in zip((source, target), words, strict=True)]
  size = tokenizer.encode([source]).shape[1]
  taken, ends = np.zeros((size, size), np.float32), [1, 1]
  taken[0, 0] = 1
  for old, new in zip(*spans, strict=True):
    ends = old.stop, new.stop
    if old.stop - old.start == new.stop - new.start:
      taken[np.arange(old.start, old.stop), np.arange(new.start, new.stop)] = 1
    else:
      taken[old, new] = 1 / (new.stop - new.start)
  # The end token and the padding, one for one.
  rest = size - max(ends)
  taken[ends[0] + np.arange(rest), ends[1] + np.arange(rest)] = 1
  return taken, np.zeros(size, np.float32)


def _spans(tokenizer, prompt, words):
  """The slice of tokens of each word."""
  *counts, whole = (
    token_count(ids, tokenizer.end) - 2 for ids in tokenizer.encode([*words, prompt])
  )
  if sum(counts) != whole:
    raise ValueError(
      f'the words of {prompt!r} have other tokens than it has; accepted: words between single '
      'spaces'
    )
  stops = 1 + np.cumsum(counts)
  return [slice(int(stop - count), int(stop)) for stop, count in zip(stops, counts, strict=True)]
