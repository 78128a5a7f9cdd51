"""Intervals of means, for what is measured on a few clips."""

import numpy as np

RESAMPLES = 2000


def interval(values, resamples=RESAMPLES):
  """Mean of n values and the 95 % interval of bootstrapped means: (mean, low, high); one value has none."""
  values = np.asarray(values, float)
  drawn = values[np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))].mean(axis=1)
  return values.mean(), *np.quantile(drawn, (0.025, 0.975))
