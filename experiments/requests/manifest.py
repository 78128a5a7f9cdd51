"""Manifests: one edit a line, an id and fields of the config."""

import codecs
import csv
import functools
import io
import json
import re
import unicodedata
from typing import Any, NamedTuple

from etils import epath

from experiments.requests import loveu
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.runtime import fields
from uniedit_jax.runtime.faults import Faults, line_of, shown

LONGEST_ID = 200  # bytes: an id is the name of a folder
BYTE_ORDER_MARKS = {  # the longer first, as one begins with another
  codecs.BOM_UTF32_LE: 'utf-32',
  codecs.BOM_UTF32_BE: 'utf-32',
  codecs.BOM_UTF8: 'utf-8-sig',
  codecs.BOM_UTF16_LE: 'utf-16',
  codecs.BOM_UTF16_BE: 'utf-16',
}
csv.field_size_limit(2**20)  # characters of a cell


class Line(NamedTuple):
  """A line of a manifest.

  Attributes:
    number: of its first line in the file.
    id: the edit's, or 'line <number>' where it has none that a folder may have.
    fields: {dotted field: value}.
    faults: what is wrong with it, list of sentences.
  """

  number: int
  id: str
  fields: dict[str, Any]
  faults: list[str]

  @property
  def name(self):
    """The name of the line in messages."""
    line = f'line {self.number}'
    return line if self.id == line else f'{line} ({self.id})'


def read_manifest(path):
  """Reads a manifest.

  Args:
    path: of a .jsonl (an object a line) or .csv (fields as heads; empty cells are left out, others
      are values of the type of their field; or the table of LOVEU-TGVE 2023, known by its first
      head).

  Returns:
    list of `Line`; their faults are those of a single line.

  Raises:
    FaultsError: the file cannot be read, or has no lines.
  """
  path = epath.Path(path).expanduser()
  suffix = path.suffix.lower()
  if suffix not in ('.jsonl', '.csv'):
    raise ValueError(f'manifest is {str(path)!r}; accepted: a .jsonl or .csv file')
  if not path.is_file():
    raise ValueError(
      f'manifest is {str(path)!r}, which is no file; accepted: a .jsonl or .csv file'
    )
  text = _decode(path)
  read, faults = _read_jsonl if suffix == '.jsonl' else _read_csv, Faults()
  found = faults.attempt(lambda: list(read(path, text)), field=f'manifest is {str(path)!r}')
  faults.unless(
    faults or found,
    f'manifest is {str(path)!r}, which has no lines; accepted: at least one edit',
  )
  faults.stop()
  lines, seen = [], {}
  for number, given, faults in found:
    name = next((key for key in given if key.strip().lower() == 'id'), 'id')
    values = {key: value for key, value in given.items() if key != name}
    faults, own = list(faults), f'line {number}'
    # An object that could not be read has no id to complain of.
    if given or not faults:
      if fault := _id_fault(given.get(name), seen, number):
        faults.append(fault)
      else:
        own = given[name]
    lines.append(Line(number, own, values, faults))
  return lines


def sound_lines(path):
  """The lines of a manifest, {id: (name in messages, fields)}; raises FaultsError of all faults."""
  faults, lines = Faults(), read_manifest(path)
  for line in lines:
    faults += [f'{line.name}: {fault}' for fault in line.faults]
  faults.stop()
  return {line.id: (line.name, line.fields) for line in lines}


def _decode(path):
  """The text of a file: UTF-8, or what its byte order mark says."""
  data = path.read_bytes()
  marked = (name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark))
  encoding = next(marked, 'utf-8')
  try:
    return data.decode(encoding)
  except UnicodeDecodeError as error:
    before = data[: error.start]
    line = before.count(b'\n') + 1
    column = len(before[before.rfind(b'\n') + 1 :].decode(encoding, 'replace')) + 1
    raise ValueError(
      f'manifest is {str(path)!r}: line {line}, column {column} has the byte '
      f'{data[error.start]:#x}, which is no {encoding}; accepted: UTF-8 ("CSV UTF-8" in Excel)'
    ) from error


def _id_fault(name, seen, number):
  """The fault of an id, in words, or ''; `seen` has the earlier ids, regardless of case."""
  if not (isinstance(name, str) and re.fullmatch(r'[\w-][\w.-]*', name)):
    return f'id is {shown(name)}; accepted: letters, digits, _, - and ., no . first'
  if (size := len(name.encode())) > LONGEST_ID:
    return f'id is {name[:40]!r}... of {size} bytes; accepted: at most {LONGEST_ID}'
  same, line = seen.setdefault(unicodedata.normalize('NFKC', name).casefold(), (name, number))
  if line == number:
    return ''
  differs = '' if same == name else f' but for case ({same!r})'
  return f'id is {name!r}, as in line {line}{differs}; accepted: ids that differ'


def _read_jsonl(_, text):
  """Yields (line number, object, faults)."""
  # Not `splitlines`, which breaks texts at U+2028 and the like too.
  for number, line in enumerate(re.split('\r\n|\r|\n', text), start=1):
    if not line.strip():
      continue
    given, faults = {}, Faults()
    try:
      given = json.loads(line, object_pairs_hook=functools.partial(_object, faults))
    except json.JSONDecodeError as error:
      faults.append(f'column {error.colno}: no JSON ({error.msg}); accepted: an object a line')
    except (ValueError, RecursionError) as error:
      faults.append(f'no JSON ({line_of(error)}); accepted: an object a line')
    if not isinstance(given, dict):
      faults.append(f'it is {shown(given)}; accepted: an object a line')
      given = {}
    yield number, given, faults


def _object(faults, pairs):
  """The dict of a JSON object's pairs, where no key may come twice."""
  found = {}
  for key, value in pairs:
    faults.unless(key not in found, f'{key!r} is given twice; accepted: once')
    found[key] = value
  return found


def _read_csv(path, text):
  """Yields (line number, {field: value}, faults) of a table; its head is the first line."""
  (_, heads), *rows = _rows(text) or [(1, [''])]
  heads = [head.strip() for head in heads]
  if heads[0] == loveu.VIDEO:
    yield from loveu.read(path.parent, heads, rows)
    return
  faults = Faults()
  named = [head.lower() if head.lower() == 'id' else head for head in heads if head]
  for head in dict.fromkeys(named):
    faults.unless(named.count(head) == 1, f'line 1: {head!r} is given twice; accepted: once')
  accepted = 'id and fields of the config, separated by commas, semicolons or tabs'
  faults.unless(
    'id' in named, f'line 1: no head is id, they are {shown(heads)}; accepted: {accepted}'
  )
  faults.stop()
  for number, cells in rows:
    faults = Faults()
    if len(cells) < len(heads) or any(cells[len(heads) :]):
      faults.append(f'{len(cells)} cells under {len(heads)} heads; accepted: a cell for each')
    values = {
      head: cell if head.lower() == 'id' else fields.of_text(EditRequest, head, cell)
      for head, cell in zip(heads, cells, strict=False)
      if head and cell
    }
    unnamed = [cell for head, cell in zip(heads, cells, strict=False) if cell and not head]
    faults.unless(not unnamed, f'{shown(unnamed)} is under no head; accepted: a head above it')
    yield number, values, faults


def _rows(text):
  """The rows of a table that have a cell with text: list of (line number, list of cells).

  Commas, semicolons (Excel in most of Europe) or tabs separate the cells: what the head has most.

  Raises:
    ValueError: a quote is not closed, or a cell is too long, so that later cells are uncertain.
  """
  head = text.partition('\n')[0]
  delimiter = max(',;\t', key=head.count)
  # With its line breaks, as those within quotes belong to the cell.
  reader, found = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True), []
  try:
    while True:
      number = reader.line_num + 1
      row = next(reader)
      if any(map(str.strip, row)):
        found.append((number, row))
  except StopIteration:
    return found
  except csv.Error as error:
    raise ValueError(
      f'line {number}: no CSV ({error}); accepted: cells with quotes, line breaks or separators in '
      'double quotes, and quotes doubled within them'
    ) from error
