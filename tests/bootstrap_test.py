"""Intervals of means."""

import numpy as np

from uniedit_jax import bootstrap


def test_the_interval_of_a_mean_is_that_of_a_normal_distribution():
  values = np.random.default_rng(1).normal(3.0, 1.0, 400)
  mean, low, high = bootstrap.interval(values)
  np.testing.assert_allclose([low, high], [mean - 1.96 / 20, mean + 1.96 / 20], atol=0.03)
  assert bootstrap.interval([2.5]) == (2.5, 2.5, 2.5)
