"""Whatever is handed in, reading it ends in a value, or in faults that name the field or line."""

import json

import hypothesis
import pytest
from hypothesis import strategies as st

from configs import sprites_motion
from experiments.requests.edit import request_of
from experiments.requests.manifest import read_manifest
from uniedit_jax.pipeline.check import READERS, check_edit
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.runtime import fields
from uniedit_jax.runtime.faults import FaultsError

BASE = request_of(sprites_motion.get_config())
# Sources have a table of their own, and are not opened here.
WITHOUT_FILES = READERS._replace(source=lambda request, clip: ([], [], None))
FIELDS = sorted(fields.hints(EditRequest))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
KEYS = st.sampled_from(['id', 'ID', *FIELDS]) | st.text(max_size=6)
fixed = hypothesis.settings(
  max_examples=500,
  deadline=None,
  derandomize=True,
  database=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


def value_or_faults(function, *args):
  """What a call returns, or its faults; anything else that it raises is a failure."""
  try:
    return function(*args), []
  except ValueError as error:
    faults = error.faults if isinstance(error, FaultsError) else [str(error)]
    assert type(error) in (FaultsError, ValueError) and faults and all(faults)
    return None, faults


@fixed
@hypothesis.given(st.sampled_from(FIELDS), VALUES | VALUES.map(lambda x: (x, x)))
def test_any_value_of_any_field_is_taken_or_refused(field, value):
  request, faults = value_or_faults(BASE.replace, {field: value})
  assert all(fault.startswith(f'{field} is ') for fault in faults)
  if request:
    _, faults = value_or_faults(lambda: check_edit(request, readers=WITHOUT_FILES))
    part = field.partition('.')[0]
    assert not faults or any(part in fault for fault in faults), faults


@fixed
@hypothesis.given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=3))
def test_any_line_of_json_is_read_or_refused_with_its_number(tmp_path, lines):
  path = tmp_path / 'edits.jsonl'
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  found, faults = value_or_faults(read_manifest, path)
  if not lines:
    assert 'no lines' in faults[0]
    return
  assert [line.number for line in found] == list(range(1, len(lines) + 1))
  for line in found:
    request, wrong = value_or_faults(BASE.replace, line.fields)
    assert line.faults or wrong or request is not None


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
@fixed
@hypothesis.given(data=st.binary(max_size=60) | st.text('id,;\t"\n\r ab=1', max_size=60))
def test_any_bytes_are_a_manifest_or_none(tmp_path, suffix, data):
  path = tmp_path / f'edits.{suffix}'
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  found, faults = value_or_faults(read_manifest, path)
  assert faults or all(line.id for line in found)
  assert all(str(path) in fault for fault in faults)
