"""Intervals of means, for what is measured on a few clips."""

import numpy as np

RESAMPLES = 2000


def interval(values, resamples=RESAMPLES, groups=None):
  """Mean of n values and the 95 % interval of bootstrapped means.

  Args:
    values: n numbers.
    resamples: how often they are drawn.
    groups: n labels: values of one label are drawn together, as those of edits of one clip, which are not independent.
      None draws each by itself.

  Returns:
    (mean, low, high); the interval of a single value, or group, is the mean.
  """
  values = np.asarray(values, float)
  group = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
  sums, counts = np.bincount(group, values), np.bincount(group)
  drawn = np.random.default_rng(0).integers(len(sums), size=(resamples, len(sums)))
  means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
  return values.mean(), *np.quantile(means, (0.025, 0.975))
