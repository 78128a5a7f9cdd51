"""Tables of results: csv for programs, Markdown for people; nested dicts as rows."""

import csv

from uniedit_jax.runtime.files import atomic_file


def flatten(tree, prefix=''):
  """Yields (dotted name, leaf) of nested dicts."""
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      yield from flatten(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


def write_csv(path, rows):
  """Writes dicts as a table, a column for every key; True and False as 1 and 0, nothing for None
  and a missing key.
  """
  with atomic_file(path) as name, open(name, 'w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(
      file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator='\n'
    )
    writer.writeheader()
    writer.writerows(
      {key: int(x) if isinstance(x, bool) else x for key, x in row.items()} for row in rows
    )


def write_means(path, rows, by, headings):
  """Writes a table in Markdown: a line for every combination of values in the columns `by`, with
  means.

  Args:
    path: of the file.
    rows: list of dicts; a measure that is None in a row is left out of the mean.
    by: keys of the lines.
    headings: dict {measure: heading}. Means of bools are percentages.
  """
  lines = []
  for values in dict.fromkeys(tuple(row[key] for key in by) for row in rows):
    chosen = [row for row in rows if tuple(row[key] for key in by) == values]
    columns = ([row[name] for row in chosen if row[name] is not None] for name in headings)
    lines.append([*values, *map(_mean, columns)])
  with atomic_file(path) as name, open(name, 'w', encoding='utf-8') as file:
    file.write(markdown([*by, *headings.values()], lines))


def markdown(heads, lines):
  """A table in Markdown, of a list of heads and lists of cells (texts)."""
  escaped = [[cell.replace('|', '\\|') for cell in line] for line in (heads, *lines)]
  rows = ['| ' + ' | '.join(line) + ' |' for line in escaped]
  return '\n'.join([rows[0], '|---' * len(heads) + '|', *rows[1:]]) + '\n'


def _mean(values):
  if not values:
    return ''
  mean = sum(values) / len(values)
  return f'{mean:.0%}' if isinstance(values[0], bool) else f'{mean:.4g}'
