"""docs/config.md holds every field, and is what the configs say."""

import ml_collections
import pytest

from configs import common
from experiments.docs import config_table


def test_the_page_is_up_to_date():
  hint = 'run `python -m experiments.docs.config_table`'
  assert config_table.PATH.read_text() == config_table.table(), hint


def test_a_field_takes_the_comment_behind_it_or_above_it_or_of_the_part_that_has_it():
  known = config_table.comments(common)
  assert known['seed'] == 'of every random number; 0 to 2**32 - 1'
  assert known['move.amount'].startswith('fraction of the picture')
  assert config_table.explain('structure.blocks', known).startswith('structure control')
  with pytest.raises(ValueError, match=r'move\.speed has no comment'):
    config_table.explain('move.speed', {})


def test_fields_have_dotted_names_and_types():
  unset = ml_collections.config_dict.placeholder(int)
  config = ml_collections.ConfigDict({'a': {'b': unset}, 'c': 'x'})
  assert list(config_table.fields(config)) == [('a.b', int, None), ('c', str, 'x')]
