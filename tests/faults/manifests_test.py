"""Manifests as spreadsheets and other programs write them: read right, or refused with the line."""

import json

import pytest

from experiments.requests.manifest import LONGEST_ID, read_manifest, sound_lines

EDIT = '{"id": "a", "target_prompt": "a fox"}'
HEAD = 'id,target_prompt,generated,structure.steps\n'


def write(folder, name, data):
  path = folder / name
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return path


@pytest.mark.parametrize(
  'name, data, expected',
  [
    # Line breaks in a cell, as Excel and as Linux write them.
    ('a.csv', 'id,target_prompt\r\na,"red\r\nsquare"\r\n', {'target_prompt': 'red\r\nsquare'}),
    ('a.csv', 'id,target_prompt\na,"red\nsquare"\n', {'target_prompt': 'red\nsquare'}),
    ('a.csv', 'id,target_prompt\na,red\u2028\x85fox\n', {'target_prompt': 'red\u2028\x85fox'}),
    # Separators, blank rows and trailing empty cells.
    (
      'a.csv',
      '\ufeffid;target_prompt\r\n;\r\na;a fox, running\r\n',
      {'target_prompt': 'a fox, running'},
    ),
    ('a.csv', 'id\ttarget_prompt\n\na\ta fox\n\t\n', {'target_prompt': 'a fox'}),
    ('a.csv', 'id,target_prompt\na,a fox,,\n , \n', {'target_prompt': 'a fox'}),
    ('A.CSV', 'ID,target_prompt\na,a fox\n', {'target_prompt': 'a fox'}),
    ('A.JSONL', EDIT.replace('id', 'Id'), {'target_prompt': 'a fox'}),
    # Values of the type of their field.
    (
      'a.csv',
      f'{HEAD}a,1984,TRUE,"0,5"\n',
      {'target_prompt': '1984', 'generated': True, 'structure.steps': (0, 5)},
    ),
    (
      'a.csv',
      f'{HEAD}a,None,false,"[0, 5]"\n',
      {'target_prompt': 'None', 'generated': False, 'structure.steps': (0, 5)},
    ),
    (
      'a.csv',
      "id,target_prompt,guidance\na,'quoted',7\n",
      {'target_prompt': "'quoted'", 'guidance': 7.0},
    ),
    ('a.csv', 'id,guidance,steps\na,"7,5",1e3\n', {'guidance': '7,5', 'steps': '1e3'}),
    (
      'a.csv',
      'id,guidance,mask.threshold\na,1e999,nan\n',
      {'guidance': '1e999', 'mask.threshold': 'nan'},
    ),
    ('a.csv', 'id,inversion.prompt,seed\na,1984, 7 \n', {'inversion.prompt': '1984', 'seed': 7}),
    # Encodings that a mark names.
    ('a.csv', 'id\ttarget_prompt\na\tcafé\n'.encode('utf-16'), {'target_prompt': 'café'}),
    ('a.csv', '\ufeffid,target_prompt\na,café\n'.encode('utf-16-be'), {'target_prompt': 'café'}),
    ('a.jsonl', ('\ufeff' + EDIT).encode('utf-32-le'), {'target_prompt': 'a fox'}),
    # JSON: what `splitlines` would break.
    (
      'a.jsonl',
      '{"id": "a", "target_prompt": "a\u2028b\x85c\x1cd"}'.replace('\x1c', '\\u001c'),
      {'target_prompt': 'a\u2028b\x85c\x1cd'},
    ),
    ('a.jsonl', f'\r\n{EDIT}\r\n\r\n', {'target_prompt': 'a fox'}),
  ],
)
def test_read(tmp_path, name, data, expected):
  assert sound_lines(write(tmp_path, name, data))['a'][1] == expected


@pytest.mark.parametrize(
  'name, data, words',
  [
    ('a.txt', EDIT, 'accepted: a .jsonl or .csv file'),
    ('a.jsonl', '\n \n', 'has no lines'),
    ('a.csv', '', 'no head is id'),
    ('a.csv', HEAD, 'has no lines'),
    (
      'a.csv',
      b'id,target_prompt\na,caf\xe9\n',
      'line 2, column 6 has the byte 0xe9, which is no utf-8; accepted: UTF-8',
    ),
    ('a.jsonl', b'\n\xff\xfe{', 'line 2, column 1 has the byte 0xff'),
    ('a.csv', b'\xff\xfea\x00\x00\xd8', 'is no utf-16'),
    ('a.csv', 'id,video,video\na,b,c\n', "line 1: 'video' is given twice"),
    ('a.csv', 'ID,id\na,b\n', "line 1: 'id' is given twice"),
    ('a.csv', 'name|video\na|b\n', "line 1: no head is id, they are ['name|video']"),
    ('a.csv', 'id,video\na,"b\nc,d\n', 'line 2: no CSV (unexpected end of data)'),
    ('a.csv', 'id,video\na,"b"c\n', 'line 2: no CSV'),
    ('a.csv', f'id,video\na,{"x" * 2**21}\n', 'line 2: no CSV (field larger than field limit'),
  ],
)
def test_a_file_is_refused(tmp_path, name, data, words):
  with pytest.raises(ValueError) as caught:
    read_manifest(write(tmp_path, name, data))
  assert words in str(caught.value)


@pytest.mark.parametrize(
  'name, data, words',
  [
    ('a.csv', 'id,video\nb,x\na\n', 'line 3 (a): 1 cells under 2 heads'),
    ('a.csv', 'id,video\nb,x\n"a",c,d\n', 'line 3 (a): 3 cells under 2 heads'),
    ('a.csv', 'id,video,\nb,"x\ny",\na,c,d\n', "line 4 (a): ['d'] is under no head"),
    ('a.jsonl', f'{EDIT}\n{{"id": }}', 'line 2: column 8: no JSON (Expecting value)'),
    ('a.jsonl', EDIT.replace('\n', '') + '}', 'line 1: column 38: no JSON (Extra data)'),
    ('a.jsonl', '{"id": "a", "seed": 1, "seed": 2}', "line 1 (a): 'seed' is given twice"),
    ('a.jsonl', '{"id": "a", "clip": {"fit": 1, "fit": 2}}', "line 1 (a): 'fit' is given twice"),
    ('a.jsonl', '[' * 10**5, 'line 1: no JSON (it is nested too deeply)'),
    ('a.jsonl', f'{{"id": "a", "seed": {"9" * 5000}}}', 'line 1: no JSON (Exceeds the limit'),
    ('a.jsonl', 'null', 'line 1: it is None; accepted: an object a line'),
    ('a.jsonl', '{}', 'line 1: id is None'),
    ('a.jsonl', '{"id": {}}', 'line 1: id is {}'),
    ('a.jsonl', '{"id": "../x"}', "line 1: id is '../x'"),
    ('a.jsonl', '{"id": "a\\n"}', "line 1: id is 'a\\n'"),
    (
      'a.jsonl',
      json.dumps({'id': 'é' * (LONGEST_ID // 2 + 1)}),
      'of 202 bytes; accepted: at most 200',
    ),
    ('a.jsonl', '{"id": "a"}\n{"id": "A"}', "line 2: id is 'A', as in line 1 but for case ('a')"),
    ('a.jsonl', '{"id": "é"}\n{"id": "e\u0301"}', 'line 2: id is'),
    ('a.csv', 'id\na\na\n', "line 3: id is 'a', as in line 2; accepted: ids that differ"),
  ],
)
def test_a_line_is_refused(tmp_path, name, data, words):
  with pytest.raises(ValueError) as caught:
    sound_lines(write(tmp_path, name, data))
  assert words in str(caught.value)
  assert read_manifest(tmp_path / name)  # the file itself can be read, and its other lines used
