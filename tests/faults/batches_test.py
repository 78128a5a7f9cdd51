"""Batches whose lines, folders or companions are broken, without a run of the model."""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
from etils import epath

from configs import batch
from experiments.batch_edit import claims, summary
from experiments.batch_edit import run as batch_run
from experiments.requests import batch as batch_request
from experiments.requests.batch import read_batch
from uniedit_jax.reports import tables
from uniedit_jax.runtime.workdir import begin, mark_done, write_json

PROMPT = 'a big red square jumping in the middle on grass, photo'
SOUND = {'id': 'sound', 'target_prompt': PROMPT}


def config_for(folder, lines, **changes):
  path = folder / 'edits.jsonl'
  path.write_text('\n'.join(x if isinstance(x, str) else json.dumps(x) for x in lines))
  config = batch.get_config('sprites')
  config.manifest, config.cache = str(path), str(folder / 'cache')
  config.update(changes)
  return config


@pytest.mark.parametrize(
  'fields, words',
  [
    ({'structure.steps': [0, 0.5]}, 'structure.steps is (0, 0.5)'),
    (
      {'video': 'htps://x/a.mp4'},
      "video is 'htps://x/a.mp4', which cannot be read (htps:// is none of file, http, https",
    ),
    ({'video': None}, 'video'),
    ({'target_prompt': None}, 'target_prompt is None'),
    ({'steps': 10**9}, 'steps is 1000000000'),
    ({'steps': True}, 'steps is True'),
    ({'guidance': float('nan')}, 'guidance is nan'),
    ({'seed': 2**63}, 'seed is 9223372036854775808'),
    ({'mask.source': {'a': 1}}, 'mask.source'),
    ({'cache': 'x'}, 'cache cannot differ from edit to edit'),
    ({'method': 'tokenflow'}, "method is 'tokenflow'"),
    ({'id': 'é' * 300}, 'of 600 bytes; accepted: at most 200'),
    ({'id': 'SOUND'}, "as in line 1 but for case ('sound')"),
  ],
)
def test_a_faulty_line_leaves_the_others(tmp_path, fields, words):
  lines = [SOUND, {'id': 'x', 'target_prompt': PROMPT} | fields, '{"id": ', '[' * 10**5]
  made = read_batch(config_for(tmp_path, lines, skip_faulty=True))
  assert [item.id for item in made.items] == ['sound'] and len(made.faulty) == 3
  assert words in next(iter(made.faulty.values()))
  with pytest.raises(ValueError) as caught:
    read_batch(config_for(tmp_path, lines))
  told = str(caught.value)
  assert words in told and 'line 2' in told and 'line 3: column 8: no JSON' in told
  assert 'edits.jsonl' in told and 'sound)' not in told


@pytest.mark.parametrize('field, value', [('per_device', 0), ('processes', 0), ('process', 1)])
def test_fields_of_the_batch_have_bounds(tmp_path, field, value):
  with pytest.raises(ValueError, match=f'{field} is {value}; accepted: '):
    read_batch(config_for(tmp_path, [SOUND], **{field: value}))


def test_every_distinct_source_is_looked_at_once(tmp_path, monkeypatch):
  looked = []
  monkeypatch.setattr(
    batch_request,
    'check_source',
    lambda request, clip: looked.append(request.video) or ([], [], None),
  )
  lines = [SOUND | {'id': f'{i}', 'seed': i, 'video': f'{i % 3}.mp4'} for i in range(300)]
  began = time.process_time()
  assert len(read_batch(config_for(tmp_path, lines)).items) == 300
  assert sorted(looked) == ['0.mp4', '1.mp4', '2.mp4']
  # Ten thousand lines are checked in seconds; no wall clock, as other work runs here.
  assert time.process_time() - began < 10


@pytest.fixture
def workdir(tmp_path):
  """Finished edits a to f, of which all but a have lost or cut files, and g that failed."""
  folder = epath.Path(tmp_path) / 'run'
  for name in 'abcdef':
    item = folder / 'items' / name
    config = {'task': 'motion', 'video': name, 'image': '', 'generated': False, 'clip': {}}
    begin(item, config | {'source_prompt': '', 'target_prompt': name, 'seed': 0})
    write_json(item / 'metrics.json', {'edit_flicker': 0.5})
    write_json(item / 'run.json', {'fps': 8})
    mark_done(item)
  (folder / 'items/b/metrics.json').unlink()
  (folder / 'items/c/config.json').write_text('{"task": "mot')
  (folder / 'items/d/run.json').write_text('[]')
  (folder / 'items/e/metrics.json').write_text('{"edit_flicker": "high"}')
  (folder / 'items/f/run.json').write_text('')
  (folder / 'items/g').mkdir()
  (folder / 'items/g/error.json').write_text('{"err')
  return folder


def test_a_damaged_item_leaves_the_summary_of_the_others(workdir):
  summary.write(workdir, [*'abcdefg', 'h'])
  rows = json.loads((workdir / 'summary.json').read_text())
  assert rows['counts'] == {'done': 1, 'damaged': 5, 'failed': 1, 'pending': 1}
  told = {row['id']: row.get('error', '') for row in rows['edits']}
  for name, file in zip('bcdef', ('metrics', 'config', 'run', 'metrics', 'run'), strict=True):
    assert f'{file}.json' in told[name] and f'items/{name}' in told[name]
  assert 'items/a/edit.mp4' in (workdir / 'index.html').read_text()
  page = (workdir / 'measures.md').read_text()
  assert '- b: metrics.json cannot be read' in page and '## Motion edits: 3' in page


def test_a_claimed_edit_is_left_to_the_run_that_has_it(tmp_path, monkeypatch):
  folder = epath.Path(tmp_path) / 'claims'
  with claims.Claims(folder) as ours:
    assert ours.take('a') and ours.take('b')
    other = {'host': 'elsewhere', 'pid': 1, 'time': time.time()}
    write_json(folder / 'c.json', other)
    write_json(folder / 'd.json', other | {'time': time.time() - claims.EXPIRES - 1})
    write_json(folder / 'e.json', other | {'host': ours._host, 'pid': os.getppid()})
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    write_json(folder / 'f.json', other | {'host': ours._host, 'pid': gone.pid})
    (folder / 'g.json').touch()  # just being written
    assert [ours.take(name) for name in 'cdefg'] == [False, True, False, True, False]
    ours.release('b')
    assert not (folder / 'b.json').exists()
  assert {path.stem for path in folder.iterdir()} == {'c', 'e', 'g'}


def test_two_runs_claim_every_edit_once(tmp_path):
  folder = epath.Path(tmp_path) / 'claims'
  code = (
    'import sys; from etils import epath; from experiments.batch_edit.claims import Claims\n'
    'with Claims(epath.Path(sys.argv[1])) as claims:\n'
    '  print(*[name for name in map(str, range(200)) if claims.take(name)], flush=True)\n'
    '  sys.stdin.read()'
  )
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
  runs = [subprocess.Popen([sys.executable, '-c', code, folder], **pipes) for _ in range(2)]
  taken = [run.stdout.readline().split() for run in runs]
  for run in runs:
    run.communicate('')
  assert sorted([*taken[0], *taken[1]], key=int) == [str(i) for i in range(200)]
  assert not list(folder.iterdir())


def test_only_edits_that_nobody_has_are_begun(tmp_path):
  made = read_batch(config_for(tmp_path, [SOUND | {'id': name} for name in 'abc']))
  folder = lambda item: epath.Path(tmp_path) / 'run/items' / item.id
  with claims.Claims(epath.Path(tmp_path) / 'claims') as ours:
    write_json(ours._path('a'), {'host': 'elsewhere', 'pid': 1, 'time': time.time()})
    begin(folder(made.items[1]), made.items[1].resolved)
    mark_done(folder(made.items[1]))
    chunks = batch_run._claimed([made.items[:2], made.items[2:]], ours, folder, made.cache)
    assert [[item.id for item in chunk] for chunk in chunks] == [['c']]
  assert (folder(made.items[2]) / 'config.json').exists()
  assert not folder(made.items[0]).exists()


def test_finished_items_of_another_config_are_skipped_or_stop_the_batch(tmp_path):
  lines = [SOUND | {'id': name} for name in 'ab']
  made = read_batch(config_for(tmp_path, lines))
  folder = lambda item: epath.Path(tmp_path) / 'run/items' / item.id
  item = made.items[0]
  begin(folder(item), item.resolved | {'seed': 5})
  write_json(folder(item) / 'metrics.json', {})
  write_json(folder(item) / 'run.json', {'fps': 8})
  mark_done(folder(item))
  with pytest.raises(ValueError, match='differs in seed'):
    batch_run._check_finished(made, made.items, folder)
  skipping = made._replace(skip_faulty=True)
  todo, failed = batch_run._check_finished(skipping, made.items, folder)
  assert [item.id for item in todo] == ['b'] and failed == 1
  (folder(item) / 'metrics.json').unlink()
  assert batch_run._check_finished(made, made.items, folder)[1] == 1  # the others are made


def test_no_cell_is_a_formula(tmp_path):
  cells = {
    '=1+1': '=HYPERLINK("http://x")',
    'b': '+1',
    'c': '-x',
    'd': ' @x',
    'e': -1.5,
    'f': 'a=b',
  }
  tables.write_csv(tmp_path / 'a.csv', [cells])
  with open(tmp_path / 'a.csv', newline='') as file:
    heads, row = csv.reader(file)
  assert heads[0] == "'=1+1"
  assert row == ['\'=HYPERLINK("http://x")', "'+1", "'-x", "' @x", '-1.5', 'a=b']
