"""The answers of raters: files are checked against the key of their study and summarised."""

import itertools
import json

from etils import epath

from uniedit_jax.metrics import statistics
from uniedit_jax.reports import tables
from uniedit_jax.reports.study.page import MEASURES, SCORES
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.files import write_text
from uniedit_jax.runtime.workdir import write_json

PREFERRED = 'preferred'  # the measure of pairs: 1 for the better one, 0 for the other
ALL_TASKS = 'all'


def read_answers(paths, key):
  """Reads the files that raters saved, for the `answer_key.Key` of their study.

  Returns:
    list of dicts, one a value: 'rater', 'edit', 'task', 'method', 'measure' (of `MEASURES`, or
    `PREFERRED`), 'against' (the other method of a pair, or ''), 'value'.

  Raises:
    ValueError: lists all faults, with their files.
  """
  rows, faults, files = [], Faults(), {}
  for path in map(epath.Path, paths):
    if found := faults.attempt(_read_file, path, key, field=str(path)):
      rater, values = found
      if rater in files:
        faults.append(
          f'{path}: rater {rater!r} is that of {files[rater]}; '
          'accepted: one file a rater, the last saved'
        )
      files.setdefault(rater, path)
      rows += values
  if not (rows or faults):
    faults.append(f'{len(files)} files with no answer; accepted: one answer at least')
  faults.stop('the answers cannot be used')
  return rows


def _read_file(path, key):
  """(rater, rows) of a file; raises `FaultsError` if answers are wrong, else ValueError."""
  try:
    given = json.loads(path.read_text())
  except (ValueError, OSError) as error:
    raise ValueError(f'cannot be read ({error}); accepted: the file that the page saves') from error
  has = lambda kind, *names: all(isinstance(given.get(name), kind) for name in names)
  sound = isinstance(given, dict) and has(str, 'study', 'rater') and has(list, 'scores', 'pairs')
  if not sound or not all(isinstance(one, dict) for one in given['scores'] + given['pairs']):
    raise ValueError(
      'is not what the page saves; accepted: an object with study, rater, scores and pairs'
    )
  if given['study'] != key.study:
    raise ValueError(f'study is {given["study"]!r}, another one; accepted: {key.study!r}')
  if not given['rater']:
    raise ValueError("rater is ''; accepted: a name")
  rows, faults = [], Faults()
  for mode, read in (('scores', _read_score), ('pairs', _read_pair)):
    seen = set()
    for number, answer in enumerate(given[mode]):
      field = f'{mode}[{number}]'
      if found := faults.attempt(read, answer, key, field=field):
        clips, values = found
        if clips in seen:
          faults.append(f'{field}: {" ".join(clips)} was answered before; accepted: one answer')
        seen.add(clips)
        rows += [{'rater': given['rater']} | value for value in values]
  faults.stop()
  return given['rater'], rows


def _read_score(answer, key):
  """((clip,), its rows)."""
  if 'scores' not in key.modes:
    raise ValueError('the study asks for none; accepted: pairs')
  clip, rows = _known_clip(answer, 'clip', key), []
  for measure in MEASURES:
    value = answer.get(measure)
    if type(value) is not int or value not in SCORES:
      raise ValueError(
        f'{measure} is {value!r}; accepted: a whole number from {SCORES[0]} to {SCORES[-1]}'
      )
    rows.append(_row(clip, key, measure, '', value))
  return (clip,), rows


def _read_pair(answer, key):
  """(the pair, its rows: one of either clip)."""
  better, worse = (_known_clip(answer, name, key) for name in ('better', 'worse'))
  pair = tuple(sorted((better, worse)))
  if pair not in key.pairs:
    raise ValueError(
      f'{better} and {worse} are no pair that the study asks for; accepted: those on its page'
    )
  return pair, [
    _row(clip, key, PREFERRED, key.clips[other][1], value)
    for clip, other, value in ((better, worse, 1), (worse, better, 0))
  ]


def _known_clip(answer, field, key):
  name = answer.get(field)
  if not isinstance(name, str) or name not in key.clips:
    raise ValueError(
      f'{field} is {name!r}, which the key does not have; accepted: a clip of the study'
    )
  return name


def _row(clip, key, measure, against, value):
  edit, method = key.clips[clip]
  of = {'edit': edit, 'task': key.edits[edit]['task'], 'method': method}
  return of | {'measure': measure, 'against': against, 'value': value}


def summarise_answers(rows, key):
  """Means of `read_answers` with 95 % intervals (`statistics.crossed_interval`: raters and edits).

  Returns:
    list of dicts: 'task' (or `ALL_TASKS`), 'method', 'measure', 'against' (or '': all scores, all
    pairs), 'mean', 'low', 'high', 'answers', 'raters', 'edits'. Combinations without an answer are
    left out.
  """
  tasks = list(dict.fromkeys(row['task'] for row in rows))
  tasks += [ALL_TASKS] * (len(tasks) > 1)
  methods, measures = list(key.methods), (*MEASURES, PREFERRED)
  summary = []
  for names in itertools.product(tasks, methods, measures, ['', *methods]):
    task, method, measure, against = names
    chosen = [
      row
      for row in rows
      if task in (row['task'], ALL_TASKS)
      and (row['method'], row['measure']) == (method, measure)
      and against in ('', row['against'])
    ]
    if chosen:
      named = dict(zip(('task', 'method', 'measure', 'against'), names, strict=True))
      summary.append(named | _mean(chosen))
  return summary


def _mean(rows):
  values, raters, edits = ([row[name] for row in rows] for name in ('value', 'rater', 'edit'))
  mean, low, high = (round(float(x), 4) for x in statistics.crossed_interval(values, raters, edits))
  counts = {'answers': len(rows), 'raters': len(set(raters)), 'edits': len(set(edits))}
  return {'mean': mean, 'low': low, 'high': high} | counts


def format_summary(summary, rows, key):
  """The summary as Markdown tables."""
  count = lambda name: len({row[name] for row in rows})
  text = (
    f'{count("rater")} raters, {count("edit")} edits. Scores are from {SCORES[0]} to {SCORES[-1]}; '
    'preferred is the share of pairs in which the method was the better one. In brackets 95 % '
    'intervals, bootstrapped over raters and edits (both drawn with replacement), and n, the '
    'number of answers.\n'
  )
  for task in dict.fromkeys(row['task'] for row in summary):
    found = {
      (row['method'], row['measure'], row['against']): format_mean(row)
      for row in summary
      if row['task'] == task
    }
    asked = {name[1:] for name in found}
    columns = {(m, ''): m for m in (*MEASURES, PREFERRED) if (m, '') in asked}
    text += f'\n## {task.capitalize()} edits\n\n' + _table('method', columns, found, key)
    others = {
      (PREFERRED, method): f'over {title}'
      for method, title in key.methods.items()
      if (PREFERRED, method) in asked
    }
    if others:
      text += '\n' + _table('preferred', others, found, key)
  return text


def _table(head, columns, found, key):
  """A line a method; `columns` is {(measure, against): heading}."""
  lines = [
    [title, *(found.get((method, *column), '') for column in columns)]
    for method, title in key.methods.items()
  ]
  return tables.markdown([head, *columns.values()], lines)


def format_mean(row):
  """A mean as '4.25 (3.50 to 4.75; n 12)', or in percent; one answer has no interval."""
  form = '.0%' if row['measure'] == PREFERRED else '.2f'
  mean, low, high = (tables.format_number(row[name], form) for name in ('mean', 'low', 'high'))
  return f'{mean} ({low} to {high}; n {row["answers"]})' if row['answers'] > 1 else f'{mean} (n 1)'


def write_results(folder, paths, key):
  """Writes results.json, results.csv and results.md of the answers in files; returns the last.

  Raises:
    ValueError: lists all faults of the files.
  """
  folder, rows = epath.Path(folder), read_answers(paths, key)
  summary = summarise_answers(rows, key)
  text = format_summary(summary, rows, key)
  results = {'study': key.study, 'methods': key.methods, 'results': summary}
  write_json(folder / 'results.json', results)
  tables.write_csv(folder / 'results.csv', summary)
  write_text(folder / 'results.md', text)
  return text
