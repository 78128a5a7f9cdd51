"""Values that no field may have: refused early, in words that name the field, and at once."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
import tracemalloc

import pytest

from configs import generate, rerun, sprites_model, sprites_motion, sprites_vae
from experiments.requests.edit import read_edit, read_generation, request_of
from experiments.requests.train import read_training
from uniedit_jax.models.tokenizers import WordTokenizer
from uniedit_jax.pipeline.check import check_edit
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.pipeline.sources import fingerprints, locate_clip, read_source
from uniedit_jax.sprites.model import CONFIG

INF, NAN = float('inf'), float('nan')


def assert_refused(read, config, field, value):
  """`read` refuses the config with this value, and names the field."""
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=field) as caught:
    read(config)
  assert 'accepted' in str(caught.value)


def deep(depth):
  value = ()
  for _ in range(depth):
    value = (value,)
  return value


@pytest.mark.parametrize(
  'field, value',
  [
    # Types, all the way down.
    ('content.steps', ('a', 'b')),
    ('content.steps', (0.5, 2)),
    ('content.steps', (0, 5.0)),
    ('structure.steps', (None, 2)),
    ('structure.steps', (True, 2)),
    ('background.steps', (0,)),
    ('content.blocks', ('a', 1)),
    ('content.blocks', [[0, 1]]),
    ('content.tensors', 'v'),
    ('content.tensors', ()),
    ('structure.branches', ()),
    ('more_target_prompts', (1,)),
    ('more_target_prompts', (None,)),
    ('mask.source_words', (1, 2)),
    ('mask.blocks', 5),
    ('mask.blocks', (0.5,)),
    ('inspect.steps', ('a',)),
    ('move.key_frames', ((0, 0, 0, 0),)),
    ('move.key_frames', ((0, 0, 0, NAN, 0),)),
    ('target_prompt', None),
    ('target_prompt', ['a']),
    ('target_prompt', 'a\0b'),
    ('target_prompt', '\ud800'),
    ('video', 'a\0.mp4'),
    ('steps', True),
    ('steps', '5'),
    ('guidance', '7.5'),
    ('more_target_prompts', deep(500)),
    # Numbers.
    ('guidance', NAN),
    ('guidance', -INF),
    ('guidance', 1e30),
    ('guidance', 10**400),
    ('inversion.guidance', INF),
    ('inversion.guidance', -1.0),
    ('inversion.epsilon', NAN),
    ('inversion.epsilon', -1.0),
    ('mask.smoothing', 1e30),
    ('mask.threshold', NAN),
    ('move.amount', INF),
    ('schedule.beta_end', NAN),
    ('schedule.beta_schedule', 'cosine'),
    ('seed', 2**32),
    ('seed', -1),
    ('seed', 10**30),
    ('steps', 10**9),
    ('steps', -1),
    ('clip.frames', 10**12),
    ('clip.height', 80_000_000),
    ('clip.start', -1),
    ('clip.stride', 0),
    ('clip.fit', 'x'),
    ('window.frames', 0),
    ('window.overlap', -1),
    ('rows_per_pass', 10**9),
    ('inspect.steps', (10**9,)),
    ('task', 'colour'),
    # Paths.
    ('video', 'htps://example.com/a.mp4'),
    ('image', 'file:///a.png'),
    ('mask.source', 'htps://a'),
    ('metrics.clip', 'ftp://a'),
    ('cache', ''),
    ('cache', ' '),
    ('cache', '/dev/null/x'),
    ('cache', '/etc/passwd'),
    ('cache', 'http://x'),
    ('checkpoint', 'http://x'),
  ],
)
def test_a_field_of_an_edit(field, value):
  tracemalloc.start()
  with pytest.raises(ValueError) as caught:
    request = request_of(sprites_motion.get_config())
    check_edit(request.replace({'inspect.blocks': (1,)} | {field: value}))
  assert tracemalloc.get_traced_memory()[1] < 2**24  # compared, never made
  tracemalloc.stop()
  assert field.split('.')[0] in str(caught.value) and 'accepted' in str(caught.value)
  assert len(str(caught.value)) < 3000


def test_values_given_from_python_are_checked_as_flags_are():
  with pytest.raises(ValueError, match=r'guidance is nan; accepted: a finite number'):
    check_edit(EditRequest(guidance=NAN))


def test_a_video_may_have_an_address(tmp_path, monkeypatch):
  shutil.copy(locate_clip('sprites'), tmp_path / 'clip.mp4')
  serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
  monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *_: None)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), serve) as server:
    threading.Thread(target=server.serve_forever).start()
    config = sprites_motion.get_config()
    config.video = f'http://127.0.0.1:{server.server_port}/clip.mp4'
    edit = read_edit(config)
    assert read_source(edit).frames.shape == (16, 32, 32, 3)
    assert set(fingerprints(edit.as_tree())) == {'checkpoint'}
    server.shutdown()


def test_a_home_in_a_path_is_found(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  config = sprites_motion.get_config()
  config.video = '~/none.mp4'
  with pytest.raises(ValueError, match=str(tmp_path / 'none.mp4')):
    read_edit(config)


@pytest.mark.parametrize(
  'field, value',
  [
    ('guidance', NAN),
    ('clip.stride', 0),
    ('clip.start', -1),
    ('clip.fit', 'x'),
    ('seed', 2**63),
    ('cache', ''),
    ('prompt', ''),
    ('steps', 10**9),
  ],
)
def test_a_field_of_a_generation(field, value):
  config = generate.get_config()
  config.checkpoint, config.prompt = 'sprites', 'a red square'
  assert_refused(read_generation, config, field, value)


@pytest.mark.parametrize(
  'module, field, value',
  [
    (sprites_vae, 'warmup', 0),
    (sprites_vae, 'warmup', -5),
    (sprites_vae, 'ema', 2.0),
    (sprites_vae, 'ema', NAN),
    (sprites_vae, 'kl_weight', NAN),
    (sprites_vae, 'kl_weight', -1.0),
    (sprites_vae, 'look_every', 0),
    (sprites_vae, 'save_minutes', NAN),
    (sprites_vae, 'max_minutes', -1.0),
    (sprites_vae, 'data.clips', 10**9),
    (sprites_vae, 'data.validation', 11),
    (sprites_vae, 'stage1.steps', 0),
    (sprites_vae, 'stage1.first_rate', NAN),
    (sprites_vae, 'stage1.last_rate', 1e30),
    (sprites_vae, 'stage1.images', -16),
    (sprites_vae, 'cache', ''),
    (sprites_vae, 'seed', -1),
    (sprites_vae, 'init', 'http://x'),
    (sprites_model, 'prompt_dropout', 1.5),
    (sprites_model, 'localization', INF),
    (sprites_model, 'stage2.clips', 10**6),
  ],
)
def test_a_field_of_a_training(module, field, value):
  assert_refused(read_training, module.get_config(), field, value)


@pytest.mark.parametrize(
  'text, words',
  [
    ('{"task": ', 'cannot be read'),
    ('', 'cannot be read'),
    ('[' * 10**5, 'cannot be read'),
    ('null', 'holds no object'),
    ('{"task": "motion"}', 'of another kind of run'),
    ('{"task": "motion", "preset": "paper", "clip": 5}', 'clip'),
    ('{"task": "motion", "preset": "paper", "guidanc": 5}', 'guidanc'),
    ('{"task": "motion", "preset": "paper", "structure": {"stepz": []}}', 'stepz'),
    ('{"task": "motion", "preset": "paper", "guidance": NaN}', 'guidance is nan'),
    ('{"task": 5, "preset": "paper"}', 'task is 5'),
  ],
)
def test_a_config_json_that_is_none(tmp_path, text, words):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError) as caught:
    read_edit(rerun.get_config(tmp_path / 'config.json'))
  assert words in str(caught.value) and 'accepted' in str(caught.value)


def test_a_config_json_that_is_missing(tmp_path):
  with pytest.raises(ValueError, match=r'none\.json cannot be read'):
    rerun.get_config(str(tmp_path / 'none.json'))


def test_a_prompt_without_words_is_not_the_null_prompt():
  tokenizer = WordTokenizer(['a'], CONFIG.text)
  assert tokenizer.encode(['']).shape == (1, 16)
  with pytest.raises(ValueError, match='has no words'):
    tokenizer.encode(['\N{GRINNING FACE}'])


@pytest.mark.parametrize(
  'flags, words',
  [
    (
      ['--config=configs/motion.py', '--config.nope=1'],
      'config.nope is no field of configs/motion.py',
    ),
    (
      ['--config=configs/motion.py:quick', '--config.content.stepz=(0,1)'],
      "no field of configs/motion.py:quick; did you mean 'content.steps'?",
    ),
    (['--config=configs/nope.py'], "config is 'configs/nope.py'; accepted: a file"),
    (['--config', 'configs/motion.py:tiny'], "the config is asked for 'tiny'; accepted behind its"),
    (['--config=configs/rerun.py:none.json'], 'none.json cannot be read'),
    (['--config=configs/motion.py', '--config.steps=abc'], 'config.steps=abc'),
    (['--config=configs/motion.py', '--workdir='], "workdir is '' (an unset variable?); accepted"),
    (
      ['--config=configs/motion.py', '--workdir=/etc/passwd'],
      "workdir is '/etc/passwd', which cannot",
    ),
    (['--config=configs/motion.py', '--workdir=' + 300 * 'a'], 'a name of more than 255 bytes'),
    (
      ['--config=configs/motion.py', '--workdir=http://x'],
      "workdir is 'http://x', which no reader",
    ),
  ],
)
def test_the_command_line_ends_in_one_line(flags, words):
  command = [sys.executable, '-m', 'experiments.edit', '--workdir=/nowhere/x', *flags]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_platform_that_jax_lacks_is_named():
  code = 'from uniedit_jax.pipeline.model import resolve_dtype; resolve_dtype("auto")'
  for platform in ('cuda', 'CPU'):
    done = subprocess.run(
      [sys.executable, '-c', code],
      env={'JAX_PLATFORMS': platform},
      capture_output=True,
      text=True,
      check=False,
    )
    assert f"ValueError: JAX_PLATFORMS is '{platform}', with which JAX finds no" in done.stderr
