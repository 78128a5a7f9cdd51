"""The table and the picture of `evidence`: AUC of every block, motion beside layout."""

from uniedit_jax.reports import tables
from uniedit_jax.runtime.files import atomic_file

TITLES = {
  'temporal': 'motion in temporal self-attention (SA-T)',
  'spatial': 'layout in spatial self-attention (SA-S)',
}


def write_table(path, rows):
  """Writes a line a block, with the mean of every noise level in a column, and the mean control.

  Args:
    path: of the file.
    rows: list of dicts as `attention_evidence.measure_blocks` makes them, with 'timestep'.
  """
  columns = {
    timestep: f't = {timestep}' for timestep in dict.fromkeys(row['timestep'] for row in rows)
  }
  lines = [
    {
      **row,
      'block': str(row['block']),
      **dict.fromkeys(columns.values()),
      columns[row['timestep']]: row['mean'],
    }
    for row in rows
  ]
  headings = {
    'clips': 'clips',
    **{name: name for name in columns.values()},
    'control': 'other clips',
  }
  tables.write_means(path, lines, ('kind', 'block', 'grid'), headings)


def plot(path, rows, grids):
  """Draws a panel for each kind of attention and a line for each noise level.

  Args:
    path: of the png.
    rows: as of `write_table`, with 'signal' (alphas_cumprod of the timestep) too.
    grids: the (H, W) of every block.
  """
  from matplotlib import colormaps  # late: it takes seconds
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 3.9), layout='constrained')
  panels = figure.subplots(1, 2, sharey=True)
  timesteps = sorted({row['timestep'] for row in rows})
  for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
    for i, timestep in enumerate(timesteps):
      chosen = {
        row['block']: row for row in rows if (row['kind'], row['timestep']) == (kind, timestep)
      }
      colour = colormaps['viridis'](0.9 * i / max(len(timesteps) - 1, 1))
      # A block without a value breaks the line.
      column = lambda name, chosen=chosen: [
        chosen.get(b, {}).get(name, float('nan')) for b in range(len(grids))
      ]
      signal = next((f'{row["signal"]:.1%}' for row in chosen.values()), '')
      label = f't = {timestep}, {signal} signal'
      axes.plot(
        column('mean'), color=colour, marker='o', markersize=3.5, linewidth=1.4, label=label
      )
      axes.fill_between(
        range(len(grids)), column('low'), column('high'), color=colour, alpha=0.2, linewidth=0
      )
      axes.plot(column('control'), color=colour, linewidth=0.9, linestyle='--')
    _mark_grids(axes, grids, {row['block'] for row in rows if row['kind'] == kind})
    axes.axhline(0.5, color='0.5', linewidth=0.8)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel('attention block, in execution order')
    axes.set_xticks(range(len(grids)))
  panels[0].set_ylabel('AUC: same or different thing\n(0.5: chance; dashed: other clips)')
  figure.legend(
    *panels[1].get_legend_handles_labels(),
    loc='outside lower center',
    ncols=len(timesteps),
    fontsize=9,
  )
  with atomic_file(path) as name:
    figure.savefig(name, format='png', dpi=100)


def _mark_grids(axes, grids, measured):
  """Names the grids above the blocks, and shades those that nothing could be measured in."""
  starts = [block for block, grid in enumerate(grids) if block == 0 or grid != grids[block - 1]]
  for start, end in zip(starts, [*starts[1:], len(grids)], strict=True):
    axes.axvline(start - 0.5, color='0.85', linewidth=0.8)
    height, width = grids[start]
    axes.text(
      (start + end - 1) / 2,
      0.98,
      f'{height}×{width}',
      transform=axes.get_xaxis_transform(),
      fontsize=8,
    )
    axes.texts[-1].set(ha='center', va='top')
  for block in set(range(len(grids))) - measured:
    axes.axvspan(block - 0.5, block + 0.5, color='0.94', linewidth=0)
  axes.set(xlim=(-0.5, len(grids) - 0.5), ylim=(min(0.4, axes.get_ylim()[0]), 1.02))
