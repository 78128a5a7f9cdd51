"""The losses of a training run: read back from their table, and plotted."""

import csv

from etils import epath

from uniedit_jax.runtime.files import atomic_file

RATES = 'share of attributes read as told'  # the title of the panel of all '_right' measures


def read(path, until):
  """The rows up to a step, [{'step': int, name: float}]; empty if there is no file."""
  path = epath.Path(path)
  table = csv.DictReader(path.open()) if path.exists() else []
  rows = [{name: float(value) for name, value in row.items() if value} for row in table]
  return [{**row, 'step': int(row['step'])} for row in rows if row['step'] <= until]


def plot(path, rows):
  """Draws the measures over the steps, those of training and validation together."""
  # Late, as it takes seconds.
  import matplotlib.pyplot as plt

  panels = {}
  for name in dict.fromkeys(name for row in rows for name in row):
    if name != 'step':
      title = RATES if name.endswith('_right') else name.removeprefix('validation_')
      panels.setdefault(title, []).append(name)
  size = 4 * len(panels), 3
  figure, axes = plt.subplots(1, len(panels), figsize=size, layout='constrained', squeeze=False)
  for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
    lowest = []
    for name in names:
      points = [(row['step'], row[name]) for row in rows if name in row]
      lowest += [min(y for _, y in points)]
      axis.plot(*zip(*points, strict=True), linewidth=1, label=name.removesuffix('_right'))
    scale = 'log' if min(lowest) > 0 and title != RATES else 'linear'
    axis.set(title=title, xlabel='step', yscale=scale)
    if len(names) > 1:
      axis.legend(fontsize=6, ncols=2)
  with atomic_file(path) as name:
    figure.savefig(name, format='png', dpi=100)
  plt.close(figure)
