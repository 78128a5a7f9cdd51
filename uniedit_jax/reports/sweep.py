"""`index.html` of a sweep: its videos in a grid of the swept values, and plots of its measures."""

import json
import math

import numpy as np
from etils import epath

from uniedit_jax.media import video
from uniedit_jax.metrics.explained import explain_name
from uniedit_jax.metrics.statistics import interval
from uniedit_jax.reports import page
from uniedit_jax.reports.charts import Series, draw_chart
from uniedit_jax.reports.tables import format_number
from uniedit_jax.runtime.fields import flatten
from uniedit_jax.runtime.workdir import write_json

# Fields that choose the clip or the random numbers, not a setting of the method.
REPLICATES = ('seed', 'video', 'image', 'source_prompt', 'target_prompt', 'clip.start')
SHARED = ('source', 'reconstruction')  # clips that the settings of a pass share
NAMED = 'task', 'preset', 'steps', 'guidance', 'seed'  # settings that stand in the head


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
  page.write_page(
    workdir / 'index.html', 'sweep.html', **describe(workdir, rows, fields, run, title)
  )


def describe(workdir, rows, fields, run, title):
  """What templates/sweep.html takes; arguments as of `write_sweep`.

  Without a run record no file is linked.
  """
  workdir = epath.Path(workdir)
  configs = [
    json.loads((workdir / 'settings' / f'{row["setting"]:03d}' / 'config.json').read_text())
    for row in rows
  ]
  names = dict.fromkeys(
    name for row in rows for name in row if name not in ('setting', 'pass', *fields)
  )
  varying = [name for name in names if len({row.get(name) for row in rows}) > 1]
  # A field that was swept over one value is not shown with every video.
  several = [name for name in fields if len({json.dumps(row[name]) for row in rows}) > 1]
  fields = several or fields[:1]
  columns, lines = _cells(workdir, rows, fields)
  differences = differing(configs)
  same = {name: value for name, value in flatten(configs[0]).items() if name not in differences}
  prompts = {(c.get('source_prompt', ''), c.get('target_prompt', '')): None for c in configs}
  return {
    'title': title,
    'prompts': [page.mark_words(*pair) for pair in prompts if pair[1]],
    'settings': {name: same[name] for name in NAMED if same.get(name) not in (None, '')},
    'fields': fields,
    'measures': varying,
    # What the reader asks first: the first measure that shows the target.
    'chosen': min(varying, key=_place, default=''),
    'columns': columns,
    'rows': lines,
    'all': [cell for _, cells in lines for cell in cells],
    'linked': bool(run),
    'sources': _sources(workdir, dict.fromkeys(row['pass'] for row in rows)),
    'constant': _constant(rows, [name for name in names if name not in varying]),
    'charts': [_chart(rows, fields, name) for name in varying],
    'differences': {field: map(_shown, values) for field, values in differences.items()},
    'run': json.dumps(run, indent=2) if run else '',
    'values': {name: _values(rows, name) for name in varying},
  }


def _place(name):
  """How soon a measure is asked for: measures of the edit with a better direction first."""
  return not name.startswith('edit_'), not explain_name(name).better


def _values(rows, name):
  """What the page needs of a measure to write and colour it under every clip."""
  finite = lambda value: value if value is not None and math.isfinite(value) else None
  return {
    'better': explain_name(name).better,
    'shown': {row['setting']: format_number(row.get(name)) for row in rows},
    'values': {row['setting']: finite(row.get(name)) for row in rows},
  }


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
  return [page.embed(path, label(path)) for path in paths.values()]


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
  return f'The same in all settings: {shown}.' if shown else ''


def _cells(workdir, rows, fields):
  """The settings in their places: a grid where two fields were swept in all combinations.

  Returns:
    (heads of the columns, none where they are one after another; list of (head of the row, list of
    {'setting', 'row', 'fields', 'film'})).
  """
  values = [list(dict.fromkeys(json.dumps(row[field]) for row in rows)) for field in fields]
  if len(fields) != 2 or len(rows) != len(values[0]) * len(values[1]):
    return [], [('', [_cell(workdir, row, fields, fields) for row in rows])]
  at = {tuple(json.dumps(row[field]) for field in fields): row for row in rows}
  heads = [[_shown(json.loads(value)) for value in found] for found in values]
  lines = [
    (head, [_cell(workdir, at[first, second], fields) for second in values[1]])
    for head, first in zip(heads[0], values[0], strict=True)
  ]
  return heads[1], lines


def _cell(workdir, row, fields, named=()):
  """A setting; its label names the values that its place in the grid does not show."""
  label = ', '.join(f'{name} {_shown(row[name])}' for name in named) or f'setting {row["setting"]}'
  path = workdir / 'settings' / f'{row["setting"]:03d}' / 'edit.mp4'
  shown = [_shown(row[field]) for field in fields]
  film = page.embed(path, label)
  return {'setting': row['setting'], 'row': row, 'fields': shown, 'film': film}


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


def _chart(rows, fields, measure):
  """A measure over the first swept field that is no replicate: `charts.Chart`.

  Each combination of values of the other fields is a line, replicates are means with intervals. A
  dot is a setting, and leads to its clip.
  """
  rows = [row for row in rows if row.get(measure) is not None and math.isfinite(row[measure])]
  settings = [field for field in fields if field not in REPLICATES] or list(fields)
  places, labels = place_on_axis([row[settings[0]] for row in rows])
  lines = {}
  for row, x in zip(rows, places.tolist(), strict=True):
    line = ', '.join(f'{field} {_shown(row[field])}' for field in settings[1:])
    lines.setdefault(line, []).append((x, row))
  series = []
  for line, found in lines.items():
    points = {}
    for x, row in found:
      points.setdefault(x, []).append(row[measure])
    dots = [
      (x, row[measure], f'setting-{row["setting"]}', _hint(row, fields, measure))
      for x, row in found
    ]
    means = [(x, *map(float, interval(points[x]))) for x in sorted(points)]
    series.append(Series(line, means, dots))
  return draw_chart(measure, settings[0], series, labels)


def _hint(row, fields, measure):
  values = ', '.join(f'{field} {_shown(row[field])}' for field in fields)
  return f'setting {row["setting"]}: {values}: {format_number(row[measure])}'
