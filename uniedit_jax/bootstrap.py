"""Intervals of means, for what is measured on a few clips."""

import numpy as np

RESAMPLES = 2000


def crossed_interval(values, raters, items, resamples=RESAMPLES):
  """Mean and 95 % interval of values that share raters and items, so that they are not independent of each other.

  Every resample draws as many raters as there are, with replacement, and apart from that as many items; a value counts
  as often as its rater was drawn, times as often as its item was. The interval then holds for other raters and other
  items. It is rather too wide than too narrow; one rater, or one item, adds nothing to it.

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


def interval(values, resamples=RESAMPLES):
  """Mean of n values and the 95 % interval of bootstrapped means: (mean, low, high); one value has none."""
  values = np.asarray(values, float)
  drawn = values[np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))].mean(axis=1)
  return values.mean(), *np.quantile(drawn, (0.025, 0.975))
