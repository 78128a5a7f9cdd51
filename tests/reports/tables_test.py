"""Tables of results."""

import csv

from uniedit_jax.reports import tables

ROWS = [
  {'kind': 'style', 'right': True, 'psnr': 30.0},
  {'kind': 'motion', 'right': True, 'psnr': None},
  {'kind': 'style', 'right': False, 'psnr': 25.25},
]


def test_csv_holds_every_row(tmp_path):
  tables.write_csv(tmp_path / 'results.csv', ROWS)
  with open(tmp_path / 'results.csv', newline='') as file:
    found = list(csv.DictReader(file))
  assert found[1] == {'kind': 'motion', 'right': '1', 'psnr': ''}
  assert found[2]['psnr'] == '25.25' and len(found) == 3


def test_numbers_have_four_digits_and_a_form_if_it_is_given():
  values = 0.123456, 123456, float('inf'), -float('inf'), None
  assert [tables.format_number(x) for x in values] == ['0.1235', '123456', '∞', '−∞', '']
  assert tables.format_number(0.5, '.0%') == '50%' and tables.format_number(20, '.1f') == '20.0'


def test_means_by_kind_leave_out_what_is_missing(tmp_path):
  tables.write_means(tmp_path / 'table.md', ROWS, ('kind',), {'right': 'right', 'psnr': 'dB'})
  assert (tmp_path / 'table.md').read_text().splitlines() == [
    '| kind | right | dB |',
    '|---|---|---|',
    '| style | 50% | 27.62 |',
    '| motion | 100% |  |',
  ]
