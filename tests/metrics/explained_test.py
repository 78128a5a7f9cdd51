"""Measures have the definitions of docs/metrics.md, a group, and a better direction."""

import pathlib
import re

import pytest

from uniedit_jax.metrics import explained
from uniedit_jax.metrics.explained import KEEPS, LESS, MORE, NEITHER, OTHER, SHOWS, STEADY, TRUST

DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'metrics.md'


def documented():
  """{measure: its definition as plain text} of the tables of docs/metrics.md."""
  found = {}
  for line in DOCS.read_text(encoding='utf-8').splitlines():
    if line.startswith('| `'):
      names, definition = re.split(r'(?<!\\) \| ', line.strip('| '))[:2]
      plain = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', definition).replace('\\|', '|')
      for name in re.findall(r'`([^`]+)`', names):
        found[name] = plain.replace('`', '')
  return found


def test_definitions_are_those_of_the_docs():
  docs = documented()
  assert len(docs) > 15
  for name, definition in docs.items():
    assert explained.explain(name.replace('<attribute>', 'colour')).definition == definition
  # This one is explained in another row.
  assert set(explained.EXPLAINED) - set(docs) == {'reconstruction_is_stored_trajectory'}


@pytest.mark.parametrize(
  'name, group, better',
  [
    ('clip_text_alignment_framemean_vitl14', SHOWS, MORE),
    ('motion_right', SHOWS, MORE),
    ('source_warp_error', KEEPS, LESS),
    ('source_motion_direction', KEEPS, NEITHER),
    ('warp_error', STEADY, LESS),
    ('flicker', STEADY, LESS),
    ('frame_difference', STEADY, NEITHER),
    ('reconstruction_psnr_db', TRUST, MORE),
    ('something_new', OTHER, NEITHER),
  ],
)
def test_groups_and_directions(name, group, better):
  assert explained.explain(name)[:2] == (group, better)


def test_a_name_of_a_file_begins_with_its_clip():
  of = lambda name: explained.explain_name(name)[:2]
  assert of('edit_source_warp_error') == of('edit_2_source_warp_error') == (KEEPS, LESS)
  assert of('source_warp_error') == of('plain_3_warp_error') == (STEADY, LESS)


def test_measures_are_sorted_into_groups():
  measures = {'something': 1, 'source_flicker': 2, 'edit_flicker': 3, 'edit_2_source_ssim': 4}
  assert explained.by_group(measures) == {
    KEEPS: {'source_ssim': {'edit_2': 4}},
    STEADY: {'flicker': {'source': 2, 'edit': 3}},
    OTHER: {'something': {'': 1}},
  }
