"""Tables and page of a comparison, from rows that are made up."""

import csv
import json
import re

import pytest

from tests.reports.study_test import EDITS, METHODS, write_comparison
from uniedit_jax.reports import comparison, comparison_format

CONSISTENCY, ALIGNMENT = (
  f'clip_{name}_vitl14' for name in ('frame_consistency_allpairs', 'text_alignment_framemean')
)
USER = {'task': 'motion', 'method': 'okapi', 'mean': 4.25, 'low': 3.5, 'high': 4.75, 'answers': 8}


def rows_of(measures):
  """A row of every edit and method; a measure is a function of the numbers of both."""
  rows = []
  for i, (edit, fields) in enumerate(EDITS.items()):
    for j, method in enumerate(('source', *METHODS)):
      row = {'edit': edit, 'task': fields['task'], 'kind': fields['task'], 'method': method}
      row['seconds'] = None if method == 'source' else 10.0**i * j
      rows.append(row | {name: of(i, j) for name, of in measures.items()})
  return rows


@pytest.fixture(scope='session')
def compared(tmp_path_factory):
  return write_comparison(tmp_path_factory.mktemp('compared'))


def write(folder, rows):
  (folder / 'results.json').write_text(json.dumps(rows))
  return comparison.write_comparison_report(folder)


def table(text, task):
  """{title: cells} of a table."""
  part = text.split(f'## {task} edits')[1].split('##')[0]
  lines = part.split(comparison.NOTE_PAIRED)[0].splitlines()[2:]
  cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line]
  return {
    title: dict(zip(cells[0][1:], rest, strict=True)) for title, *rest in [cells[0], *cells[2:]]
  }


def test_tables_of_motion_and_of_appearance(compared):
  known = {
    'success': lambda i, j: j > i,
    'wrong': lambda i, j: '' if j > i else 'colour, shape',
    'attributes_right': lambda i, j: 1.0 if j > i else 0.5,
    'background_psnr': lambda i, j: 20.0 + 2 * i + j if j else float('inf'),
  }
  clip = {CONSISTENCY: lambda i, j: 0.9, ALIGNMENT: lambda i, j: 20.0 + i}
  text = write(compared, rows_of(known | clip))
  motion, appearance = (table(text, task) for task in ('Motion', 'Appearance'))
  assert 'Motion edits (n = 2)' in text and 'Appearance edits (n = 1)' in text
  assert list(motion) == ['method', 'Source, unedited', *METHODS.values()]
  assert motion['Zebra Net'] == {
    'frame consistency': '0.9000 (0.9000 to 0.9000)',
    'textual alignment': '20.50 (20.00 to 21.00)',
    'success': '50% (9% to 91%)',
    'attributes right': '75% (50% to 100%)',
    'kept background, dB': '22.0 (21.0 to 23.0)',
    'seconds an edit': '5.5',
  }
  assert motion['Source, unedited']['kept background, dB'] == '∞'
  assert motion['Source, unedited']['seconds an edit'] == '–'
  assert appearance['The Walrus']['kept background, dB'] == '27.0'  # one value has no interval
  assert appearance['The Walrus']['success'] == '100% (21% to 100%)'
  assert 'Not measured: rated consistency, rated alignment, preferred.' in text
  page = (compared / 'index.html').read_text().split('<body')[1]
  assert page.count('✓') == 6 and page.count('✗ colour, shape') == 3
  assert page.count('<video') == 12 + 2 and '&lt;b&gt;cat' in page and '<b>cat' not in page
  with open(compared / 'results.csv', newline='') as file:
    assert len(list(csv.DictReader(file))) == 12


def test_differences_are_paired_and_corrected():
  edits = {f'{i}': {'task': 'motion', 'source_prompt': '', 'target_prompt': 'a'} for i in range(12)}
  methods = {'base': 'Base', 'better': 'Better', 'same': 'Same', 'half': 'Half'}
  compared = comparison_format.Comparison(methods, edits)
  gains = {'base': 0, 'better': 2, 'same': 0}
  rows = [
    {
      'edit': edit,
      'task': 'motion',
      'method': method,
      'success': method == 'better',
      # The spread between edits says nothing of the differences.
      'background_psnr': float(5 * i + (gains[method] if method in gains else 2 * (i % 2) - 1)),
    }
    for i, edit in enumerate(edits)
    for method in methods
  ]
  heads, *lines = comparison._differences(compared, 'motion', rows)
  assert heads == ['minus Base', 'success', 'kept background, dB']
  better, same, half = lines
  assert better == ['Better', '+100% (+100% to +100%)*', '+2.0 (+2.0 to +2.0)*']
  assert same == ['Same', '+0% (+0% to +0%)', '+0.0 (+0.0 to +0.0)']
  # As many gain as lose.
  assert half[2].startswith('+0.0 (-0.') and not half[2].endswith('*')
  assert comparison._differences(compared, 'appearance', rows) == []


def test_what_raters_said_gets_into_the_table(compared):
  (compared / 'user_study').mkdir()
  said = [
    {**USER, 'measure': 'alignment', 'against': ''},
    {**USER, 'measure': 'preferred', 'against': '', 'mean': 0.75, 'low': 0.5, 'high': 1.0},
    {**USER, 'measure': 'preferred', 'against': 'zebra_net'},
  ]
  (compared / 'user_study' / 'results.json').write_text(json.dumps({'results': said}))
  motion = table(write(compared, rows_of({})), 'Motion')
  (compared / 'user_study' / 'results.json').unlink()
  (compared / 'user_study').rmdir()
  okapi = {'rated alignment': '4.25 (3.50 to 4.75)', 'preferred': '75% (50% to 100%)'}
  assert motion['Okapi of 2023'] == {**okapi, 'seconds an edit': '11'}
  assert motion['Zebra Net'] == {'rated alignment': '–', 'preferred': '–', 'seconds an edit': '5.5'}


def test_every_model_that_was_asked_has_a_column(compared):
  other = CONSISTENCY.replace('vitl14', 'vitb32')
  rows = rows_of({CONSISTENCY: lambda i, j: 0.9, other: lambda i, j: 0.8})
  motion = table(write(compared, rows), 'Motion')
  assert motion['Okapi of 2023']['frame consistency (vitb32)'].startswith('0.8')
  assert motion['Okapi of 2023']['frame consistency (vitl14)'].startswith('0.9')


def test_the_best_value_of_a_column_is_marked(compared):
  known = {
    'success': lambda i, j: j == 2,
    'wrong': lambda i, j: '',
    'background_psnr': lambda i, j: float('inf') if j == 0 else 20.0 + j,
    'texture_correlation': lambda i, j: 0.5,
  }
  write(compared, rows_of(known))
  page = (compared / 'index.html').read_text().split('<tbody>')[1].split('</tbody>')[0]
  best = {}
  for line in page.split('<tr>')[1:]:
    title = line.split('</th>')[0].split('>')[-1]
    best[title] = re.findall(r'<td class="best">([^<]*)', line)
  # More is better but for seconds; the source does not compete, and equals are no best.
  assert best == {
    'Source, unedited': [],
    'Zebra Net': ['5.5'],
    'Okapi of 2023': ['100%'],
    'The Walrus': ['23.0'],
  }
