"""Means and rates of a few clips, with 95 % intervals: bootstrap for means, Wilson for rates."""

import math

import numpy as np

RESAMPLES = 2000


def interval(values, resamples=RESAMPLES, groups=None):
  """Mean of n values and the 95 % interval of bootstrapped means: (mean, low, high).

  Values of one label in `groups` are not independent, as edits of one clip, and are drawn together;
  None draws every value independently. The interval of a single value, or group, is the mean.
  """
  values = np.asarray(values, float)
  group = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
  sums, counts = np.bincount(group, values), np.bincount(group)
  drawn = np.random.default_rng(0).integers(len(sums), size=(resamples, len(sums)))
  means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
  return values.mean(), *np.quantile(means, (0.025, 0.975))


def crossed_interval(values, raters, items, resamples=RESAMPLES):
  """Mean and 95 % interval of n ratings, which share raters and items and so are not independent.

  Every resample draws all raters with replacement, and independently all items; the weight of a
  value is the count of its rater times the count of its item. The interval then holds for other
  raters and other items, and is conservative; a single rater, or item, adds nothing to it.

  Returns:
    (mean, low, high).
  """
  values, generator = np.asarray(values, float), np.random.default_rng(0)
  weights = np.ones((resamples, len(values)))
  for groups in (raters, items):
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights *= drawn[:, [names[name] for name in groups]]
  # A resample may be empty if not every rater had every item.
  total = weights.sum(axis=1)
  means = (weights @ values)[total > 0] / total[total > 0]
  return values.mean(), *np.quantile(means, (0.025, 0.975))


def wilson(count, total, z=1.959964):
  """Wilson score interval (low, high) of `count` successes of `total` >= 1, by default of 95 %."""
  rate, spread = count / total, z * z / total
  middle = rate + spread / 2
  half = z * math.sqrt(rate * (1 - rate) / total + spread / (4 * total))
  return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def rate(flags):
  """The share of True of n bools and its Wilson interval: {'rate', 'low', 'high', 'count'}."""
  share, (low, high) = sum(flags) / len(flags), wilson(sum(flags), len(flags))
  rounded = {'rate': round(share, 4), 'low': round(low, 4), 'high': round(high, 4)}
  return rounded | {'count': len(flags)}


def sign_flip_test(differences, resamples=10_000):
  """The two-sided p-value of paired differences whose mean would be 0 if their signs were random.

  Args:
    differences: n numbers.
    resamples: number of random sign patterns, to which the observed one is added.
  """
  differences = np.asarray(differences, float)
  signs = np.random.default_rng(0).choice((-1.0, 1.0), (resamples, len(differences)))
  extreme = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12)
  return (1 + int(extreme.sum())) / (1 + resamples)


def holm(p_values):
  """Corrects p-values of several comparisons by Holm's method (1979): list of floats."""
  order = np.argsort(p_values)
  scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
  corrected = np.empty(len(order))
  corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
  return corrected.tolist()


def gain(values, base, resamples=10_000):
  """Mean gain of a method over `base` on the same edits, with its bootstrapped 95 % interval.

  Returns:
    {'mean', 'low', 'high', 'better' (edits with a higher value), 'count'}.
  """
  differences = np.subtract(values, base)
  mean, low, high = (round(float(value), 4) for value in interval(differences, resamples))
  better = int((differences > 0).sum())
  return {'mean': mean, 'low': low, 'high': high, 'better': better, 'count': len(differences)}
