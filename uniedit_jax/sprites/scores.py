"""Summaries of judged captions and edits: rates with intervals, by kind and method."""

import numpy as np

from uniedit_jax.metrics.statistics import gain, rate
from uniedit_jax.sprites.scenes import ATTRIBUTES

ALL_KINDS = 'all kinds'
BASE = 'inversion'  # the method without injections
UNEDITED = ('vae floor', 'reconstruction')
MEASURES = ('background_psnr', 'psnr', 'ssim', 'frame_difference', 'exact_frame_difference')


def summarise_captions(readings):
  """The rates at which generated clips show their captions.

  Args:
    readings: list of dicts {attribute: bool}.

  Returns:
    dict {attribute: `rate`}, and 'all together'.
  """
  rates = {name: rate([reading[name] for reading in readings]) for name in ATTRIBUTES}
  return {**rates, 'all together': rate([all(reading.values()) for reading in readings])}


def summarise(rows):
  """Summarises judgements by kind and method.

  Args:
    rows: list of dicts with 'kind', 'method' and the entries of `scoring.judge`.

  Returns:
    dict {kind: {method: dict}} with `rate`s of 'changed' and 'success', {'mean', 'median'} of every
    measure, and for edits with injections 'background_gain', the `gain` in 'background_psnr' over
    `BASE`. `ALL_KINDS` comes last, with the methods that every kind has.
  """
  kinds = list(dict.fromkeys(row['kind'] for row in rows))
  by_kind = {kind: _by_method([row for row in rows if row['kind'] == kind]) for kind in kinds}
  everywhere = set.intersection(*map(set, by_kind.values()))
  return {**by_kind, ALL_KINDS: _by_method([row for row in rows if row['method'] in everywhere])}


def _by_method(rows):
  summary, by_method = {}, {}
  for row in rows:
    by_method.setdefault(row['method'], []).append(row)
  for method, chosen in by_method.items():
    summary[method] = {name: rate([row[name] for row in chosen]) for name in ('changed', 'success')}
    for name in MEASURES:
      values = [row[name] for row in chosen]
      mean, median = (round(float(average(values)), 4) for average in (np.mean, np.median))
      summary[method][name] = {'mean': mean, 'median': median}
    if BASE in by_method and method not in (BASE, *UNEDITED):
      background = lambda rows: [row['background_psnr'] for row in rows]
      summary[method]['background_gain'] = gain(background(chosen), background(by_method[BASE]))
  return summary
