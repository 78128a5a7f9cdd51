"""User studies without a browser: the key, what the page gives away, and what answers come to."""

import base64
import csv
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
  """A square that moves, of a size that tells the clips apart."""
  shown = np.full((frames, 48, 64, 3), 40 + 30 * (seed % 5), np.uint8)
  for i, frame in enumerate(shown):
    frame[8 : 12 + 2 * seed, 3 * i : 3 * i + 20] = (250, 50 * seed % 256, 60)
  return shown


def write_comparison(folder, methods=METHODS, edits=EDITS):
  """A comparison whose clips say in their metadata who made them."""
  comparison_format.write_comparison(folder, comparison_format.Comparison(methods, edits))
  for edit in edits:
    for seed, name in enumerate((comparison_format.SOURCE, *methods)):
      path = comparison_format.clip_path(folder, edit, name)
      video.write_mp4(folder / 'plain.mp4', clip(seed), 8)
      path.parent.mkdir(parents=True, exist_ok=True)
      told = ['-metadata', f'title={methods.get(name, name)}', '-metadata', f'comment={name}']
      command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        '-v',
        'error',
        '-i',
        folder / 'plain.mp4',
        *told,
        '-c',
        'copy',
        path,
      ]
      subprocess.run(command, check=True)
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
  """A file as the page saves it, of (edit, method, consistency, alignment) and (edit, better,
  worse).
  """
  of = lambda edit, method: named(drawn, edit, method)
  scores = [{'clip': of(*x[:2]), 'consistency': x[2], 'alignment': x[3]} for x in scores]
  pairs = [{'better': of(x[0], x[1]), 'worse': of(x[0], x[2])} for x in pairs]
  path.write_text(
    json.dumps({'study': drawn.study, 'rater': rater, 'scores': scores, 'pairs': pairs})
  )
  return path


def test_the_key_names_every_clip_once(drawn, tmp_path):
  assert sorted(drawn.clips.values()) == sorted(
    (edit, method) for edit in EDITS for method in METHODS
  )
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


def test_the_page_tells_nobody_who_made_a_clip(folder, drawn, tmp_path):
  page.write_study(tmp_path / 'study.html', drawn, folder)
  text = (tmp_path / 'study.html').read_text()
  videos = [
    base64.b64decode(found)
    for found in re.findall(r'data:video/mp4;base64,([A-Za-z0-9+/=]+)', text)
  ]
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
  assert [item['origin'] for item in study['items']] == [
    edit['source_prompt'] for edit in EDITS.values()
  ]
  assert [item['target'] for item in study['items']] == [
    edit['target_prompt'] for edit in EDITS.values()
  ]


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
  paths = [
    write_answers(
      *(tmp_path / 'a.json', drawn, 'ann'),
      scores=[
        ('one', 'okapi', 5, 4),
        ('two', 'okapi', 3, 2),
        ('one', 'zebra_net', 1, 1),
        ('three', 'okapi', 2, 2),
      ],
      pairs=[
        ('one', 'okapi', 'zebra_net'),
        ('two', 'zebra_net', 'okapi'),
        ('one', 'okapi', 'walrus-2'),
      ],
    ),
    write_answers(
      tmp_path / 'b.json', drawn, 'bob', [('one', 'okapi', 4, 4)], [('one', 'okapi', 'zebra_net')]
    ),
  ]
  text = answers.write_results(tmp_path, paths, drawn)
  results = json.loads((tmp_path / 'results.json').read_text())['results']
  return (
    text,
    {(row['task'], row['method'], row['measure'], row['against']): row for row in results},
    tmp_path,
  )


def test_answers_come_to_means_and_win_rates(summed):
  _, found, _ = summed
  okapi = lambda *name: found['motion', 'okapi', *name]
  assert okapi('consistency', '') | {'low': 0, 'high': 0} == {
    **{'task': 'motion', 'method': 'okapi', 'measure': 'consistency', 'against': ''},
    **{'mean': 4.0, 'low': 0, 'high': 0, 'answers': 3, 'raters': 2, 'edits': 2},
  }
  assert okapi('alignment', '')['mean'] == pytest.approx(10 / 3, abs=1e-4)
  assert okapi('preferred', '')['mean'] == 0.75 and okapi('preferred', '')['answers'] == 4
  assert okapi('preferred', 'zebra_net')['mean'] == pytest.approx(2 / 3, abs=1e-4)
  assert (
    okapi('preferred', 'walrus-2')['mean'] == 1
    and found['motion', 'walrus-2', 'preferred', '']['mean'] == 0
  )
  assert found['motion', 'zebra_net', 'preferred', 'okapi']['mean'] == pytest.approx(
    1 / 3, abs=1e-4
  )
  assert found['appearance', 'okapi', 'consistency', '']['mean'] == 2
  assert found['all', 'okapi', 'consistency', '']['mean'] == 3.5
  assert ('motion', 'walrus-2', 'consistency', '') not in found
  assert okapi('consistency', '')['low'] == 3 and okapi('consistency', '')['high'] == 5


def test_answers_are_written_for_programs_and_people(summed):
  text, found, folder = summed
  assert (folder / 'results.md').read_text() == text
  with open(folder / 'results.csv', newline='') as file:
    assert len(list(csv.DictReader(file))) == len(found)
  assert (
    text.startswith('2 raters, 3 edits.') and '## Motion edits' in text and '## All edits' in text
  )
  line = next(line for line in text.splitlines() if line.startswith('| Okapi of 2023'))
  assert '4.00 (3.00 to 5.00; n 3)' in line and '75%' in line
  assert '| The Walrus |  |  | 0% (n 1) |' in text


def test_bad_files_are_told_together_with_their_names(drawn, tmp_path):
  a, b = named(drawn, 'one', 'okapi'), named(drawn, 'two', 'okapi')
  score = lambda **changes: {'clip': a, 'consistency': 3, 'alignment': 3, **changes}
  bad = {
    'text.json': {},
    'list.json': {},
    'study.json': {'study': 'other'},
    'rater.json': {'rater': ''},
    'clip.json': {'scores': [score(clip='nobody')]},
    'range.json': {'scores': [score(alignment=6)]},
    'bool.json': {'scores': [score(consistency=True)]},
    'half.json': {'scores': [score(consistency=None)]},
    'twice.json': {'scores': [score(), score(alignment=1)]},
    'far.json': {'pairs': [{'better': a, 'worse': b}]},
    'self.json': {'pairs': [{'better': a, 'worse': a}]},
    'same.json': {'rater': 'ann'},
  }
  paths = [write_answers(tmp_path / 'good.json', drawn, 'ann', [('one', 'okapi', 5, 4)])]
  for name, changes in bad.items():
    paths.append(tmp_path / name)
    given = {'study': drawn.study, 'rater': name, 'scores': [score()], 'pairs': [], **changes}
    paths[-1].write_text(json.dumps(given))
  paths[1].write_text('no json')
  paths[2].write_text('[]')
  with pytest.raises(ValueError) as caught:
    answers.write_results(tmp_path, [*paths, tmp_path / 'none.json'], drawn)
  lines = str(caught.value).splitlines()[1:]
  expected = (
    *(
      'text.json: cannot be read',
      'list.json: is not what the page saves',
      "study.json: study is 'other', another",
    ),
    *(
      "rater.json: rater is ''",
      "clip.json: scores[0]: clip is 'nobody'",
      'range.json: scores[0]: alignment is 6',
    ),
    *('bool.json: scores[0]: consistency is True', 'half.json: scores[0]: consistency is None'),
    *(
      f'twice.json: scores[1]: {a} was answered before',
      f'far.json: pairs[0]: {a} and {b} are no pair',
    ),
    *(
      f'self.json: pairs[0]: {a} and {a} are no pair',
      "same.json: rater 'ann' is that of",
      'none.json: cannot be read',
    ),
  )
  assert len(lines) == len(expected)
  for line, part in zip(lines, expected, strict=True):
    assert f'{tmp_path}/{part}' in line
  assert not (tmp_path / 'results.json').exists()


def test_files_without_answers_are_refused(drawn, tmp_path):
  with pytest.raises(ValueError, match='1 files with no answer'):
    answers.read_answers([write_answers(tmp_path / 'a.json', drawn, 'ann')], drawn)


def test_faults_of_a_comparison(folder, tmp_path):
  with pytest.raises(
    ValueError, match=r'which has no comparison.json; accepted: Comparisons: folders'
  ):
    comparison_format.read_comparison(tmp_path)
  edits = {'a/b': EDITS['one'], 'c': {'task': 'colour', 'source_prompt': '', 'target_prompt': 'x'}}
  comparison_format.write_comparison(
    tmp_path, comparison_format.Comparison({'source': 'x', 'm': 3}, edits)
  )
  with pytest.raises(ValueError) as caught:
    comparison_format.read_comparison(tmp_path)
  for part in (
    "edits has 'a/b'",
    "methods has 'source'",
    'methods.m is 3',
    "edits.c is {'task': 'colour'",
  ):
    assert part in str(caught.value)
  comparison_format.write_comparison(
    tmp_path, comparison_format.Comparison(METHODS, {'one': EDITS['one']})
  )
  with pytest.raises(ValueError, match=r'items/one/source\.mp4 is missing'):
    comparison_format.read_comparison(tmp_path)


def test_the_command_makes_a_study_and_sums_it_up(folder, tmp_path):
  command = [sys.executable, '-m', 'experiments.user_study', f'--workdir={tmp_path}']
  run = lambda *arguments: subprocess.run(
    [*command, *arguments], capture_output=True, text=True, check=False
  )
  assert 'accepted: --comparison to make a study, or files to sum up' in run().stderr
  assert 'key.json does not exist' in run('a.json').stderr
  made = run(f'--comparison={folder}', '--mode=pairs')
  assert made.returncode == 0 and str(tmp_path / 'study.html') in made.stdout, made.stderr
  assert 'holds a study' in run(f'--comparison={folder}').stderr
  path = write_answers(
    tmp_path / 'a.json', answer_key.read_key(tmp_path), 'ann', pairs=[('one', 'okapi', 'walrus-2')]
  )
  done = run(str(path))
  assert (
    done.returncode == 0
    and '| Okapi of 2023 | 100%' in done.stdout
    and 'All edits' not in done.stdout
  ), done.stderr
