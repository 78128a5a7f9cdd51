"""The losses of a training run: read back from their table, and plotted."""

import csv

from etils import epath

from uniedit_jax.runtime.files import atomic_file


def read(path, until):
  """The rows up to a step, [{'step': int, name: float}]; empty if there is no file."""
  path = epath.Path(path)
  table = csv.DictReader(path.open()) if path.exists() else []
  rows = [{name: float(value) for name, value in row.items() if value} for row in table]
  return [{**row, 'step': int(row['step'])} for row in rows if row['step'] <= until]


def plot(path, rows):
  """Draws every measure over the steps."""
  # Late, as it takes seconds.
  import matplotlib.pyplot as plt

  names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != 'step']
  size = 4 * len(names), 3
  figure, axes = plt.subplots(1, len(names), figsize=size, layout='constrained', squeeze=False)
  for axis, name in zip(axes[0], names, strict=True):
    points = [(row['step'], row[name]) for row in rows if name in row]
    axis.plot(*zip(*points, strict=True), linewidth=1)
    axis.set(title=name, xlabel='step', yscale='log' if min(y for _, y in points) > 0 else 'linear')
  with atomic_file(path) as name:
    figure.savefig(name, format='png', dpi=100)
  plt.close(figure)
