"""Manifests: one edit a line, an id and fields of the config."""

import ast
import csv
import json
import re

from etils import epath

from experiments.requests import loveu
from uniedit_jax.runtime.faults import Faults


def read_manifest(path):
  """Reads a manifest.

  Args:
    path: of a .jsonl (an object a line) or .csv (fields as heads; empty cells are left out, values
      are Python's or text; or the table of LOVEU-TGVE 2023, known by its first head).

  Returns:
    list of (line number, dict {field: value} with 'id'); lists became tuples.

  Raises:
    ValueError: lists all faults with their lines.
  """
  path, faults, ids = epath.Path(path).expanduser(), Faults(), {}
  if path.suffix not in ('.jsonl', '.csv'):
    raise ValueError(f'manifest is {str(path)!r}; accepted: a .jsonl or .csv file')
  if not path.is_file():
    raise ValueError(
      f'manifest is {str(path)!r}, which is no file; accepted: a .jsonl or .csv file'
    )
  lines = []
  text = path.read_text().removeprefix('\ufeff')  # what spreadsheets put first
  if path.suffix == '.jsonl':
    found = _read_jsonl(text, faults)
  else:
    found = loveu.read(path, text, faults) if loveu.is_layout(text) else _read_csv(text, faults)
  for number, fields in found:
    name = fields.get('id')
    if not (isinstance(name, str) and re.fullmatch(r'[\w-][\w.-]*', name)):
      faults.append(
        f'line {number}: id is {name!r}; accepted: letters, digits, _, - and ., no . first'
      )
    elif name in ids:
      faults.append(
        f'line {number}: id is {name!r}, as in line {ids[name]}; accepted: ids that differ'
      )
    ids.setdefault(name, number)
    lines.append((number, fields))
  faults.unless(
    lines or faults, f'manifest is {str(path)!r}, which has no lines; accepted: at least one edit'
  )
  faults.stop()
  return lines


def _read_jsonl(text, faults):
  for number, line in enumerate(text.splitlines(), start=1):
    if line.strip():
      try:
        fields = json.loads(line)
      except ValueError as error:
        faults.append(f'line {number}: no JSON ({error}); accepted: an object a line')
        continue
      if not isinstance(fields, dict):
        faults.append(f'line {number}: {line!r}; accepted: an object a line')
        continue
      yield number, {name: _tuples(value) for name, value in fields.items()}


def _read_csv(text, faults):
  reader = csv.DictReader(text.splitlines())
  for row in reader:
    if None in row or None in row.values():
      faults.append(f'line {reader.line_num}: another number of cells than heads')
      continue
    values = {
      name: value if name == 'id' else read_value(value) for name, value in row.items() if value
    }
    yield reader.line_num, values


def read_value(text):
  """The value of a text: Python's, lists as tuples, or the text itself."""
  try:
    return _tuples(ast.literal_eval(text))
  except (ValueError, SyntaxError):
    return text


def _tuples(value):
  return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
