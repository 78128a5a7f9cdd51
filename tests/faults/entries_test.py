"""The other commands: each refuses what it cannot use, in words that name the field or the file."""

import dataclasses
import json
import subprocess
import sys

import pytest

from configs import (
  ablate_injection,
  chain,
  compare_sprites,
  sprites_benchmark,
  sprites_evidence,
  sprites_inversions,
  sprites_masks,
)
from experiments.requests.chain import read_chain
from experiments.requests.compare import read_compare
from experiments.requests.evidence import read_evidence
from experiments.requests.inversions import read_inversions
from experiments.requests.masks import read_masks
from experiments.requests.sprites import read_scoring
from experiments.requests.sweep import read_settings, read_sweep
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.study import answer_key, answers

INF, NAN = float('inf'), float('nan')
SCORING = [
  ('checkpoint', '/nowhere'),
  ('split', 'test'),
  ('split', ''),
  ('source_prompt', 'none'),
  ('seed', -1),
  ('seed', 2**32),
  ('per_kind', 0),
  ('per_kind', 10**9),
  ('text_to_video.clips', -1),
  ('text_to_video.clips', 10**9),
  ('text_to_video.batch', 0),
  ('text_to_video.steps', 0),
  ('text_to_video.steps', 10**9),
  ('text_to_video.guidance', NAN),
  ('text_to_video.guidance', INF),
  ('dtype', 'int8'),
  ('motion.guidance', NAN),
  ('motion.steps', 0),
  ('motion.content.steps', (0, 99)),
  ('motion.task', 'appearance'),
  ('motion.inversion.method', 'magic'),
  ('appearance.structure.steps', (5, 2)),
  ('appearance.preset', 'mine'),
]
MASKS = [
  ('words', 'nouns'),
  ('motion.mask.threshold', 1.5),
  ('motion.mask.threshold', NAN),
  ('motion.mask.smoothing', -1.0),
  ('motion.mask.blocks', (0, 5)),
  ('motion.mask.blocks', (99,)),
  ('appearance.mask.threshold', 0.0),
]
EVIDENCE = [
  ('checkpoint', ''),
  ('split', 'all'),
  ('source_prompt', ''),
  ('seed', -1),
  ('per_motion', 0),
  ('per_motion', 10**9),
  ('clear', 0.5),
  ('clear', NAN),
  ('clear', 1.5),
  ('timesteps', ()),
  ('timesteps', (1000,)),
  ('timesteps', (-1,)),
  ('timesteps', (0.5,)),
  ('dtype', 'f4'),
]
COMPARE = [
  ('checkpoint', '/nowhere'),
  ('compared', ()),
  ('compared', ('plain', 'plain')),
  ('compared', ('magic',)),
  ('edits.motion', -1),
  ('edits.motion', 10**9),
  ('edits.appearance', 10**9),
  ('split', 'test'),
  ('dtype', 'f9'),
  ('manifest', '/nowhere.jsonl'),
  ('manifest', '/nowhere.txt'),
]
CHAIN = [
  ('motion.steps', 0),
  ('motion.guidance', NAN),
  ('motion.outputs.frames', False),
  ('motion.video', '/nowhere.mp4'),
  ('appearance.video', 'clip.mp4'),
  ('appearance.steps', 10**9),
  ('appearance.checkpoint', '/nowhere'),
]


def tables():
  readers = {
    read_scoring: (sprites_benchmark, SCORING),
    read_masks: (sprites_masks, [*SCORING[:4], *MASKS]),
    read_inversions: (sprites_inversions, [('methods', ('magic',)), *SCORING[:8]]),
    read_evidence: (sprites_evidence, EVIDENCE),
    read_compare: (compare_sprites, COMPARE),
    read_chain: (chain, CHAIN),
  }
  for read, (module, rows) in readers.items():
    for field, value in rows:
      yield pytest.param(read, module, field, value, id=f'{read.__name__}-{field}-{value}')


@pytest.mark.parametrize('read, module, field, value', list(tables()))
def test_a_field_that_no_run_can_use_is_refused_by_its_name(tmp_path, read, module, field, value):
  config = module.get_config()
  with config.unlocked():
    if module is chain:
      for one in ('motion', 'appearance'):
        config[one].checkpoint = 'sprites'
        config[one].target_prompt = 'a red square'
      config.motion.video = 'sprites'
    config.update_from_flattened_dict({field: value})
  folder = [tmp_path] if read is read_compare else []
  with pytest.raises(ValueError) as error:
    read(config, *folder)
  assert field.rpartition('.')[2].removesuffix('s') in str(error.value)


@pytest.mark.parametrize(
  'settings, words',
  [
    ([], 'settings'),
    ([{'nothing': 1}], "'nothing' is no field"),
    ([{'content.stepz': (0, 1)}], "did you mean 'content.steps'"),
    ([{'content.steps': (0.5, 2)}], 'content.steps is (0.5, 2)'),
    ([{'content.steps': (0, 99)}], 'content.steps is (0, 99)'),
    ([{'guidance': NAN}], 'guidance is nan'),
    ([{'steps': 10**9}], 'steps is 1000000000'),
    ([{'checkpoint': 'other'}], 'checkpoint'),
  ],
)
def test_settings_of_a_sweep(settings, words):
  with pytest.raises(ValueError) as error:
    read_sweep(ablate_injection.get_config(), settings)
  assert words in str(error.value)


def test_an_unknown_sweep_names_those_of_the_file():
  with pytest.raises(ValueError, match=r"sweep is 'magic'; accepted with .*components"):
    read_settings(ablate_injection.__file__, 'magic', ablate_injection.get_config())


KEY = {
  'study': 'ab',
  'modes': ['scores'],
  'methods': {'plain': 'Plain'},
  'edits': {'cat': {'task': 'motion'}},
  'clips': {'c0': ['cat', 'plain']},
  'against': '',
}


def test_a_key_is_read(tmp_path):
  (tmp_path / 'key.json').write_text(json.dumps(KEY))
  key = answer_key.read_key(tmp_path)
  assert json.loads(json.dumps(dataclasses.asdict(key))) == KEY


@pytest.mark.parametrize(
  'text',
  [
    '',
    '[]',
    'null',
    '{}',
    '[' * 10**5,
    '{"study": "ab"',
    json.dumps(KEY | {'more': 1}),
    json.dumps({name: value for name, value in KEY.items() if name != 'edits'}),
    *(
      json.dumps(KEY | {name: value})
      for name, value in (
        ('clips', []),
        ('clips', {'c0': 'cat'}),
        ('clips', {'c0': ['cat', 'other']}),
        ('clips', {'c0': ['dog', 'plain']}),
        ('modes', ['stars']),
        ('modes', 1),
        ('methods', None),
        ('study', 5),
      )
    ),
  ],
)
def test_a_file_that_is_no_key_is_named(tmp_path, text):
  (tmp_path / 'key.json').write_text(text)
  with pytest.raises(ValueError, match=r'key\.json .*accepted: '):
    answer_key.read_key(tmp_path)


@pytest.mark.parametrize(
  'text', ['', '[]', 'null', '{}', '[' * 10**5, '{"study": "other", "rater": "a"}', '\ud800']
)
def test_a_file_that_is_no_answers_is_named(tmp_path, text):
  (tmp_path / 'key.json').write_text(json.dumps(KEY))
  path = tmp_path / 'answers.json'
  path.write_bytes(text.encode('utf-8', 'surrogatepass'))
  with pytest.raises(ValueError, match=r'answers\.json'):
    answers.read_answers([path], answer_key.read_key(tmp_path))


@pytest.mark.parametrize(
  'text',
  [
    '',
    '[]',
    '{}',
    '[' * 10**5,
    '{"methods": [], "edits": {}}',
    '{"methods": {}, "edits": {}}',
    '{"methods": {"../x": "X"}, "edits": {"cat": {"task": "motion"}}}',
    '{"methods": {"plain": "Plain"}, "edits": {"../../etc": {"task": "motion"}}}',
    '{"methods": {"plain": "Plain"}, "edits": {"cat": {"task": "colour"}}}',
    '{"methods": {"plain": 5}, "edits": {"cat": {"task": "motion"}}}',
    '{"methods": {"plain": "Plain"}, "edits": {"cat": []}}',
    '{"methods": {"plain": "Plain"}, "edits": {"cat": {"task": "motion"}}}',
  ],
)
def test_a_folder_that_is_no_comparison_is_named(tmp_path, text):
  (tmp_path / 'comparison.json').write_text(text)
  with pytest.raises(ValueError) as error:
    comparison_format.read_comparison(tmp_path)
  assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
  'command, words',
  [
    (
      ('convert.lavie', '--sd=https://x', '--lavie=/etc/passwd', '--out=out'),
      "--sd is 'https://x'",
    ),
    (('convert.lavie', '--sd=/nowhere', '--lavie=/nowhere.pt', '--out=/proc/x'), '/nowhere'),
    (('convert.clip', '--source=ftp://x', '--out=out'), "--source is 'ftp://x'"),
    (('convert.clip', '--source=/etc', '--out='), "--out is ''"),
    (('experiments.render', '--out=/proc/x'), '/proc/x'),
    (('experiments.random_checkpoint', '--out=/proc/x'), '/proc/x'),
    (('experiments.user_study', '--workdir=/nowhere', '/etc/passwd'), '/nowhere'),
  ],
)
def test_commands_end_without_a_traceback(tmp_path, command, words):
  python = [sys.executable, '-m', *command]
  done = subprocess.run(python, capture_output=True, text=True, check=False)
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  assert words in done.stderr, done.stderr
