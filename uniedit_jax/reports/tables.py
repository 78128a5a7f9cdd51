"""Tables of results: csv for programs, Markdown for people."""

import csv
import math

from uniedit_jax.runtime import files


def format_number(value, form=''):
  """A number as text in `form`: by default ints in full, others to 4 digits; '' for None."""
  if value is None:
    return ''
  if math.isinf(value):
    return '∞' if value > 0 else '−∞'
  form = form or ('d' if isinstance(value, int) else '.4g')
  return f'{value:{form}}'


def write_csv(path, rows):
  """Writes dicts as a table with a column a key; bools as 1 and 0, None and missing keys as ''.

  A text that a spreadsheet would run as a formula gets a ' before it.
  """
  columns = dict.fromkeys(key for row in rows for key in row)
  with files.atomic_file(path) as name, open(name, 'w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writerow({key: _cell(key) for key in columns})
    for row in rows:
      writer.writerow({key: _cell(value) for key, value in row.items()})


def _cell(value):
  if isinstance(value, str) and value.lstrip().startswith(('=', '+', '-', '@')):
    return f"'{value}"
  return int(value) if isinstance(value, bool) else value


def write_means(path, rows, by, headings):
  """Writes a Markdown table of means: a line for each combination of values in the columns `by`.

  Args:
    path: of the file.
    rows: list of dicts; a measure that is None in a row is left out of the mean.
    by: keys of the lines.
    headings: dict {measure: heading}. Means of bools are percentages.
  """
  groups = {}
  for row in rows:
    groups.setdefault(tuple(row[key] for key in by), []).append(row)
  lines = [
    [*values, *(_mean([row[name] for row in chosen if row[name] is not None]) for name in headings)]
    for values, chosen in groups.items()
  ]
  files.write_text(path, markdown([*by, *headings.values()], lines))


def markdown(heads, lines):
  """A table in Markdown, of a list of heads and lists of cells (texts)."""
  escaped = [[cell.replace('|', '\\|') for cell in line] for line in (heads, *lines)]
  rows = ['| ' + ' | '.join(line) + ' |' for line in escaped]
  return '\n'.join([rows[0], '|---' * len(heads) + '|', *rows[1:]]) + '\n'


def _mean(values):
  if not values:
    return ''
  return format_number(sum(values) / len(values), '.0%' if isinstance(values[0], bool) else '')
