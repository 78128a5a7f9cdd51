"""Rates with their intervals, and judgements summed up by kind and method."""

import numpy as np

from uniedit_jax.metrics.statistics import gain, rate
from uniedit_jax.sprites.scenes import ATTRIBUTES

ALL_KINDS = 'all kinds'
BASE = 'inversion'  # the method that nothing is injected in
UNEDITED = ('vae floor', 'reconstruction')


def summarise_captions(readings):
  """The rates at which captions come true.

  Args:
    readings: list of dicts {attribute: bool}.

  Returns:
    dict {attribute: `rate`}, and 'all together'.
  """
  rates = {
    attribute: rate([reading[attribute] for reading in readings]) for attribute in ATTRIBUTES
  }
  return {**rates, 'all together': rate([all(reading.values()) for reading in readings])}


def summarise(rows):
  """Sums the judgements up by kind and method.

  Args:
    rows: list of dicts with 'kind', 'method' and what `judge` says.

  Returns:
    dict {kind: {method: dict}} with `rate`s of 'changed' and 'success', {'mean', 'median'} of every
    measure, and for edits with injections 'background_gain', the `gain` in 'background_psnr' over
    `BASE`. `ALL_KINDS` comes last, with the methods that every kind has.
  """
  kinds = list(dict.fromkeys(row['kind'] for row in rows))
  by_kind = {kind: _by_method([row for row in rows if row['kind'] == kind]) for kind in kinds}
  everywhere = [
    method for method in by_kind[kinds[0]] if all(method in by_kind[kind] for kind in kinds)
  ]
  return {**by_kind, ALL_KINDS: _by_method([row for row in rows if row['method'] in everywhere])}


def _by_method(rows):
  summary, by_method = {}, {}
  for row in rows:
    by_method.setdefault(row['method'], []).append(row)
  for method, chosen in by_method.items():
    summary[method] = {name: rate([row[name] for row in chosen]) for name in ('changed', 'success')}
    for name in ('background_psnr', 'psnr', 'ssim', 'frame_difference', 'exact_frame_difference'):
      values = [row[name] for row in chosen]
      summary[method][name] = {
        'mean': round(float(np.mean(values)), 4),
        'median': round(float(np.median(values)), 4),
      }
    if BASE in by_method and method not in (BASE, *UNEDITED):
      background = lambda rows: [row['background_psnr'] for row in rows]
      summary[method]['background_gain'] = gain(background(chosen), background(by_method[BASE]))
  return summary
