"""Summaries of judged captions and edits: rates with intervals, by kind and method."""

import numpy as np

from uniedit_jax.metrics.statistics import gain, rate
from uniedit_jax.sprites.grades import GRADES
from uniedit_jax.sprites.scenes import ATTRIBUTES

ALL_KINDS = 'all kinds'
BASE = 'inversion'  # the method without injections
UNEDITED = ('vae floor', 'reconstruction')
RATES = ('changed', 'success', 'kept', 'bystander_right', *(f'{name}_right' for name in ATTRIBUTES))
MEASURES = ('credit', 'background_psnr', 'psnr', 'ssim', *GRADES)
MEASURES += ('frame_difference', 'exact_frame_difference')
GAINS = ('success', 'changed', 'credit', 'background_psnr', 'psnr', *GRADES)


def known_answer(row):
  """The measures of a row of `sprites.scoring.judge`, and the names of its wrong attributes."""
  judged = {
    name.removesuffix('_right'): right for name, right in row.items() if name.endswith('_right')
  }
  bystander = judged.pop('bystander')
  wrong = [name for name, right in judged.items() if not right]
  share = round(1 - len(wrong) / len(judged), 4)
  names = ('success', 'changed', 'kept', 'background_psnr', 'psnr', 'ssim', *GRADES)
  measures = {name: row[name] for name in names}
  wrong += [] if row['kept'] else ['untold']
  return measures | {
    'attributes_right': share,
    'bystander_right': bystander,
    'wrong': ', '.join(wrong),
  }


def summarise_captions(readings):
  """The rates at which generated clips show their captions.

  Args:
    readings: list of dicts {attribute: bool} of what each caption tells.

  Returns:
    dict {attribute: `rate` where it is told}, and 'all together', of all that a caption tells.
  """
  told = lambda name: [reading[name] for reading in readings if name in reading]
  rates = {name: rate(told(name)) for name in ATTRIBUTES if told(name)}
  return {**rates, 'all together': rate([all(reading.values()) for reading in readings])}


def summarise(rows):
  """Summarises judgements by kind and method.

  Args:
    rows: list of dicts with 'kind', 'method' and the entries of `scoring.judge`.

  Returns:
    dict {kind: {method: dict}} with a `rate` of each of `RATES`, {'mean', 'median'} of each of
    `MEASURES`, and for edits with injections 'gains', the paired `gain` over `BASE` in each of
    `GAINS`. `ALL_KINDS` comes last, with the methods that every kind has.
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
    summary[method] = {name: rate([row[name] for row in chosen]) for name in RATES}
    for name in MEASURES:
      values = [row[name] for row in chosen]
      mean, median = (round(float(average(values)), 4) for average in (np.mean, np.median))
      summary[method][name] = {'mean': mean, 'median': median}
    if BASE in by_method and method not in (BASE, *UNEDITED):
      base = by_method[BASE]
      summary[method]['gains'] = {
        name: gain([float(row[name]) for row in chosen], [float(row[name]) for row in base])
        for name in GAINS
      }
  return summary
