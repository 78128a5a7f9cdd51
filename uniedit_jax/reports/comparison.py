"""The tables of a comparison in the layout of the paper's Table 1, and its clips side by side on a
page.
"""

import json
import math
import statistics
from typing import NamedTuple

from etils import epath

from uniedit_jax.media import video
from uniedit_jax.metrics.statistics import interval, wilson
from uniedit_jax.reports import comparison_format, page, tables
from uniedit_jax.reports.page import escape
from uniedit_jax.runtime.files import atomic_file

EXACT = 'exact_target.mp4'  # in edits/<edit>/, where the right answer is known
UNMEASURED = '–'


class Column(NamedTuple):
  """A column of a table.

  Attributes:
    heading: str.
    measure: name of a measure, or what it begins with: CLIP's are followed by the model that was
      asked.
    form: how a number is shown.
    user: whether raters said it (`study.answers`).
  """

  heading: str
  measure: str
  form: str
  user: bool = False


COLUMNS = (
  Column('frame consistency', 'clip_frame_consistency_allpairs', '{:.4f}'),
  Column('textual alignment', 'clip_text_alignment_framemean', '{:.2f}'),
  Column('rated consistency', 'consistency', '{:.2f}', True),
  Column('rated alignment', 'alignment', '{:.2f}', True),
  Column('preferred', 'preferred', '{:.0%}', True),
)
# Where the right answer is known.
KNOWN = (
  Column('success', 'success', '{:.0%}'),
  Column('attributes right', 'attributes_right', '{:.0%}'),
  Column('kept background, dB', 'background_psnr', '{:.1f}'),
)
SECONDS = 'seconds an edit'

NOTE = (
  'In brackets 95 % intervals, bootstrapped over the edits; of what raters said, over raters and edits. Seconds are '
  'medians, with inversion and without compiling.'
)
NOTE_KNOWN = (
  'A success (interval: Wilson) has all seven attributes of the target, as they are read from the pixels; the '
  'background is compared with that of the exact target, outside of the object.'
)

STYLE = """table { overflow-wrap: normal; }
th, td { padding: .2rem 1rem .2rem 0; white-space: nowrap; }
td small { display: block; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .7rem;
  margin: .7rem 0; }
.videos { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; }
figcaption { line-height: 1.25; font-size: 13px; }
.good { color: #1a7f37; } .bad { color: #c62828; }
@media (prefers-color-scheme: dark) { .good { color: #57c76f; } .bad { color: #ff7b72; } }
"""
SMALL = 'video { image-rendering: pixelated; }'
BODY = '<p>@note@</p>@tasks@@controls@'


def known_answer(row):
  """What the tables need of a judgement of `sprites.benchmark.judge`."""
  judged = {
    name.removesuffix('_right'): right for name, right in row.items() if name.endswith('_right')
  }
  wrong = [name for name, right in judged.items() if not right]
  share = round(1 - len(wrong) / len(judged), 4)
  measures = {name: row[name] for name in ('success', 'changed', 'background_psnr', 'psnr', 'ssim')}
  return {**measures, 'attributes_right': share, 'wrong': ', '.join(wrong)}


def write(workdir):
  """Writes table.md, results.csv and index.html.

  Args:
    workdir: path of a comparison with results.json, perhaps edits/<edit>/exact_target.mp4 and the
      results of a user study in user_study/results.json.

  Returns:
    the tables, Markdown.

  Raises:
    ValueError: the comparison cannot be read.
  """
  workdir = epath.Path(workdir)
  compared, rows = (
    comparison_format.read(workdir),
    json.loads((workdir / 'results.json').read_text()),
  )
  study, said = workdir / 'user_study' / 'results.json', []
  if study.exists():
    said = json.loads(study.read_text())['results']
  note = f'{NOTE} {NOTE_KNOWN}' if any('success' in row for row in rows) else NOTE
  found = {task: _table(compared, task, rows, said) for task in comparison_format.TASKS}
  found = {task: lines for task, lines in found.items() if len(lines) > 1}
  unmeasured = [
    column.heading
    for column in COLUMNS
    if not any(column.heading in head for table in found.values() for head in table[0])
  ]
  note += f' Not measured: {", ".join(unmeasured)}.' if unmeasured else ''
  title = {task: f'{task.capitalize()} edits (n = {_count(compared, task)})' for task in found}
  text = f'{note}\n'
  for task, (heads, *lines) in found.items():
    text += f'\n## {title[task]}\n\n' + tables.markdown(heads, lines)
  with atomic_file(workdir / 'table.md') as name, open(name, 'w', encoding='utf-8') as file:
    file.write(text)
  tables.write_csv(workdir / 'results.csv', rows)
  _write_page(
    workdir, compared, rows, note, {title[task]: (task, lines) for task, lines in found.items()}
  )
  return text


def _count(compared, task):
  return sum(edit['task'] == task for edit in compared.edits.values())


def _table(compared, task, rows, said):
  """The heads and the lines of a task's table; only the heads where it has no edits."""
  rows = [row for row in rows if row['task'] == task]
  said = {
    (row['method'], row['measure']): row
    for row in said
    if row['task'] == task and not row['against']
  }
  columns = []
  for column in (*COLUMNS, *(KNOWN if any('success' in row for row in rows) else ())):
    names = sorted({name for row in rows for name in row if name.startswith(column.measure)})
    if column.user or len(names) < 2:
      columns.append(column._replace(measure=names[0]) if names and not column.user else column)
    else:  # several models were asked
      told = [name.removeprefix(column.measure).strip('_') for name in names]
      columns += [
        column._replace(measure=name, heading=f'{column.heading} ({model})')
        for name, model in zip(names, told, strict=True)
      ]
  lines = []
  for method, title in {comparison_format.SOURCE: 'Source, unedited', **compared.methods}.items():
    if chosen := [row for row in rows if row['method'] == method]:
      cells = [_cell(column, chosen, said.get((method, column.measure))) for column in columns]
      seconds = [row['seconds'] for row in chosen if row['seconds'] is not None]
      lines.append([title, *cells, f'{statistics.median(seconds):.3g}' if seconds else UNMEASURED])
  heads = ['method', *(column.heading for column in columns), SECONDS]
  kept = [i for i in range(len(heads)) if i == 0 or any(line[i] != UNMEASURED for line in lines)]
  return [[line[i] for i in kept] for line in (heads, *lines)]


def _cell(column, rows, said):
  """A mean with its interval; one value has none."""
  values = [row[column.measure] for row in rows if row.get(column.measure) is not None]
  if column.user:
    found = [said[name] for name in ('mean', 'low', 'high')] if said else []
  elif values and isinstance(values[0], bool):
    found = sum(values) / len(values), *wilson(sum(values), len(values))
  elif not all(map(math.isfinite, values)):
    return '∞'  # the PSNR of equal clips
  else:
    found = interval(values) if len(values) > 1 else values
  if not found:
    return UNMEASURED
  mean, *ends = (column.form.format(value) for value in found)
  return f'{mean} ({" to ".join(ends)})' if ends else mean


def _write_page(workdir, compared, rows, note, found):
  """Writes index.html: the clips stay files, as there may be hundreds."""
  by_clip = {(row['edit'], row['method']): row for row in rows}
  first = comparison_format.clip_path(workdir, next(iter(compared.edits)), comparison_format.SOURCE)
  info, tasks = video.probe(first), ''
  for title, (task, (heads, *lines)) in found.items():
    tasks += f'<h2>{escape(title)}</h2>{_html_table(heads, lines)}'
    names = [name for name, edit in compared.edits.items() if edit['task'] == task]
    tasks += ''.join(_edit(workdir, compared, name, by_clip, info.fps) for name in names)
  style = STYLE + SMALL * (info.width < 160)
  parts = {'note': escape(note), 'tasks': tasks}
  page.write_page(
    workdir / 'index.html',
    f'{workdir.name}: comparison',
    BODY,
    parts,
    style,
    "get('play').click();",
  )


def _html_table(heads, lines):
  """The table, its intervals below the means."""
  cell = lambda text: escape(text).replace(' (', '<small>(', 1) + '</small>' * (' (' in text)
  body = ''.join(
    f'<tr><th scope="row">{escape(line[0])}</th>'
    + ''.join(f'<td>{cell(text)}</td>' for text in line[1:])
    + '</tr>'
    for line in lines
  )
  head = ''.join(f'<th scope="col">{escape(text)}</th>' for text in heads)
  return (
    f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
  )


def _edit(workdir, compared, name, by_clip, fps):
  """An edit: prompts and clips."""
  edit = compared.edits[name]
  prompts = f'<b>{escape(edit["target_prompt"])}</b>'
  if edit['source_prompt']:
    prompts = f'<small>{escape(edit["source_prompt"])}</small><br>{prompts}'
  item = f'items/{name}'
  figures = [page.link(f'{item}/{comparison_format.SOURCE}.mp4', fps, 'Source')]
  if (workdir / 'edits' / name / EXACT).exists():
    figures.append(page.link(f'edits/{name}/{EXACT}', fps, 'Exact target'))
  for method, title in compared.methods.items():
    label = escape(title) + _mark(by_clip[name, method])
    report = workdir / 'edits' / name / method / 'report.html'
    if report.exists():
      label += f' <small><a href="edits/{name}/{method}/report.html">report</a></small>'
    figures.append(page.link(f'{item}/{method}.mp4', fps, label))
  kind = by_clip[name, next(iter(compared.methods))]['kind']
  number = f'<small>{escape(name)} {escape(kind)}</small><br>'
  return f'<article>{number}{prompts}<div class="videos">{"".join(figures)}</div></article>'


def _mark(row):
  """Whether an edit is right, where that is known."""
  if 'success' not in row:
    return ''
  return (
    ' <span class="good">✓</span>'
    if row['success']
    else f' <small class="bad">✗ {escape(row["wrong"])}</small>'
  )
