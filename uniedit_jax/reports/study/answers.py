"""What raters answered: files are checked against the key of their study, and summed up."""

import json

from etils import epath

from uniedit_jax.metrics import statistics
from uniedit_jax.reports import tables
from uniedit_jax.reports.study.page import MEASURES, SCORES
from uniedit_jax.runtime.files import atomic_file
from uniedit_jax.runtime.workdir import write_json

PREFERRED = 'preferred'  # the measure of pairs: 1 for the better one, 0 for the other
ALL_TASKS = 'all'


def read_answers(paths, key):
  """Reads the files that raters saved.

  Args:
    paths: of the files.
    key: `answer_key.Key` of the study.

  Returns:
    list of dicts, one a value: 'rater', 'edit', 'task', 'method', 'measure' (of `MEASURES`, or
    `PREFERRED`), 'against' (the other method of a pair, or ''), 'value'.

  Raises:
    ValueError: lists all faults, with their files.
  """
  rows, faults, files = [], [], {}
  for path in map(epath.Path, paths):
    try:
      found = _read(path, key)
    except ValueError as error:
      faults += [f'{path}: {fault}' for fault in error.args]
      continue
    rater, values = found
    if rater in files:
      faults.append(
        f'{path}: rater {rater!r} is that of {files[rater]}; accepted: one file a rater, the last saved'
      )
    files.setdefault(rater, path)
    rows += values
  if not (rows or faults):
    faults.append(f'{len(files)} files with no answer; accepted: one answer at least')
  if faults:
    raise ValueError(
      'the answers cannot be used:\n' + '\n'.join(f'  - {fault}' for fault in faults)
    )
  return rows


def _read(path, key):
  """(rater, rows) of a file; a ValueError has a fault an argument."""
  try:
    given = json.loads(path.read_text())
  except (ValueError, OSError) as error:
    raise ValueError(f'cannot be read ({error}); accepted: the file that the page saves') from error
  texts = isinstance(given, dict) and all(
    isinstance(given.get(name), str) for name in ('study', 'rater')
  )
  lists = texts and all(isinstance(given.get(name), list) for name in ('scores', 'pairs'))
  if not lists or not all(
    isinstance(answer, dict) for name in ('scores', 'pairs') for answer in given[name]
  ):
    raise ValueError(
      'is not what the page saves; accepted: an object with study, rater, scores and pairs'
    )
  if given['study'] != key.study:
    raise ValueError(f'study is {given["study"]!r}, another one; accepted: {key.study!r}')
  if not given['rater']:
    raise ValueError("rater is ''; accepted: a name")
  rows, faults = [], []
  read = {'scores': lambda answer: _score(answer, key), 'pairs': lambda answer: _pair(answer, key)}
  for mode, read_one in read.items():
    seen = set()
    for number, answer in enumerate(given[mode]):
      try:
        name, values = read_one(answer)
        if name in seen:
          raise ValueError(f'{" ".join(name)} was answered before; accepted: one answer')
        seen.add(name)
        rows += [{'rater': given['rater'], **value} for value in values]
      except ValueError as error:
        faults.append(f'{mode}[{number}]: {error}')
  if faults:
    raise ValueError(*faults)
  return given['rater'], rows


def _score(answer, key):
  """((clip,), its rows)."""
  if 'scores' not in key.modes:
    raise ValueError('the study asks for none; accepted: pairs')
  clip, rows = _known(answer, 'clip', key), []
  for measure in MEASURES:
    value = answer.get(measure)
    if type(value) is not int or value not in SCORES:
      raise ValueError(
        f'{measure} is {value!r}; accepted: a whole number from {SCORES[0]} to {SCORES[-1]}'
      )
    rows.append({**_of(clip, key), 'measure': measure, 'against': '', 'value': value})
  return (clip,), rows


def _pair(answer, key):
  """(the pair, its rows: one of either clip)."""
  better, worse = (_known(answer, name, key) for name in ('better', 'worse'))
  pair = tuple(sorted((better, worse)))
  if pair not in key.pairs:
    raise ValueError(
      f'{better} and {worse} are no pair that the study asks for; accepted: those on its page'
    )
  rows = [
    {**_of(clip, key), 'measure': PREFERRED, 'against': key.clips[other][1], 'value': value}
    for clip, other, value in ((better, worse, 1), (worse, better, 0))
  ]
  return pair, rows


def _known(answer, field, key):
  name = answer.get(field)
  if not isinstance(name, str) or name not in key.clips:
    raise ValueError(
      f'{field} is {name!r}, which the key does not have; accepted: a clip of the study'
    )
  return name


def _of(clip, key):
  edit, method = key.clips[clip]
  return {'edit': edit, 'task': key.edits[edit]['task'], 'method': method}


def summarise(rows, key):
  """Means with their 95 % intervals (`statistics.crossed_interval` over raters and edits).

  Args:
    rows: what `read_answers` returns.
    key: `answer_key.Key`.

  Returns:
    list of dicts: 'task' (or `ALL_TASKS`), 'method', 'measure', 'against' (or '': all scores, all
    pairs), 'mean', 'low', 'high', 'answers', 'raters', 'edits'. What nobody answered is left out.
  """
  tasks = list(dict.fromkeys(row['task'] for row in rows))
  summary = []
  for task in tasks + [ALL_TASKS] * (len(tasks) > 1):
    for method in key.methods:
      for measure in (*MEASURES, PREFERRED):
        for against in ('', *key.methods):
          chosen = [
            row
            for row in rows
            if task in (row['task'], ALL_TASKS)
            and (row['method'], row['measure']) == (method, measure)
            if against in ('', row['against'])
          ]
          if chosen:
            names = {'task': task, 'method': method, 'measure': measure, 'against': against}
            summary.append({**names, **_mean(chosen)})
  return summary


def _mean(rows):
  values, raters, edits = ([row[name] for row in rows] for name in ('value', 'rater', 'edit'))
  figures = zip(
    ('mean', 'low', 'high'), statistics.crossed_interval(values, raters, edits), strict=True
  )
  counts = {'answers': len(rows), 'raters': len(set(raters)), 'edits': len(set(edits))}
  return {**{name: round(float(value), 4) for name, value in figures}, **counts}


def markdown(summary, rows, key):
  """The summary as tables for people."""
  count = lambda name: len({row[name] for row in rows})
  text = (
    f'{count("rater")} raters, {count("edit")} edits. Scores are from {SCORES[0]} to {SCORES[-1]}; preferred is the '
    'share of pairs in which the method was the better one. In brackets 95 % intervals, bootstrapped over raters and '
    'edits (both drawn with replacement), and n, the number of answers.\n'
  )
  for task in dict.fromkeys(row['task'] for row in summary):
    found = {
      (row['method'], row['measure'], row['against']): row for row in summary if row['task'] == task
    }
    cell = lambda *name, found=found: shown(found[name]) if name in found else ''
    measures = [m for m in (*MEASURES, PREFERRED) if any(name[1:] == (m, '') for name in found)]
    lines = [
      [title, *(cell(method, m, '') for m in measures)] for method, title in key.methods.items()
    ]
    text += f'\n## {task.capitalize()} edits\n\n' + tables.markdown(['method', *measures], lines)
    others = {m: title for m, title in key.methods.items() if any(name[2] == m for name in found)}
    if others:
      lines = [
        [title, *(cell(m, PREFERRED, other) for other in others)]
        for m, title in key.methods.items()
      ]
      heads = ['preferred', *(f'over {title}' for title in others.values())]
      text += '\n' + tables.markdown(heads, lines)
  return text


def shown(row):
  """A row of the summary as text: '4.25 (3.50 to 4.75; n 12)', or in percent; one answer has no
  interval.
  """
  form = '{:.0%}' if row['measure'] == PREFERRED else '{:.2f}'
  mean, low, high = (form.format(row[name]) for name in ('mean', 'low', 'high'))
  return f'{mean} ({low} to {high}; n {row["answers"]})' if row['answers'] > 1 else f'{mean} (n 1)'


def write_results(folder, paths, key):
  """Writes results.json, results.csv and results.md of the answers in files.

  Args:
    folder: of the study.
    paths: of the files.
    key: `answer_key.Key`.

  Returns:
    the tables, Markdown.

  Raises:
    ValueError: lists all faults of the files.
  """
  folder, rows = epath.Path(folder), read_answers(paths, key)
  summary = summarise(rows, key)
  text = markdown(summary, rows, key)
  write_json(
    folder / 'results.json', {'study': key.study, 'methods': key.methods, 'results': summary}
  )
  tables.write_csv(folder / 'results.csv', summary)
  with atomic_file(folder / 'results.md') as name, open(name, 'w', encoding='utf-8') as file:
    file.write(text)
  return text
