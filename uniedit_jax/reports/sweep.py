"""`index.html` of a sweep: its videos in a grid of the swept values, and plots of its measures."""

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
from uniedit_jax.reports.tables import format_number
from uniedit_jax.runtime.fields import flatten
from uniedit_jax.runtime.workdir import write_json

# Fields that choose the clip or the random numbers, not a setting of the method.
REPLICATES = ('seed', 'video', 'image', 'source_prompt', 'target_prompt', 'clip.start')
SHARED = ('source', 'reconstruction')  # clips that the settings of a pass share

STYLE = """.grid { display: grid; gap: .5rem; margin: 1rem 0 .5rem; align-items: start; }
.grid > .head { color: var(--soft); align-self: center; }
.sources { grid-template-columns: repeat(auto-fill, minmax(9rem, 16rem)); }
video { image-rendering: pixelated; }
figcaption dl { display: grid; grid-template-columns: 1fr max-content; gap: 0 .5rem; margin: 0;
  font-size: 13px; }
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
  """Writes the clips and the config of a setting to the places where the page expects them.

  Args:
    workdir: path.
    setting, source: numbers of the setting, and of the source that it shares with others.
    clips: dict of u8[F, H, W, 3]: 'edit', and perhaps others; those of `SHARED` are the source's.
    fps: frame rate.
    config: dict, the whole config of the setting.
  """
  of_setting = workdir / 'settings' / f'{setting:03d}'
  of_source = workdir / 'sources' / f'{source:03d}'
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
  names = dict.fromkeys(
    name for row in rows for name in row if name not in ('setting', 'pass', *fields)
  )
  varying = [name for name in names if len({row.get(name) for row in rows}) > 1]
  constant = [name for name in names if name not in varying]
  # A field that was swept over one value is not shown with every video.
  several = [name for name in fields if len({json.dumps(row[name]) for row in rows}) > 1]
  fields = several or fields[:1]
  plots = ''
  for name in varying:
    data = _plot(rows, fields, name)
    plots += f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
  parts = {
    'sources': _sources(workdir, dict.fromkeys(row['pass'] for row in rows)),
    'settings': _settings(workdir, rows, fields, varying),
    'plots': plots,
    'constant': _constant(rows, constant),
    'differences': _differences(workdir, rows),
    'run': escape(json.dumps(run, indent=2)),
  }
  page.write_page(workdir / 'index.html', title, BODY, parts, STYLE)


def _sources(workdir, passes):
  """The shared clips of all passes. Of equal ones the first is shown, in the place of the last."""
  paths = {}
  for number in passes:
    for name in SHARED:
      path = workdir / 'sources' / f'{number:03d}' / f'{name}.mp4'
      if path.exists():
        content = name, path.read_bytes()
        paths[content] = paths.pop(content, path)
  several = len(paths) > len(SHARED)
  label = lambda path: f'{path.stem} of pass {path.parent.name}' if several else path.stem
  return ''.join(page.figure(path, label(path)) for path in paths.values())


def differing(configs):
  """The fields in which nested dicts differ, {dotted field: its value in every one, or None}."""
  configs = [flatten(config) for config in configs]
  values = {
    field: [config.get(field) for config in configs] for config in configs for field in config
  }
  return {
    field: found for field, found in values.items() if any(value != found[0] for value in found)
  }


def _constant(rows, names):
  """The measures that are the same in all settings, as a sentence."""
  shown = ', '.join(
    f'{name} {format_number(rows[0].get(name))}' for name in names if rows[0].get(name) is not None
  )
  return escape(f'The same in all settings: {shown}.') if shown else ''


def _differences(workdir, rows):
  """The fields of the configs whose values are not all the same, a column for every setting."""
  numbers = [row['setting'] for row in rows]
  configs = [
    json.loads((workdir / 'settings' / f'{n:03d}' / 'config.json').read_text()) for n in numbers
  ]
  body = ''.join(
    _line('td', [field, *map(_shown, values)]) for field, values in differing(configs).items()
  )
  return f'<table><thead>{_line("th", ["setting", *numbers])}</thead><tbody>{body}</tbody></table>'


def _line(tag, cells):
  return '<tr>' + ''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells) + '</tr>'


def _settings(workdir, rows, fields, measures):
  """The videos: a grid where two fields were swept in all combinations, else one after another."""
  values = [list(dict.fromkeys(json.dumps(row[field]) for row in rows)) for field in fields]
  if len(fields) != 2 or len(rows) != len(values[0]) * len(values[1]):
    cells = ''.join(_cell(workdir, row, fields, measures) for row in rows)
    return f'<div class="videos">{cells}</div>'
  at = {tuple(json.dumps(row[field]) for field in fields): row for row in rows}
  body = '<div class="head"></div>' + ''.join(_head(fields[1], value) for value in values[1])
  for first in values[0]:
    body += _head(fields[0], first)
    body += ''.join(_cell(workdir, at[first, second], (), measures) for second in values[1])
  columns = f'max-content repeat({len(values[1])}, minmax(9rem, 16rem))'
  grid = f'<div class="grid" style="grid-template-columns: {columns}">{body}</div>'
  return f'<div class="scroll">{grid}</div>'


def _head(field, value):
  return f'<div class="head">{escape(field)}<br><b>{escape(_shown(json.loads(value)))}</b></div>'


def _cell(workdir, row, names, measures):
  """A setting: its video, the values that its place in the grid does not show, and its measures."""
  label = ', '.join(f'{name} {_shown(row[name])}' for name in names) or f'setting {row["setting"]}'
  values = ''.join(
    f'<dt>{escape(name)}</dt><dd>{format_number(row.get(name))}</dd>' for name in measures
  )
  path = workdir / 'settings' / f'{row["setting"]:03d}' / 'edit.mp4'
  return page.figure(path, label, f'<dl>{values}</dl>')


def _shown(value):
  if _is_range(value):
    return f'{value[0]} to {value[1]}' if value[0] < value[1] else 'off'
  return str(value)


def _is_range(value):
  return (
    isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(x, int) for x in value)
  )


def place_on_axis(values):
  """Places the values of a field on an axis: (f64[n], labels, or None for numeric places)."""
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
  """Plots a measure over the first swept field that is no replicate; png, base64.

  Each combination of values of the other fields is a line, replicates are means with intervals.
  """
  # Matplotlib is imported late: it takes seconds.
  import matplotlib.pyplot as plt

  rows = [row for row in rows if row.get(measure) is not None and math.isfinite(row[measure])]
  settings = [field for field in fields if field not in REPLICATES] or list(fields)
  places, labels = place_on_axis([row[settings[0]] for row in rows])
  lines = {}
  for row, x in zip(rows, places, strict=True):
    line = ', '.join(f'{field} {_shown(row[field])}' for field in settings[1:])
    lines.setdefault(line, {}).setdefault(x, []).append(row[measure])
  figure, axes = plt.subplots(figsize=(4.5, 3), layout='constrained')
  looks = {'marker': 'o', 'markersize': 4, 'capsize': 3, 'linewidth': 1}
  for line, points in lines.items():
    x = sorted(points)
    mean, low, high = np.transpose([interval(points[at]) for at in x])
    axes.errorbar(x, mean, [mean - low, high - mean], label=line, **looks)
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
