"""Table, plot and page of `experiments.evidence`: the AUC of every block, for motion and layout."""

from uniedit_jax.reports import page, tables
from uniedit_jax.reports.charts import Series, draw_chart
from uniedit_jax.runtime.files import atomic_file

TITLES = {
  'temporal': 'motion in temporal self-attention (SA-T)',
  'spatial': 'layout in spatial self-attention (SA-S)',
}


def write_table(path, rows):
  """Writes a line a block: the mean AUC of every noise level in a column, and the mean control.

  Args:
    path: of the file.
    rows: list of dicts as `attention_evidence.measure_blocks` makes them, with 'timestep'.
  """
  columns = {row['timestep']: f't = {row["timestep"]}' for row in rows}
  empty = dict.fromkeys(columns.values())
  lines = [
    {**row, **empty, 'block': str(row['block']), columns[row['timestep']]: row['mean']}
    for row in rows
  ]
  names = {name: name for name in columns.values()}
  headings = {'clips': 'clips', **names, 'control': 'other clips'}
  tables.write_means(path, lines, ('kind', 'block', 'grid'), headings)


def write_page(path, title, rows):
  """Writes both plots and the numbers as a page; rows as for `plot`."""
  charts, timesteps = [], sorted({row['timestep'] for row in rows})
  for kind, name in TITLES.items():
    series = []
    for timestep in timesteps:
      chosen = [row for row in rows if (row['kind'], row['timestep']) == (kind, timestep)]
      points = [(row['block'], row['mean'], row['low'], row['high']) for row in chosen]
      dots = [(row['block'], row['mean'], '', _hint(row)) for row in chosen]
      signal = f', {chosen[0]["signal"]:.1%} signal' if chosen else ''
      series.append(Series(f't = {timestep}{signal}', points, dots, band=True))
    charts.append(draw_chart(name, 'attention block, in execution order', series))
  heads = list(dict.fromkeys(name for row in rows for name in row))
  lines = [[row.get(name, '') for name in heads] for row in rows]
  notes = [
    'AUC of the attention maps: how well they tell places of the same thing from others. 0.5 is '
    'chance; the bands are 95 % intervals over clips; control is the mean with the states of other '
    'clips.'
  ]
  shown = [('All blocks and noise levels', heads, lines)]
  page.write_page(path, 'tables.html', title=title, notes=notes, charts=charts, tables=shown)


def _hint(row):
  return f'block {row["block"]}, {row["grid"]}: {row["mean"]:.3f}, control {row["control"]:.3f}'


def plot(path, rows, grids):
  """Draws a panel for each kind of attention and a line for each noise level.

  Args:
    path: of the png.
    rows: as for `write_table`, with 'signal' (its power at the timestep) too.
    grids: the (H, W) of every block.
  """
  # Late, as it takes seconds.
  from matplotlib import colormaps
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 3.9), layout='constrained')
  panels = figure.subplots(1, 2, sharey=True)
  timesteps = sorted({row['timestep'] for row in rows})
  for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
    for i, timestep in enumerate(timesteps):
      colour = colormaps['viridis'](0.9 * i / max(len(timesteps) - 1, 1))
      chosen = [row for row in rows if (row['kind'], row['timestep']) == (kind, timestep)]
      _draw_line(axes, chosen, len(grids), timestep, colour)
    _mark_grids(axes, grids, {row['block'] for row in rows if row['kind'] == kind})
    axes.axhline(0.5, color='0.5', linewidth=0.8)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel('attention block, in execution order')
    axes.set_xticks(range(len(grids)))
  panels[0].set_ylabel('AUC: same or different thing\n(0.5: chance; dashed: other clips)')
  lines = panels[1].get_legend_handles_labels()
  figure.legend(*lines, loc='outside lower center', ncols=len(timesteps), fontsize=9)
  with atomic_file(path) as name:
    figure.savefig(name, format='png', dpi=100)


def _draw_line(axes, rows, blocks, timestep, colour):
  """Draws the AUC over the blocks at one noise level, with its interval and the control."""
  by_block = {row['block']: row for row in rows}
  # A block without a value breaks the line.
  mean, low, high, control = (
    [by_block.get(block, {}).get(name, float('nan')) for block in range(blocks)]
    for name in ('mean', 'low', 'high', 'control')
  )
  signal = next((f'{row["signal"]:.1%}' for row in rows), '')
  label = f't = {timestep}, {signal} signal'
  axes.plot(mean, color=colour, marker='o', markersize=3.5, linewidth=1.4, label=label)
  axes.fill_between(range(blocks), low, high, color=colour, alpha=0.2, linewidth=0)
  axes.plot(control, color=colour, linewidth=0.9, linestyle='--')


def _mark_grids(axes, grids, measured):
  """Names the grids above the blocks and shades the blocks without a measurement."""
  style = {'transform': axes.get_xaxis_transform(), 'fontsize': 8, 'ha': 'center', 'va': 'top'}
  starts = [block for block, grid in enumerate(grids) if block == 0 or grid != grids[block - 1]]
  for start, end in zip(starts, [*starts[1:], len(grids)], strict=True):
    axes.axvline(start - 0.5, color='0.85', linewidth=0.8)
    label = '×'.join(map(str, grids[start]))
    axes.text((start + end - 1) / 2, 0.98, label, **style)
  for block in set(range(len(grids))) - measured:
    axes.axvspan(block - 0.5, block + 0.5, color='0.94', linewidth=0)
  axes.set(xlim=(-0.5, len(grids) - 0.5), ylim=(min(0.4, axes.get_ylim()[0]), 1.02))
