"""`index.html` of a sweep: its videos in a grid of the swept values, playing in step, and its
measures plotted.
"""

import base64
import io
import json
import math

import numpy as np
from etils import epath

from uniedit_jax.media import video
from uniedit_jax.metrics.statistics import interval
from uniedit_jax.reports import page
from uniedit_jax.reports.page import escape
from uniedit_jax.reports.tables import flatten
from uniedit_jax.runtime.workdir import write_json

# clips, not settings
REPLICATES = ('seed', 'video', 'image', 'source_prompt', 'target_prompt', 'clip.start')
SHARED = ('source', 'reconstruction')  # by the settings of a pass

STYLE = """.grid { display: grid; gap: .5rem; margin: 1rem 0 .5rem; align-items: start; }
.grid > .head { color: var(--soft); align-self: center; }
.sources { grid-template-columns: repeat(auto-fill, minmax(9rem, 16rem)); }
video { image-rendering: pixelated; }
figcaption dl { display: grid; grid-template-columns: 1fr max-content; gap: 0 .5rem; margin: 0; font-size: 13px; }
dd { font-variant-numeric: tabular-nums; }
.plots img { max-width: 100%; background: #fff; }
table { overflow-wrap: normal; }
th, td { padding: .2rem 1rem .2rem 0; white-space: nowrap; }
"""

BODY = """<h2>Sources</h2>
<div class="videos sources">@sources@</div>
<h2>Settings</h2>
@settings@
@controls@
<h2>Measures</h2>
<p class="none">@constant@</p>
<div class="plots">@plots@</div>
<h2>What the settings differ in</h2>
<div class="scroll">@differences@</div>
<details><summary>Run record</summary><pre>@run@</pre></details>
"""


def write_clips(workdir, setting, source, clips, fps, config):
  """Writes the clips of a setting where the page looks for them.

  Args:
    workdir: path.
    setting, source: numbers of the setting, and of the source that it shares with others.
    clips: dict of u8[F, H, W, 3]: 'edit', and perhaps others; those of `SHARED` are the source's.
    fps: frame rate.
    config: dict, the whole config of the setting.
  """
  of_setting, of_source = (
    workdir / 'settings' / f'{setting:03d}',
    workdir / 'sources' / f'{source:03d}',
  )
  for name, clip in clips.items():
    video.write_mp4((of_source if name in SHARED else of_setting) / f'{name}.mp4', clip, fps)
  write_json(of_setting / 'config.json', config)


def write_sweep(workdir, title, rows, fields, run):
  """Writes the page of a sweep.

  Args:
    workdir: path; has settings/<number>/{edit.mp4,config.json} and
      sources/<pass>/{source,reconstruction}.mp4.
    title: str.
    rows: list of dicts with 'setting', 'pass', the swept fields, and measures (numbers; None or
      missing where a setting has none).
    fields: names of the swept fields.
    run: dict, the run record.
  """
  workdir = epath.Path(workdir)
  sources = [
    workdir / 'sources' / f'{number:03d}' for number in dict.fromkeys(row['pass'] for row in rows)
  ]
  paths = [
    path / f'{name}.mp4' for path in sources for name in SHARED if (path / f'{name}.mp4').exists()
  ]
  paths = list({(path.stem, path.read_bytes()): path for path in reversed(paths)}.values())[
    ::-1
  ]  # passes of one clip share them
  label = lambda path: (
    path.stem if len(paths) <= len(SHARED) else f'{path.stem} of pass {path.parent.name}'
  )
  names = dict.fromkeys(
    name for row in rows for name in row if name not in ('setting', 'pass', *fields)
  )
  varying = [name for name in names if len({row.get(name) for row in rows}) > 1]
  fields = [
    field for field in fields if len({json.dumps(row[field]) for row in rows}) > 1
  ] or fields[:1]
  parts = {
    'sources': ''.join(page.figure(path, label(path)) for path in paths),
    'settings': _settings(workdir, rows, fields, varying),
    'plots': ''.join(
      f'<img alt="{escape(name)}" src="data:image/png;base64,{_plot(rows, fields, name)}">'
      for name in varying
    ),
    'constant': _constant(rows, [name for name in names if name not in varying]),
    'differences': _differences(workdir, rows),
    'run': escape(json.dumps(run, indent=2)),
  }
  page.write_page(workdir / 'index.html', title, BODY, parts, STYLE)


def differing(configs):
  """What configs differ in.

  Args:
    configs: list of nested dicts.

  Returns:
    dict {dotted field: its value in every config, None where one has it not}.
  """
  configs = [dict(flatten(config)) for config in configs]
  values = {
    field: [config.get(field) for config in configs] for config in configs for field in config
  }
  return {
    field: found for field, found in values.items() if any(value != found[0] for value in found)
  }


def _constant(rows, names):
  """The measures that are the same in all settings, as a sentence."""
  told = ', '.join(
    f'{name} {_number(rows[0].get(name))}' for name in names if rows[0].get(name) is not None
  )
  return escape(f'The same in all settings: {told}.') if told else ''


def _differences(workdir, rows):
  """The fields of the configs whose values are not all the same, a column for every setting."""
  numbers = [row['setting'] for row in rows]
  configs = [
    json.loads((workdir / 'settings' / f'{n:03d}' / 'config.json').read_text()) for n in numbers
  ]
  line = lambda tag, cells: (
    '<tr>' + ''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells) + '</tr>'
  )
  body = ''.join(
    line('td', [field, *map(_shown, values)]) for field, values in differing(configs).items()
  )
  return f'<table><thead>{line("th", ["setting", *numbers])}</thead><tbody>{body}</tbody></table>'


def _settings(workdir, rows, fields, measures):
  """The videos: in rows and columns where two fields were swept in all combinations, else one after
  another.
  """
  values = [list(dict.fromkeys(json.dumps(row[field]) for row in rows)) for field in fields]
  cell = lambda row, names: _cell(workdir, row, names, measures)
  if len(fields) != 2 or len(rows) != len(values[0]) * len(values[1]):
    return f'<div class="videos">{"".join(cell(row, fields) for row in rows)}</div>'
  at = {tuple(json.dumps(row[field]) for field in fields): row for row in rows}
  body = '<div class="head"></div>' + ''.join(_head(fields[1], value) for value in values[1])
  for first in values[0]:
    body += _head(fields[0], first) + ''.join(cell(at[first, second], ()) for second in values[1])
  columns = f'max-content repeat({len(values[1])}, minmax(9rem, 16rem))'
  return f'<div class="scroll"><div class="grid" style="grid-template-columns: {columns}">{body}</div></div>'


def _head(field, value):
  return f'<div class="head">{escape(field)}<br><b>{escape(_shown(json.loads(value)))}</b></div>'


def _cell(workdir, row, names, measures):
  """One setting: its video, the values that the place in the grid does not tell, and its measures."""
  label = ', '.join(f'{name} {_shown(row[name])}' for name in names) or f'setting {row["setting"]}'
  values = ''.join(f'<dt>{escape(name)}</dt><dd>{_number(row.get(name))}</dd>' for name in measures)
  path = workdir / 'settings' / f'{row["setting"]:03d}' / 'edit.mp4'
  return page.figure(path, label, f'<dl>{values}</dl>')


def _shown(value):
  if _is_range(value):
    return f'{value[0]} to {value[1]}' if value[0] < value[1] else 'off'
  return str(value)


def _number(value):
  return '' if value is None else f'{value:.4g}'


def _is_range(value):
  return (
    isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(x, int) for x in value)
  )


def axis(values):
  """Values of a field as places on an axis: (f64[n], labels, or None where the places are numbers)."""
  if all(map(_is_range, values)):
    starts, ends = (np.array(x, float) for x in zip(*values, strict=True))
    for fixed, moving in ((starts, ends), (ends, starts)):
      if len(set(fixed)) == 1:
        return moving, None
  if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
    return np.array(values, float), None
  labels = list(dict.fromkeys(map(_shown, values)))
  return np.array([labels.index(_shown(value)) for value in values], float), labels


def _plot(rows, fields, measure):
  """A measure against the first swept field that is no replicate, a line for each value of the
  others: png, base64.
  """
  import matplotlib.pyplot as plt  # late: it takes seconds

  rows = [row for row in rows if row.get(measure) is not None and math.isfinite(row[measure])]
  settings = [field for field in fields if field not in REPLICATES] or list(fields)
  places, labels = axis([row[settings[0]] for row in rows])
  lines = {}
  for row, x in zip(rows, places, strict=True):
    line = ', '.join(f'{field} {_shown(row[field])}' for field in settings[1:])
    lines.setdefault(line, {}).setdefault(x, []).append(row[measure])
  figure, axes = plt.subplots(figsize=(4.5, 3), layout='constrained')
  for line, points in lines.items():
    x = sorted(points)
    mean, low, high = np.transpose([interval(points[at]) for at in x])
    axes.errorbar(
      x,
      mean,
      [mean - low, high - mean],
      marker='o',
      markersize=4,
      capsize=3,
      linewidth=1,
      label=line,
    )
  axes.set(xlabel=settings[0], title=measure)
  axes.title.set_fontsize(10)
  if labels:
    axes.set_xticks(range(len(labels)), labels, rotation=20, ha='right', fontsize=8)
  if len(lines) > 1:
    axes.legend(fontsize=7)
  with io.BytesIO() as file:
    figure.savefig(file, format='png', dpi=110)
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()
