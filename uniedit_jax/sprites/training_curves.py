"""The history of a training run, as a table that is read back and as a picture."""

import csv

from etils import epath

from uniedit_jax.runtime.files import atomic_file


def read(path, until):
  """The rows of a history up to and with a step: list of {'step': int, name: float}; none without a
  file.
  """
  path = epath.Path(path)
  if not path.exists():
    return []
  rows = [
    {name: float(value) for name, value in row.items() if value}
    for row in csv.DictReader(path.open())
  ]
  return [{**row, 'step': int(row['step'])} for row in rows if row['step'] <= until]


def plot(path, rows):
  """Draws every measure over the steps, the small ones first."""
  import matplotlib.pyplot as plt  # late: it takes seconds

  names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != 'step']
  figure, axes = plt.subplots(
    1, len(names), figsize=(4 * len(names), 3), layout='constrained', squeeze=False
  )
  for axis, name in zip(axes[0], names, strict=True):
    points = [(row['step'], row[name]) for row in rows if name in row]
    axis.plot(*zip(*points, strict=True), linewidth=1)
    axis.set(title=name, xlabel='step', yscale='log' if min(y for _, y in points) > 0 else 'linear')
  with atomic_file(path) as name:
    figure.savefig(name, format='png', dpi=100)
  plt.close(figure)
