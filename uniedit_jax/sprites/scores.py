"""Rates with their intervals, and judgements summed up by kind and method."""

import math

import numpy as np

from uniedit_jax import bootstrap
from uniedit_jax.sprites.scenes import ATTRIBUTES

ALL_KINDS = 'all kinds'
BASE = 'inversion'  # the method that nothing is injected in
UNEDITED = ('vae floor', 'reconstruction')
RESAMPLES = 10_000


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
  """{'rate', 'low', 'high', 'count'} of bools: their share of True with its Wilson interval, and their number."""
  low, high = wilson(sum(flags), len(flags))
  return {'rate': round(sum(flags) / len(flags), 4), 'low': round(low, 4), 'high': round(high, 4), 'count': len(flags)}


def gain(values, base):
  """What a method adds to another one on the same edits, with the 95 % interval of bootstrapped means.

  Args:
    values, base: a measure of n edits by either method.

  Returns:
    {'mean', 'low', 'high', 'better' (edits in which it is higher), 'count'}.
  """
  differences = np.subtract(values, base)
  figures = zip(('mean', 'low', 'high'), bootstrap.interval(differences, RESAMPLES), strict=True)
  figures = {name: round(float(value), 4) for name, value in figures}
  return {**figures, 'better': int((differences > 0).sum()), 'count': len(differences)}


def summarise_captions(readings):
  """The rates at which captions come true.

  Args:
    readings: list of dicts {attribute: bool}.

  Returns:
    dict {attribute: `rate`}, and 'all together'.
  """
  rates = {attribute: rate([reading[attribute] for reading in readings]) for attribute in ATTRIBUTES}
  return {**rates, 'all together': rate([all(reading.values()) for reading in readings])}


def summarise(rows):
  """Sums the judgements up by kind and method.

  Args:
    rows: list of dicts with 'kind', 'method' and what `judge` says.

  Returns:
    dict {kind: {method: dict}} with `rate`s of 'changed' and 'success', {'mean', 'median'} of every measure, and for
    edits with injections 'background_gain', the `gain` in 'background_psnr' over `BASE`.
    `ALL_KINDS` comes last, with the methods that every kind has.
  """
  kinds = list(dict.fromkeys(row['kind'] for row in rows))
  by_kind = {kind: _by_method([row for row in rows if row['kind'] == kind]) for kind in kinds}
  everywhere = [method for method in by_kind[kinds[0]] if all(method in by_kind[kind] for kind in kinds)]
  return {**by_kind, ALL_KINDS: _by_method([row for row in rows if row['method'] in everywhere])}


def _by_method(rows):
  summary, by_method = {}, {}
  for row in rows:
    by_method.setdefault(row['method'], []).append(row)
  for method, chosen in by_method.items():
    summary[method] = {name: rate([row[name] for row in chosen]) for name in ('changed', 'success')}
    for name in ('background_psnr', 'psnr', 'ssim', 'frame_difference', 'exact_frame_difference'):
      values = [row[name] for row in chosen]
      summary[method][name] = {'mean': round(float(np.mean(values)), 4), 'median': round(float(np.median(values)), 4)}
    if BASE in by_method and method not in (BASE, *UNEDITED):
      background = lambda rows: [row['background_psnr'] for row in rows]
      summary[method]['background_gain'] = gain(background(chosen), background(by_method[BASE]))
  return summary
