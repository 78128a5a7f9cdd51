"""Means and rates with their intervals, for what is measured on a few clips."""

import math

import numpy as np

RESAMPLES = 2000


def interval(values, resamples=RESAMPLES, groups=None):
  """Mean of n values and the 95 % interval of bootstrapped means.

  Args:
    values: n numbers.
    resamples: how often they are drawn.
    groups: n labels: values of one label are drawn together, as those of edits of one clip, which
      are not independent. None draws each by itself.

  Returns:
    (mean, low, high); the interval of a single value, or group, is the mean.
  """
  values = np.asarray(values, float)
  group = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
  sums, counts = np.bincount(group, values), np.bincount(group)
  drawn = np.random.default_rng(0).integers(len(sums), size=(resamples, len(sums)))
  means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
  return values.mean(), *np.quantile(means, (0.025, 0.975))


def crossed_interval(values, raters, items, resamples=RESAMPLES):
  """Mean and 95 % interval of values that share raters and items, so that they are not independent
  of each other.

  Every resample draws as many raters as there are, with replacement, and apart from that as many
  items; a value counts as often as its rater was drawn, times as often as its item was. The
  interval then holds for other raters and other items. It is rather too wide than too narrow; one
  rater, or one item, adds nothing to it.

  Args:
    values: n numbers.
    raters, items: who gave each value, and on what; n hashable values.
    resamples: number of resamples.

  Returns:
    (mean, low, high).
  """
  values, generator = np.asarray(values, float), np.random.default_rng(0)
  weights = np.ones((resamples, len(values)))
  for groups in (raters, items):
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights *= drawn[:, [names[name] for name in groups]]
  # Where not every rater had every item, a resample may hold nothing.
  total = weights.sum(axis=1)
  means = (weights @ values)[total > 0] / total[total > 0]
  return values.mean(), *np.quantile(means, (0.025, 0.975))


GAIN_RESAMPLES = 10_000


def wilson(count, total, z=1.959964):
  """The Wilson score interval of a rate, by default with 95 % confidence.

  Args:
    count, total: `count` successes of `total` >= 1.
    z: quantile of the normal distribution.

  Returns:
    (low, high).
  """
  rate, spread = count / total, z * z / total
  middle = rate + spread / 2
  half = z * math.sqrt(rate * (1 - rate) / total + spread / (4 * total))
  return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def rate(flags):
  """{'rate', 'low', 'high', 'count'} of bools: their share of True with its Wilson interval, and
  their number.
  """
  low, high = wilson(sum(flags), len(flags))
  return {
    'rate': round(sum(flags) / len(flags), 4),
    'low': round(low, 4),
    'high': round(high, 4),
    'count': len(flags),
  }


def gain(values, base):
  """What a method adds to another one on the same edits, with the 95 % interval of bootstrapped
  means.

  Args:
    values, base: a measure of n edits by either method.

  Returns:
    {'mean', 'low', 'high', 'better' (edits in which it is higher), 'count'}.
  """
  differences = np.subtract(values, base)
  figures = zip(('mean', 'low', 'high'), interval(differences, GAIN_RESAMPLES), strict=True)
  figures = {name: round(float(value), 4) for name, value in figures}
  return {**figures, 'better': int((differences > 0).sum()), 'count': len(differences)}
