"""The logic of the live page, which needs no gradio: values, faults, sessions, what is shown."""

import asyncio
import json
import re
import shlex

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from configs import appearance, batch, motion
from experiments.app import form, masks, previews, programs, serve, session, show
from experiments.requests.edit import read_edit
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.media import video
from uniedit_jax.pipeline.check import READERS
from uniedit_jax.runtime.faults import FaultsError

# What the page sets with the task: this one has no motion branch.
APPEARANCE = {'task': 'appearance', 'motion.steps': [0, 0]}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


@pytest.fixture
def start(folder):
  return form.read_start(config_of(motion, folder, steps=4))


@pytest.fixture
def values(start):
  return form.first_values(start)


@pytest.fixture
def place(tmp_path):
  return epath.Path(tmp_path)


def read(start, values, place):
  return form.read_edits(start, values, READERS, place / 'masks')


def faults_of(start, values, place):
  with pytest.raises(FaultsError) as raised:
    read(start, values, place)
  return form.by_place(raised.value.faults)


def made_by(run):
  return [event for event in run if isinstance(event, session.Made)]


def test_untouched_values_ask_for_the_edit_of_the_config(start, values, folder, place):
  (edit,) = read(start, values, place)
  tree, wanted = edit.as_tree(), read_edit(config_of(motion, folder, steps=4)).as_tree()
  assert tree | {'outputs': None} == wanted | {'outputs': None}
  assert not tree['outputs']['frames'] and set(values) == set(form.FIELDS)


def test_every_line_of_prompts_and_every_seed_is_an_edit(start, values, place):
  changes = {'targets': 'a fox\n\n a cat ', 'seeds': '3, 5-6', 'generated': True}
  edits = read(start, values | changes | {'source_prompt': 'a dog'}, place)
  asked = [(edit.request.seed, edit.request.target_prompt) for edit in edits]
  assert asked == [(seed, prompt) for seed in (3, 5, 6) for prompt in ('a fox', 'a cat')]


def test_an_empty_range_is_off(start, values, place):
  (edit,) = read(start, values | {'content.steps': [3, 3], 'motion.steps': [1.0, 3.0]}, place)
  (found,) = edit.settings
  assert found.content.steps == (0, 0) and found.motion.steps == (1, 3)


@pytest.mark.parametrize(
  ('field', 'value', 'at'),
  [
    ('targets', ' ', 'targets'),
    ('targets', 'a fox\na fox', 'targets'),
    ('targets', 'fox ' * 200, 'targets'),
    ('seeds', 'one', 'seeds'),
    ('seeds', '1, 2', 'seeds'),
    ('seeds', str(2**32), 'seeds'),
    ('seeds', '0-99', 'seeds'),
    ('steps', 0, 'steps'),
    ('guidance', 1e30, 'guidance'),
    ('guidance', float('nan'), 'guidance'),
    ('task', 'both', 'task'),
    ('preset', 'best', 'task'),
    ('content.steps', [0, 99], 'content'),
    ('motion.blocks', 'all', 'motion'),
    ('background.steps', [0, 2], 'background'),
    ('masks', 'brushed', 'masks'),
    ('brushed', 'no masks', None),
    ('start', -1, 'source'),
    ('stride', 100, 'source'),
    ('fit', 'pad', 'source'),
    ('generated', True, 'source_prompt'),
  ],
)
def test_a_fault_is_shown_where_its_value_was_given(start, values, place, field, value, at):
  if at is None:  # masks that nobody uses
    read(start, values | {field: value}, place)
    return
  found = faults_of(start, values | {field: value}, place)
  assert found[at] and all('accepted' in fault or 'lower' in fault for fault in found[at]), found


def test_all_faults_come_at_once_and_once(start, values, place, tmp_path):
  (tmp_path / 'notes.txt').write_text('no clip')
  wrong = {'file': str(tmp_path / 'notes.txt'), 'targets': 'a fox\na cat', 'content.steps': [0, 9]}
  found = faults_of(start, values | wrong, place)
  assert {at for at, faults in found.items() if faults} == {'source', 'content'}
  assert len(found['source']) == len(found['content']) == 1


def test_files_are_told_apart_by_what_they_hold(start, values, folder, place, tmp_path):
  Image.new('RGB', (80, 80), 'red').save(tmp_path / 'still.mp4', 'PNG')
  changes = {'file': str(tmp_path / 'still.mp4'), 'move': 'pan', 'amount': 0.1}
  (edit,) = read(start, values | changes, place)
  request = edit.request
  assert (request.image, request.video) == (changes['file'], '') and request.move.kind == 'pan'
  (edit,) = read(start, values | {'file': str(folder / 'clip.mp4')}, place)
  assert (edit.request.image, edit.request.video) == ('', str(folder / 'clip.mp4'))


def test_a_preset_sets_all_ranges_and_steps_stretch_them(start):
  found = form.preset_values(start, 'appearance', 'release', 50, masked=False)
  assert set(found) == {*form.RANGES, 'tensors'} and found['structure.steps'] == [0, 20]
  assert form.scaled({'a.steps': [5, 20], 'a.blocks': [1, 2]}, 25, 50) == {'a.steps': [10, 40]}


def test_masks_change_what_the_preset_has_for_them_and_nothing_else(start):
  found = form.mask_values(start, 'motion', 'release', 4, masked=True)
  assert found and found['motion_query.steps'] != [0, 0] and 'structure.blocks' not in found
  assert set(form.mask_values(start, 'motion', 'release', 4, masked=False)) == set(found)


def test_a_config_without_a_checkpoint_starts_on_sprites():
  config = appearance.get_config()
  start = form.read_start(config)
  assert (start.request.checkpoint, start.request.video) == ('sprites', 'sprites')
  assert start.request.task == 'appearance'
  with config.unlocked():
    config.target_prompt = 'a big blue square'
  assert form.read_start(config).request.target_prompt == 'a big blue square'


def test_what_the_page_cannot_mend_ends_the_start(folder):
  with pytest.raises(FaultsError, match='no checkpoint at'):
    form.read_start(config_of(motion, folder, checkpoint='nowhere'))
  with pytest.raises(FaultsError, match='is no field'):
    form.read_start(batch.get_config())
  # A missing video is mended by dropping one.
  assert form.read_start(config_of(motion, folder, video='', target_prompt=''))


def test_a_quick_config_stays_short_whatever_the_steps(folder, place):
  start = form.read_start(config_of(motion, folder, steps=50, quick=True))
  values = form.first_values(start)
  assert values['steps'] == 5
  (edit,) = read(start, values | {'steps': 9}, place)
  assert edit.sampler.steps == 9


def test_brushed_masks_go_to_files_and_back(start, values, place, rng):
  size = start.request.clip.size
  brushed = {side: rng.random(size) < 0.5 for side in masks.SIDES}
  text = json.dumps({side: masks.to_bits(mask) for side, mask in brushed.items()})
  changes = {'masks': 'brushed', 'brushed': text}
  (edit,) = read(start, values | changes, place)
  for side, mask in brushed.items():
    np.testing.assert_array_equal(edit.masks[side], mask)
    assert epath.Path(getattr(edit.request.mask, side)).parent == place / 'masks'
  (edit,) = read(start, values | changes | APPEARANCE, place)
  assert list(edit.masks) == ['source']
  wrong = {'source': 'AAAA', 'target': '?'}
  found = faults_of(start, values | changes | {'brushed': json.dumps(wrong)}, place)
  assert len(found['masks']) >= 2
  for text in ('[1]', '{"source": 7}', '{'):
    assert faults_of(start, values | changes | {'brushed': text}, place)['masks']


def test_found_masks_are_asked_for_on_the_sides_that_the_task_needs(start, values, place):
  changes = {'masks': 'found', 'source_prompt': 'a dog', 'targets': 'a fox'}
  for task, target in (({}, 'auto'), (APPEARANCE, '')):
    (edit,) = read(start, values | changes | task, place)
    assert (edit.request.mask.source, edit.request.mask.target) == ('auto', target)
  assert faults_of(start, values | changes | {'source_prompt': ''}, place)['masks']


@pytest.fixture(scope='module')
def edited(folder, tmp_path_factory):
  """A session in which an edit was made, and what each further change of the page came to."""
  place = epath.Path(tmp_path_factory.mktemp('session'))
  start = form.read_start(config_of(motion, folder, steps=4, source_prompt='a dog'))
  made, values = session.Session(place), form.first_values(start)
  changes = [
    {},
    {'structure.steps': [0, 1]},
    {'structure.steps': [1, 3], 'content.steps': [0, 0]},
    {'content.steps': [1, 4], 'content.blocks': [0, 2], 'tensors': 'keys and values'},
    {'motion.steps': [0, 2]},
    {'guidance': 2.0},
    {'targets': 'a cat'},
    {'preset': 'release'},
  ]
  for change in changes:
    edits = form.read_edits(start, values | change, made.readers, place / 'masks')
    assert len(made_by(made.run(edits))) == 1, change
  return made, changes


def test_a_changed_slider_needs_no_inversion_and_no_compilation(edited):
  made, changes = edited
  first, *later = (edit.cost for edit in made.edits)
  assert first.compiled + first.read and first.inversion == 'made' and first.seconds > 0
  for cost, change in zip(later, changes[1:], strict=True):
    assert (cost.compiled, cost.read, cost.inversion) == (0, 0, 'reused'), (change, cost)
  assert re.fullmatch(r'0 programs compiled, inversion reused, \d+\.\d s', later[0].text)


def test_another_number_of_steps_is_another_inversion(edited, folder, place):
  made, _ = edited
  start = form.read_start(config_of(motion, folder, steps=3, source_prompt='a dog'))
  edits = form.read_edits(start, form.first_values(start), made.readers, place)
  (one,) = made_by(made.run(edits))
  assert one.cost.inversion == 'made'


def test_an_edit_of_the_page_is_the_edit_of_its_command(edited, folder):
  made, _ = edited
  from configs import rerun
  from experiments.edit import run

  edit = made.edits[1]
  words = shlex.split(show.command(edit))
  assert words[:3] == ['python', '-m', 'experiments.edit']
  (path,) = re.findall(r'--config=configs/rerun.py:(.*)', words[3])
  clips = run(read_edit(rerun.get_config(path)), folder / 'again')
  found = video.read_clip(edit.path('edit.mp4'), frames=4, height=64, width=64).frames
  written = video.read_clip(folder / 'again/edit.mp4', frames=4, height=64, width=64).frames
  # Rows that are repeated to keep to a program may round differently.
  assert np.abs(written.astype(int) - found).max() <= 1 and clips['edit'].shape == found.shape


def test_every_edit_leaves_its_files(edited):
  made, _ = edited
  for name in ('edit.mp4', 'edit.gif', 'config.json', 'metrics.json', 'report.html', 'DONE'):
    assert all(edit.path(name) for edit in made.edits)
  assert [edit.number for edit in made.edits[:3]] == [1, 2, 3]


def test_the_gallery_shows_settings_measures_files_and_commands(edited):
  made, changes = edited
  text = show.gallery(made.edits[: len(changes)])
  assert text.count('<article') == len(changes)
  assert text.index('data-number="2"') < text.index('data-number="1"')
  card = text[text.index('data-number="2"') : text.index('data-number="1"')]
  assert 'structure.steps' in card and '[0, 1]' in card and 'content.steps' not in card
  for name in ('edit.mp4', 'edit.gif', 'config.json'):
    assert f'/gradio_api/file={made.edits[1].folder}/{name}' in card
  assert 'configs/rerun.py:' in card and made.edits[1].cost.text in card
  assert 'edit_002.mp4' in card and 'edit_002_config.json' in card


def test_rows_are_repeated_up_to_a_number_that_was_had(start, values, place, rng):
  (edit,) = read(start, values | {'content.steps': [2, 4]}, place)
  assert len(programs.sizes(edit)) > 1
  most = max(programs.sizes(edit))
  padded = programs.keep_to(edit, {most})
  assert programs.sizes(padded) == {most} and programs.keep_to(edit, set()).plan == edit.plan
  for step, longer in zip(edit.plan.steps, padded.plan.steps, strict=True):
    for leaf, more in zip(
      jax.tree.leaves(step.passes[0]), jax.tree.leaves(longer.passes[0]), strict=True
    ):
      np.testing.assert_array_equal(leaf, more[: len(leaf)])


def test_a_cancelled_run_keeps_what_is_finished(start, values, place):
  made = session.Session(place)
  prompts = [f'a fox {word}' for word in ('runs', 'jumps', 'sits', 'sleeps')]
  run = made.run(read(start, values | {'targets': '\n'.join(prompts)}, place))
  events = []
  for event in run:
    events.append(event)
    if isinstance(event, session.Made):
      assert made.cancel()
  finished = [event for event in events if isinstance(event, session.Made)]
  assert 1 <= len(finished) < 4 and made.edits == finished
  assert session.Progress('ends with this step') in events
  assert isinstance(events[-1], session.Failed)
  assert events[-1].text == f'cancelled: {len(finished)} of 4 finished'
  assert all(edit.path('DONE') and edit.path('edit.mp4') for edit in finished)
  assert not made.cancel()
  # The next run takes the place of what was not finished.
  (one,) = made_by(made.run(read(start, values, place)))
  assert one.number == len(finished) + 1 and one.path('DONE')


def test_a_run_reports_phases_and_steps(start, values, place):
  events = list(session.Session(place).run(read(start, values, place)))
  texts = [event.text for event in events if isinstance(event, session.Progress)]
  assert {'load', 'encode', 'invert', 'edit', 'write'} <= set(texts)
  assert any(text.startswith('edit: step 4 of 4') for text in texts)
  assert all(0 <= e.share <= 1 for e in events if isinstance(e, session.Progress) and e.share)


def test_a_failing_edit_says_why_and_the_session_goes_on(start, values, place, monkeypatch):
  made = session.Session(place)
  edits = read(start, values, place)
  with monkeypatch.context() as patch:
    patch.setattr(session, 'leave_clips', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    assert list(made.run(edits))[-1] == session.Failed('disk full')
  assert len(made_by(made.run(edits))) == len(made.edits) == 1


def test_what_an_earlier_session_finished_is_left_alone(start, values, place):
  edits = read(start, values, place)
  (first,) = made_by(session.Session(place).run(edits))
  (second,) = made_by(session.Session(place).run(edits))
  assert (first.number, second.number) == (1, 2) and first.path('DONE')


def test_a_source_is_shown_as_the_model_sees_it(start, values, folder, place):
  found = previews.preview(start, values, READERS, place)
  assert found.size == (4, 64, 64) and '4 frames of 64 × 64' in found.note
  assert video.probe(found.path).frames == 4
  assert Image.open(found.sheet).size == (128, 128)
  again = previews.preview(start, values | {'start': 0}, READERS, place)
  assert again == found
  assert previews.preview(start, values | {'generated': True}, READERS, place) is None
  with pytest.raises(FaultsError, match='needs'):
    previews.preview(start, values | {'stride': 3}, READERS, place)


def test_a_source_that_changed_on_disk_is_looked_at_again(start, values, folder, place):
  path = place / 'clip.mp4'
  made = session.Session(place)
  video.write_mp4(path, np.zeros((4, 64, 64, 3), np.uint8) + 40, 8)
  request = start.request.replace(form.source_changes(values | {'file': str(path)}))
  assert not made.readers.source(request, request.clip)[0]
  path.write_text('no clip any more')
  assert made.readers.source(request, request.clip)[0]


def test_what_people_write_is_escaped(edited):
  made, _ = edited
  config = made.edits[0].config | {'target_prompt': '<script>alert(1)</script> " \' &'}
  import dataclasses

  edit = dataclasses.replace(
    made.edits[0], config=config, warnings=['<img src=x onerror=alert(2)>']
  )
  shown = show.gallery([edit]) + show.results([edit]) + show.status('<b>x</b>')
  shown += show.faults(['video is <i>'], 'uploads') + show.progress('<u>', 0.5)
  for tag in ('<script', '<img', '<b>x', '<i>', '<u>'):
    assert tag not in shown


def test_only_files_of_the_session_are_served(tmp_path):
  asked, own = [], tmp_path / 'edits'
  own.mkdir()
  (tmp_path / 'secret').write_text('')
  (own / 'link').symlink_to(tmp_path / 'secret')

  async def app(scope, receive, send):
    asked.append(scope['path'])

  async def call(path):
    sent = []

    async def send(message):
      sent.append(message)

    await serve.OwnFilesOnly(app, [own])({'type': 'http', 'path': path}, None, send)
    return sent[0]['status'] if sent else None

  names = ['http://example.com/x', 'https://a.b', tmp_path / 'secret', own / 'link', own, 'x.mp4']
  names += [f'{own}/../secret', f'{own}x/y', '']
  refused = [f'/gradio_api/file={name}' for name in names] + ['/file=/etc/passwd', '/a/proxy=x']
  assert [asyncio.run(call(path)) for path in refused] == [403] * len(refused) and not asked
  for path in (f'/gradio_api/file={own}/x.mp4', '/', '/gradio_api/upload'):
    assert asyncio.run(call(path)) is None and asked[-1] == path


def test_a_session_has_a_folder_of_its_own(tmp_path):
  folder = serve.make_folder(str(tmp_path / 'new/one'))
  assert folder.is_dir() and folder.is_absolute()
  other = serve.make_folder()
  assert 'uniedit_app_' in other.name and not list(other.iterdir())
  other.rmdir()
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='workdir is'):
    serve.make_folder(str(tmp_path / 'file'))
