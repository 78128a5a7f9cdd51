"""Tables of a comparison, as the paper's Table 1, and a page with its clips side by side."""

import json
import math
import statistics
from typing import NamedTuple

import numpy as np
from etils import epath

from uniedit_jax.media import video
from uniedit_jax.metrics.explained import ARROWS, explain
from uniedit_jax.metrics.statistics import holm, interval, sign_flip_test, wilson
from uniedit_jax.reports import page, tables
from uniedit_jax.reports.comparison_format import SOURCE, TASKS, clip_path, read_comparison
from uniedit_jax.runtime.files import write_text

EXACT = 'exact_target.mp4'  # in edits/<edit>/, where the right answer is known
UNMEASURED = '–'


class Column(NamedTuple):
  """A column of a table.

  Attributes:
    heading: str.
    measure: the measure's name, or how it begins: the CLIP model's name ends that of a CLIP score.
    form: format of its numbers.
    user: whether its values come from raters (`study.answers`).
    better: 1 or -1, whether more or less is better.
  """

  heading: str
  measure: str
  form: str
  user: bool = False
  better: int = 1


COLUMNS = (
  Column('frame consistency', 'clip_frame_consistency_allpairs', '.4f'),
  Column('textual alignment', 'clip_text_alignment_framemean', '.2f'),
  Column('rated consistency', 'consistency', '.2f', True),
  Column('rated alignment', 'alignment', '.2f', True),
  Column('preferred', 'preferred', '.0%', True),
)
# Where the right answer is known.
KNOWN = (
  Column('success', 'success', '.0%'),
  Column('changed', 'changed', '.0%'),
  Column('attributes right', 'attributes_right', '.0%'),
  Column('kept background, dB', 'background_psnr', '.1f'),
)
PAIRED = [column for column in KNOWN if column.measure != 'attributes_right']
SIGNIFICANT = 0.05
MOST_DB = 100.0  # where clips are equal, and the PSNR infinite
SECONDS = 'seconds an edit'

NOTE = (
  'In brackets 95 % intervals, bootstrapped over the edits; of what raters said, over raters and '
  'edits. Seconds are medians, with inversion and without compiling.'
)
NOTE_KNOWN = (
  'A clip is changed (interval: Wilson) if the edited attribute is read from its pixels as the '
  'target has it, and a success if all seven attributes are. The background is compared with that '
  'of the exact target, outside of the object.'
)
NOTE_PAIRED = (
  'Mean over the same edits with its bootstrapped 95 % interval. * differs from 0 by a sign-flip '
  'test at 5 %, corrected for all the differences of this table by Holm.'
)


def known_answer(row):
  """The measures of a row of `sprites.scoring.judge`, and the names of its wrong attributes."""
  judged = {
    name.removesuffix('_right'): right for name, right in row.items() if name.endswith('_right')
  }
  wrong = [name for name, right in judged.items() if not right]
  share = round(1 - len(wrong) / len(judged), 4)
  measures = {name: row[name] for name in ('success', 'changed', 'background_psnr', 'psnr', 'ssim')}
  return measures | {'attributes_right': share, 'wrong': ', '.join(wrong)}


def write_comparison_report(workdir):
  """Writes table.md, results.csv and index.html; returns the tables, Markdown.

  The folder of a comparison has results.json, perhaps edits/<edit>/exact_target.mp4 and the results
  of a user study in user_study/results.json; raises ValueError if it cannot be read.
  """
  workdir = epath.Path(workdir)
  compared, rows = read_comparison(workdir), json.loads((workdir / 'results.json').read_text())
  study = workdir / 'user_study' / 'results.json'
  said = json.loads(study.read_text())['results'] if study.exists() else []
  found = {}
  for task in TASKS:
    table = _table(compared, task, rows, said)
    if len(table) > 1:
      count = sum(edit['task'] == task for edit in compared.edits.values())
      title = f'{task.capitalize()} edits (n = {count})'
      found[task] = title, table, _differences(compared, task, rows)
  note = f'{NOTE} {NOTE_KNOWN}' if any('success' in row for row in rows) else NOTE
  heads = [head for _, table, _ in found.values() for head in table[0]]
  unmeasured = [
    column.heading for column in COLUMNS if not any(column.heading in head for head in heads)
  ]
  note += f' Not measured: {", ".join(unmeasured)}.' if unmeasured else ''
  text = f'{note}\n'
  for title, (heads, *lines), paired in found.values():
    text += f'\n## {title}\n\n' + tables.markdown(heads, lines)
    if paired:
      text += f'\n{NOTE_PAIRED}\n\n' + tables.markdown(paired[0], paired[1:])
  write_text(workdir / 'table.md', text)
  tables.write_csv(workdir / 'results.csv', rows)
  _write_page(workdir, compared, rows, note, found)
  return text


def _table(compared, task, rows, said):
  """The heads and the lines of a task's table; only the heads where it has no edits."""
  rows = [row for row in rows if row['task'] == task]
  said = {
    (row['method'], row['measure']): row
    for row in said
    if row['task'] == task and not row['against']
  }
  wanted = COLUMNS + (KNOWN if any('success' in row for row in rows) else ())
  columns = [column for one in wanted for column in _by_model(one, rows)]
  lines = []
  for method, title in {SOURCE: 'Source, unedited', **compared.methods}.items():
    if chosen := [row for row in rows if row['method'] == method]:
      cells = [_cell(column, chosen, said.get((method, column.measure))) for column in columns]
      seconds = [row['seconds'] for row in chosen if row['seconds'] is not None]
      lines.append([title, *cells, f'{statistics.median(seconds):.3g}' if seconds else UNMEASURED])
  heads = ['method', *(column.heading for column in columns), SECONDS]
  kept = [i for i in range(len(heads)) if i == 0 or any(line[i] != UNMEASURED for line in lines)]
  return [[line[i] for i in kept] for line in (heads, *lines)]


def _differences(compared, task, rows):
  """The heads and the lines of the differences from the first method, where answers are known."""
  base, *others = compared.methods
  rows = [row for row in rows if row['task'] == task]
  measured = lambda column: all(row.get(column.measure) is not None for row in rows)
  columns = [column for column in PAIRED if measured(column)]
  values = {
    (method, column): np.array(
      [min(float(row[column.measure]), MOST_DB) for row in rows if row['method'] == method]
    )
    for method in compared.methods
    for column in columns
  }
  if not columns or not others or len(values[base, columns[0]]) < 2:
    return []
  pairs = [(method, column) for method in others for column in columns]
  found = [values[method, column] - values[base, column] for method, column in pairs]
  p_values = holm([sign_flip_test(difference) for difference in found])
  cells = {
    (method, column): _difference(column, difference, p_value)
    for (method, column), difference, p_value in zip(pairs, found, p_values, strict=True)
  }
  heads = [f'minus {compared.methods[base]}', *(column.heading for column in columns)]
  lines = [
    [compared.methods[method], *(cells[method, column] for column in columns)] for method in others
  ]
  return [heads, *lines]


def _difference(column, difference, p_value):
  mean, low, high = (f'{value:+{column.form}}' for value in interval(difference))
  return f'{mean} ({low} to {high})' + '*' * (p_value < SIGNIFICANT)


def _by_model(column, rows):
  """A column for each CLIP model that gave the measure, named in the heading if there are more."""
  names = sorted({name for row in rows for name in row if name.startswith(column.measure)})
  if column.user or not names:
    return [column]
  if len(names) == 1:
    return [column._replace(measure=names[0])]
  model = lambda name: name.removeprefix(column.measure).strip('_')
  return [
    column._replace(measure=name, heading=f'{column.heading} ({model(name)})') for name in names
  ]


def _cell(column, rows, said):
  """A mean with its interval; one value has none."""
  values = [row[column.measure] for row in rows if row.get(column.measure) is not None]
  if column.user:
    found = [said[name] for name in ('mean', 'low', 'high')] if said else []
  elif values and isinstance(values[0], bool):
    found = sum(values) / len(values), *wilson(sum(values), len(values))
  elif not all(map(math.isfinite, values)):
    found = [math.inf]  # the PSNR of equal clips
  else:
    found = interval(values) if len(values) > 1 else values
  if not found:
    return UNMEASURED
  mean, *ends = (tables.format_number(value, column.form) for value in found)
  return f'{mean} ({" to ".join(ends)})' if ends else mean


def _write_page(workdir, compared, rows, note, found):
  """Writes index.html: the clips stay files, as there may be hundreds."""
  by_clip = {(row['edit'], row['method']): row for row in rows}
  info, tasks = video.probe(clip_path(workdir, next(iter(compared.edits)), SOURCE)), []
  for task, (title, table, paired) in found.items():
    names = [name for name, edit in compared.edits.items() if edit['task'] == task]
    tasks.append(
      {
        'title': title,
        'table': _page_table(table, marks=True),
        'note': NOTE_PAIRED,
        'differences': _page_table(paired) if paired else None,
        'edits': [_edit(workdir, compared, name, by_clip, info.fps) for name in names],
      }
    )
  title = f'{workdir.name}: comparison'
  page.write_page(workdir / 'index.html', 'comparison.html', title=title, note=note, tasks=tasks)


def _page_table(table, marks=False):
  """(heads with definition and arrow, lines of (title, cells (mean, interval, whether best)))."""
  (first, *heads), *lines = table
  columns = {column.heading: column for column in (*COLUMNS, *KNOWN)}
  of = lambda head: columns.get(head.partition(' (')[0])
  better = [-1 if head == SECONDS else of(head).better if of(head) else 0 for head in heads]
  best = [_best([line[i + 1] for line in lines], better[i]) for i in range(len(heads))]
  shown = [(first, '', '')]
  for head, direction in zip(heads, better, strict=True):
    hint = explain(of(head).measure).definition if of(head) else ''
    shown.append((head, hint, ARROWS[direction]))
  rows = [
    (title, [(*_split(cell), marks and i in best[j]) for j, cell in enumerate(cells)])
    for i, (title, *cells) in enumerate(lines)
  ]
  return shown, rows


def _split(cell):
  """A cell as (mean, interval or '')."""
  mean, _, rest = cell.partition(' (')
  return mean, rest


def _best(cells, better):
  """The lines with the best value of a column; the source, which is the first, does not compete."""
  values = {}
  for i, cell in enumerate(cells[1:], 1):
    mean = _split(cell)[0].rstrip('%').replace('∞', 'inf')
    if mean != UNMEASURED:
      values[i] = better * float(mean)
  if not better or len(values) < 2 or len(set(values.values())) == 1:
    return ()
  return [i for i, value in values.items() if value == max(values.values())]


def _edit(workdir, compared, name, by_clip, fps):
  """An edit of the page: prompts and clips."""
  edit, links = compared.edits[name], [(f'items/{name}/{SOURCE}.mp4', 'Source')]
  if (workdir / 'edits' / name / EXACT).exists():
    links.append((f'edits/{name}/{EXACT}', 'Exact target'))
  before = len(links)
  links += [(f'items/{name}/{method}.mp4', title) for method, title in compared.methods.items()]
  films = page.link_all([(target, workdir / target, fps, label) for target, label in links])
  shown = [{'film': film, 'success': None, 'report': ''} for film in films]
  for one, method in zip(shown[before:], compared.methods, strict=True):
    row, report = by_clip[name, method], f'edits/{name}/{method}/report.html'
    one['success'], one['wrong'] = row.get('success'), row.get('wrong', '')
    one['report'] = report if (workdir / report).exists() else ''
  return {
    'name': name,
    'kind': by_clip[name, next(iter(compared.methods))]['kind'],
    'prompts': page.mark_words(edit['source_prompt'], edit['target_prompt']),
    'films': shown,
  }
