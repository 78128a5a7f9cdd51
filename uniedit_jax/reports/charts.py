"""Plots as places on a page: templates draw them as SVG, in the colours of the page."""

import math
from typing import NamedTuple

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 58, WIDTH - 14, 28, HEIGHT - 44
TICKS = 4  # about, of an axis of numbers


class Series(NamedTuple):
  """A line of a plot.

  Attributes:
    label: text, '' for none.
    points: list of (x, y, low, high), in the order in which they are joined; low and high are the
      ends of an interval, or y.
    dots: list of (x, y, id of what the dot leads to or '', text on hover).
    band: whether intervals are drawn as one band.
    dashed: whether the line is dashed.
  """

  label: str
  points: list
  dots: tuple = ()
  band: bool = False
  dashed: bool = False


class Line(NamedTuple):
  """A `Series` in the places of the page."""

  label: str
  path: str
  dots: list
  bars: list
  band: str
  dashed: bool


class Chart(NamedTuple):
  """A plot: texts and places, all within `width` x `height`."""

  title: str
  x_title: str
  x_ticks: list
  y_ticks: list
  lines: list
  width: int = WIDTH
  height: int = HEIGHT
  left: int = LEFT
  right: int = RIGHT
  bottom: int = BOTTOM


def draw_chart(title, x_title, series, labels=None):
  """Places `Series` on a page: `Chart`; `labels` name the places 0, 1, ... of x, if given."""
  xs = [x for one in series for x, *_ in (*one.points, *one.dots)]
  ys = [y for one in series for _, *of in one.points for y in of]
  ys += [y for one in series for _, y, *_ in one.dots]
  (x_low, x_high), (y_low, y_high) = _range(xs), _range(ys)
  across = lambda x: round(LEFT + 12 + (RIGHT - LEFT - 24) * (x - x_low) / (x_high - x_low), 1)
  down = lambda y: round(BOTTOM - 8 - (BOTTOM - TOP - 16) * (y - y_low) / (y_high - y_low), 1)
  join = lambda places: ' '.join(f'{across(x)},{down(y)}' for x, y in places)
  lines = []
  for one in series:
    bars = [(across(x), down(low), down(high)) for x, _, low, high in one.points if high > low]
    band = [(x, low) for x, _, low, _ in one.points] + [(x, h) for x, _, _, h in one.points[::-1]]
    lines.append(
      Line(
        one.label,
        join((x, y) for x, y, *_ in one.points),
        [(across(x), down(y), target, hint) for x, y, target, hint in one.dots],
        [] if one.band else bars,
        join(band) if one.band else '',
        one.dashed,
      )
    )
  ticks = enumerate(labels) if labels else ((x, f'{x:.6g}') for x in _ticks(x_low, x_high))
  if labels:
    shorten = max(8, 60 // len(labels))
    ticks = ((x, text if len(text) <= shorten else f'{text[:shorten]}…') for x, text in ticks)
  x_ticks = [(across(x), text) for x, text in ticks]
  y_ticks = [(down(y), f'{y:.6g}') for y in _ticks(y_low, y_high)]
  return Chart(title, x_title, x_ticks, y_ticks, lines)


def _range(values):
  """The least and the most of values, apart even where all are the same."""
  low, high = min(values, default=0.0), max(values, default=1.0)
  return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low, high):
  """Round numbers between two ends, about `TICKS` of them."""
  raw = (high - low) / TICKS
  power = 10.0 ** math.floor(math.log10(raw))
  step = next(power * times for times in (1, 2, 5, 10) if raw <= power * times)
  first = math.ceil(low / step - 1e-9)
  return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
