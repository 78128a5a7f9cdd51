"""Intervals of means."""

import numpy as np

from uniedit_jax.metrics import statistics


def test_the_interval_of_a_mean_is_that_of_a_normal_distribution():
  values = np.random.default_rng(1).normal(3.0, 1.0, 400)
  mean, low, high = statistics.interval(values)
  np.testing.assert_allclose([low, high], [mean - 1.96 / 20, mean + 1.96 / 20], atol=0.03)
  assert statistics.interval([2.5]) == (2.5, 2.5, 2.5)


def test_crossed_intervals_hold_for_other_raters_and_other_items():
  generator = np.random.default_rng(2)
  raters, items = np.repeat(np.arange(20), 30), np.tile(np.arange(30), 20)
  noise = lambda spread, count: generator.normal(0, spread, count)
  values = noise(1.0, 20)[raters] + noise(0.5, 30)[items] + noise(0.5, 600)
  mean, low, high = statistics.crossed_interval(values, raters, items)
  # The error is that of as many independent values as there are raters and items.
  by_rater, by_item = (values.reshape(20, 30).mean(axis=axis) for axis in (1, 0))
  error = np.hypot(by_rater.std() / 20**0.5, by_item.std() / 30**0.5)
  np.testing.assert_allclose([low, high], [mean - 1.96 * error, mean + 1.96 * error], atol=0.06)
  _, alone_low, alone_high = statistics.interval(values)
  assert high - low > 3 * (alone_high - alone_low)


def test_crossed_intervals_of_one_rater_or_sparse_answers():
  assert statistics.crossed_interval([4, 4], 'ab', [0, 1]) == (4, 4, 4)
  mean, low, high = statistics.crossed_interval([1, 5], 'aa', [0, 1])
  assert (mean, low, high) == (3, 1, 5)
  assert statistics.crossed_interval([1, 5], 'ab', [0, 1]) == (3, 1, 5)


def test_a_sign_flip_test_asks_how_often_random_signs_go_as_far():
  # All of 4 differences have a sign in 2 of 16 patterns.
  np.testing.assert_allclose(statistics.sign_flip_test([1, 2, 3, 4]), 2 / 16, atol=0.01)
  assert statistics.sign_flip_test([0, 0, 0]) == 1
  assert statistics.sign_flip_test(np.ones(40)) < 0.001
  generator = np.random.default_rng(3)
  p_values = [statistics.sign_flip_test(generator.normal(size=12), 500) for _ in range(300)]
  np.testing.assert_allclose(np.mean(np.array(p_values) < 0.1), 0.1, atol=0.05)


def test_holm_corrects_the_smallest_by_all_and_keeps_the_order():
  np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
  assert statistics.holm([0.5, 0.9]) == [1, 1]
