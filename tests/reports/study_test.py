"""User studies without a browser: the key, the page, and the sums of answers."""

import base64
import csv
import itertools
import json
import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest

from uniedit_jax.media import video
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.study import answer_key, answers, page

METHODS = {'zebra_net': 'Zebra Net', 'okapi': 'Okapi of 2023', 'walrus-2': 'The Walrus'}
EDITS = {
  'one': {
    'task': 'motion',
    'source_prompt': 'a </script><b>cat</b>',
    'target_prompt': 'a cat & "jumps" @study@',
  },
  'two': {'task': 'motion', 'source_prompt': '', 'target_prompt': 'a dog waves'},
  'three': {'task': 'appearance', 'source_prompt': 'a hen', 'target_prompt': 'a hen, oil painting'},
}


def clip(seed, frames=8):
  """A moving square, whose size identifies the clip."""
  shown = np.full((frames, 48, 64, 3), 40 + 30 * (seed % 5), np.uint8)
  for i, frame in enumerate(shown):
    frame[8 : 12 + 2 * seed, 3 * i : 3 * i + 20] = (250, 50 * seed % 256, 60)
  return shown


def write_comparison(folder, methods=METHODS, edits=EDITS):
  """A comparison whose clips name their method in the metadata."""
  comparison_format.write_comparison(folder, comparison_format.Comparison(methods, edits))
  copy = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-i', folder / 'plain.mp4', '-c', 'copy']
  for edit in edits:
    for seed, name in enumerate((comparison_format.SOURCE, *methods)):
      path = comparison_format.clip_path(folder, edit, name)
      video.write_mp4(folder / 'plain.mp4', clip(seed), 8)
      path.parent.mkdir(parents=True, exist_ok=True)
      named = ['-metadata', f'title={methods.get(name, name)}', '-metadata', f'comment={name}']
      subprocess.run([*copy, *named, path], check=True)
  return folder


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  return write_comparison(tmp_path_factory.mktemp('comparison'))


@pytest.fixture(scope='session')
def drawn(folder):
  return answer_key.draw_key(comparison_format.read_comparison(folder))


def named(drawn, edit, method):
  """The opaque name of a clip."""
  return next(name for name, clip in drawn.clips.items() if clip == (edit, method))


def write_answers(path, drawn, rater, scores=(), pairs=()):
  """A file as the page saves it.

  Scores are (edit, method, consistency, alignment), pairs (edit, better, worse).
  """
  of = lambda edit, method: named(drawn, edit, method)
  scores = [{'clip': of(*x[:2]), 'consistency': x[2], 'alignment': x[3]} for x in scores]
  pairs = [{'better': of(x[0], x[1]), 'worse': of(x[0], x[2])} for x in pairs]
  saved = {'study': drawn.study, 'rater': rater, 'scores': scores, 'pairs': pairs}
  path.write_text(json.dumps(saved))
  return path


def test_the_key_names_every_clip_once(drawn, tmp_path):
  assert sorted(drawn.clips.values()) == sorted(itertools.product(EDITS, METHODS))
  assert len(drawn.pairs) == 9 and list(drawn.clips) == sorted(drawn.clips)
  answer_key.write_key(tmp_path, drawn)
  assert answer_key.read_key(tmp_path) == drawn


def test_pairs_against_one_method_have_it(folder):
  drawn = answer_key.draw_key(comparison_format.read_comparison(folder), ('pairs',), 'okapi')
  assert len(drawn.pairs) == 6
  assert all('okapi' in (drawn.clips[a][1], drawn.clips[b][1]) for a, b in drawn.pairs)
  assert answer_key.draw_key(comparison_format.read_comparison(folder), ('scores',)).pairs == []


def test_no_two_studies_have_the_same_names(folder):
  one, other = (answer_key.draw_key(comparison_format.read_comparison(folder)) for _ in range(2))
  assert one.study != other.study and not set(one.clips) & set(other.clips)


def test_the_page_hides_the_methods(folder, drawn, tmp_path):
  page.write_study(tmp_path / 'study.html', drawn, folder)
  text = (tmp_path / 'study.html').read_text()
  videos = list(map(base64.b64decode, re.findall(r'data:video/mp4;base64,([\w+/=]+)', text)))
  assert len(videos) == 12
  made_by = b'zebra_net', b'Zebra Net', b'okapi', b'Okapi', b'walrus', b'Walrus', b'source', b'Lavf'
  assert made_by[0] in comparison_format.clip_path(folder, 'one', 'zebra_net').read_bytes()
  assert [name for name in made_by for found in videos if name in found] == []
  words = text.lower()
  assert [name for name in ('zebra', 'okapi', 'walrus', '"one"', '"three"') if name in words] == []


def test_the_page_is_one_file_and_prompts_are_text(folder, drawn, tmp_path):
  page.write_study(tmp_path / 'study.html', drawn, folder)
  text = (tmp_path / 'study.html').read_text()
  assert not re.findall(r'(?:src|href)="(?!data:)', text) and '<b>cat' not in text
  study = json.loads(re.search(r'id="study">(.*?)</script>', text)[1])
  for shown, field in (('origin', 'source_prompt'), ('target', 'target_prompt')):
    assert [item[shown] for item in study['items']] == [edit[field] for edit in EDITS.values()]


@pytest.mark.parametrize(
  'modes, against, message',
  [
    (('scores', 'votes'), '', "mode is 'scores,votes'; accepted: some of scores, pairs"),
    ((), '', "mode is ''"),
    (('pairs',), 'zebra', "against is 'zebra'; accepted: one of zebra_net, okapi, walrus-2"),
  ],
)
def test_bad_studies(folder, modes, against, message):
  with pytest.raises(ValueError) as caught:
    answer_key.draw_key(comparison_format.read_comparison(folder), modes, against)
  assert message in str(caught.value)


@pytest.fixture
def summed(drawn, tmp_path):
  """Two raters, who differ."""
  scores = [
    ('one', 'okapi', 5, 4),
    ('two', 'okapi', 3, 2),
    ('one', 'zebra_net', 1, 1),
    ('three', 'okapi', 2, 2),
  ]
  pairs = [
    ('one', 'okapi', 'zebra_net'),
    ('two', 'zebra_net', 'okapi'),
    ('one', 'okapi', 'walrus-2'),
  ]
  paths = [
    write_answers(tmp_path / 'a.json', drawn, 'ann', scores, pairs),
    write_answers(tmp_path / 'b.json', drawn, 'bob', [('one', 'okapi', 4, 4)], pairs[:1]),
  ]
  text = answers.write_results(tmp_path, paths, drawn)
  results = json.loads((tmp_path / 'results.json').read_text())['results']
  names = 'task', 'method', 'measure', 'against'
  return text, {tuple(row[name] for name in names): row for row in results}, tmp_path


def test_answers_are_summed_to_means_and_win_rates(summed):
  _, found, _ = summed
  okapi = lambda *name: found['motion', 'okapi', *name]
  assert okapi('consistency', '') == {
    'task': 'motion',
    'method': 'okapi',
    'measure': 'consistency',
    'against': '',
    'mean': 4.0,
    'low': 3,
    'high': 5,
    'answers': 3,
    'raters': 2,
    'edits': 2,
  }
  assert okapi('alignment', '')['mean'] == pytest.approx(10 / 3, abs=1e-4)
  assert okapi('preferred', '')['mean'] == 0.75 and okapi('preferred', '')['answers'] == 4
  assert okapi('preferred', 'zebra_net')['mean'] == pytest.approx(2 / 3, abs=1e-4)
  assert okapi('preferred', 'walrus-2')['mean'] == 1
  assert found['motion', 'walrus-2', 'preferred', '']['mean'] == 0
  reverse = found['motion', 'zebra_net', 'preferred', 'okapi']
  assert reverse['mean'] == pytest.approx(1 / 3, abs=1e-4)
  assert found['appearance', 'okapi', 'consistency', '']['mean'] == 2
  assert found['all', 'okapi', 'consistency', '']['mean'] == 3.5
  assert ('motion', 'walrus-2', 'consistency', '') not in found


def test_answers_are_written_for_programs_and_people(summed):
  text, found, folder = summed
  assert (folder / 'results.md').read_text() == text
  with open(folder / 'results.csv', newline='') as file:
    assert len(list(csv.DictReader(file))) == len(found)
  assert text.startswith('2 raters, 3 edits.')
  assert '## Motion edits' in text and '## All edits' in text
  line = next(line for line in text.splitlines() if line.startswith('| Okapi of 2023'))
  assert '4.00 (3.00 to 5.00; n 3)' in line and '75%' in line
  assert '| The Walrus |  |  | 0% (n 1) |' in text


def test_bad_files_are_reported_together_with_their_names(drawn, tmp_path):
  a, b = named(drawn, 'one', 'okapi'), named(drawn, 'two', 'okapi')
  score = lambda **changes: {'clip': a, 'consistency': 3, 'alignment': 3} | changes
  # {file: (what differs from a sound file, or its text; the fault)}
  bad = {
    'text': ('no json', 'cannot be read'),
    'list': ('[]', 'is not what the page saves'),
    'study': ({'study': 'other'}, "study is 'other', another"),
    'rater': ({'rater': ''}, "rater is ''"),
    'clip': ({'scores': [score(clip='nobody')]}, "scores[0]: clip is 'nobody'"),
    'range': ({'scores': [score(alignment=6)]}, 'scores[0]: alignment is 6'),
    'bool': ({'scores': [score(consistency=True)]}, 'scores[0]: consistency is True'),
    'half': ({'scores': [score(consistency=None)]}, 'scores[0]: consistency is None'),
    'twice': (
      {'scores': [score(), score(alignment=1)]},
      f'scores[1]: {a} was answered before',
    ),
    'far': ({'pairs': [{'better': a, 'worse': b}]}, f'pairs[0]: {a} and {b} are no pair'),
    'self': ({'pairs': [{'better': a, 'worse': a}]}, f'pairs[0]: {a} and {a} are no pair'),
    'same': ({'rater': 'ann'}, "rater 'ann' is that of"),
    'none': (None, 'cannot be read'),
  }
  paths = [write_answers(tmp_path / 'good.json', drawn, 'ann', [('one', 'okapi', 5, 4)])]
  for name, (changes, _) in bad.items():
    paths.append(tmp_path / f'{name}.json')
    sound = {'study': drawn.study, 'rater': name, 'scores': [score()], 'pairs': []}
    if changes is not None:
      text = changes if isinstance(changes, str) else json.dumps(sound | changes)
      paths[-1].write_text(text)
  with pytest.raises(ValueError) as caught:
    answers.write_results(tmp_path, paths, drawn)
  lines = str(caught.value).splitlines()[1:]
  assert len(lines) == len(bad)
  for line, (name, (_, fault)) in zip(lines, bad.items(), strict=True):
    assert f'{tmp_path}/{name}.json: {fault}' in line
  assert not (tmp_path / 'results.json').exists()


def test_files_without_answers_are_refused(drawn, tmp_path):
  with pytest.raises(ValueError, match='1 files with no answer'):
    answers.read_answers([write_answers(tmp_path / 'a.json', drawn, 'ann')], drawn)


def test_faults_of_a_comparison(folder, tmp_path):
  missing = r'which has no comparison.json; accepted: Comparisons: folders'
  with pytest.raises(ValueError, match=missing):
    comparison_format.read_comparison(tmp_path)
  edits = {'a/b': EDITS['one'], 'c': {'task': 'colour', 'source_prompt': '', 'target_prompt': 'x'}}
  comparison_format.write_comparison(
    tmp_path, comparison_format.Comparison({'source': 'x', 'm': 3}, edits)
  )
  with pytest.raises(ValueError) as caught:
    comparison_format.read_comparison(tmp_path)
  expected = "edits has 'a/b'", "methods has 'source'", 'methods.m is 3'
  for part in (*expected, "edits.c is {'task': 'colour'"):
    assert part in str(caught.value)
  comparison_format.write_comparison(
    tmp_path, comparison_format.Comparison(METHODS, {'one': EDITS['one']})
  )
  with pytest.raises(ValueError, match=r'items/one/source\.mp4 is missing'):
    comparison_format.read_comparison(tmp_path)


def test_the_command_makes_a_study_and_sums_it_up(folder, tmp_path):
  command = [sys.executable, '-m', 'experiments.user_study', f'--workdir={tmp_path}']

  def run(*arguments):
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

  assert 'accepted: --comparison to make a study, or files to sum up' in run().stderr
  assert 'key.json does not exist' in run('a.json').stderr
  made = run(f'--comparison={folder}', '--mode=pairs')
  assert made.returncode == 0 and str(tmp_path / 'study.html') in made.stdout, made.stderr
  assert 'holds a study' in run(f'--comparison={folder}').stderr
  key, pairs = answer_key.read_key(tmp_path), [('one', 'okapi', 'walrus-2')]
  done = run(str(write_answers(tmp_path / 'a.json', key, 'ann', pairs=pairs)))
  assert done.returncode == 0, done.stderr
  assert '| Okapi of 2023 | 100%' in done.stdout and 'All edits' not in done.stdout


def test_clips_of_a_large_study_are_files_next_to_the_page(folder, drawn, tmp_path, monkeypatch):
  monkeypatch.setattr(page, 'MOST_BYTES', 100)
  page.write_study(tmp_path / 'study.html', drawn, folder)
  text = (tmp_path / 'study.html').read_text()
  addresses = re.findall(r'"video": "(clips/[^"]+)"', text)
  assert len(set(addresses)) == 12 and 'data:video' not in text
  data = [(tmp_path / address).read_bytes() for address in addresses]
  made_by = b'zebra', b'Zebra', b'okapi', b'Okapi', b'walrus', b'Walrus'
  assert not [name for name in made_by for found in data if name in found]
  assert not [name for name in ('zebra', 'okapi', 'walrus') if name in text.lower()]
