"""The live page in a real browser: drop, edit, move a slider, edit again, brush, cancel, bad files.

Marked: needs the extra `app`.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import types
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from etils import epath
from PIL import Image

from configs import motion
from experiments.app import form, serve
from tests.helpers import browser as chromium
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.media import video

pytestmark = [
  pytest.mark.app,
  pytest.mark.skipif(
    not chromium.program(), reason=f'none of {", ".join(chromium.PROGRAMS)} is on the PATH'
  ),
]

PATIENCE = 240  # seconds for what a busy machine computes
DONE = "document.querySelector('#status .uniedit-done')"
FAILED = "document.querySelector('#status .uniedit-failed')"
CARDS = "document.querySelectorAll('#gallery article').length"
# The labels of the clips that are shown, once all of them can play.
CLIPS = """[...document.querySelectorAll('#results figure')].map(f =>
  f.querySelector('video').readyState > 1 && f.innerText.trim())"""
TIMES = "[...document.querySelectorAll('#results video')].map(v => v.currentTime)"
MEGABYTES = 1


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


@pytest.fixture(scope='module')
def app(folder, tmp_path_factory):
  config = config_of(motion, folder, steps=4, source_prompt='a dog', target_prompt='a fox')
  place = serve.make_folder(str(tmp_path_factory.mktemp('app')))
  running = serve.launch(form.read_start(config), place, megabytes=MEGABYTES)
  yield running
  running.page.close(verbose=False)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  with chromium.browser(tmp_path_factory.mktemp('profile')) as made:
    yield made


@pytest.fixture
def page(browser, app):
  """The page, just opened; it throws nothing and asks no other machine for anything."""
  opened = browser.visit(app.address, 1300, 1000)
  opened.wait_for("!!document.querySelector('#results video, #results p')", PATIENCE)
  yield opened
  assert not opened.found('Runtime.exceptionThrown')
  asked = [found['request']['url'] for found in opened.found('Network.requestWillBeSent')]
  hosts = {urllib.parse.urlsplit(url).netloc for url in asked if url.startswith('http')}
  assert hosts == {urllib.parse.urlsplit(app.address).netloc}
  opened.close()


def point(page, selector, across=0.5):
  """Where an element is: the point at a share of its width."""
  return page.evaluate(
    f"""(() => {{
      const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}});
      const box = e.getBoundingClientRect();
      return {{x: box.x + {across} * box.width, y: box.y + box.height / 2}};
    }})()"""
  )


def click(page, selector):
  page.drag(point(page, selector))


def write(page, name, text):
  """Types a text into a field."""
  page.evaluate(
    f"""(() => {{
      const e = document.querySelector('#{name} textarea, #{name} input');
      Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), 'value').set.call(
        e, {json.dumps(text)});
      e.dispatchEvent(new Event('input', {{bubbles: true}}));
    }})()"""
  )


def choose(page, name, value):
  click(page, f'#{name} input[value="{value}"]')


def open_tab(page, title):
  page.evaluate(
    f"""[...document.querySelectorAll('button[role=tab]')].filter(b => b.innerText == '{title}')
    .forEach(b => b.click())"""
  )


def edit(page, app):
  """Presses Edit, and waits for the edit: `Made`."""
  before = len(app.session.edits)
  click(page, '#edit')
  page.wait_for(f'{CARDS} > {before} && !!{DONE}', PATIENCE)
  return app.session.edits[-1]


def drag_range(page, name, handle, share):
  """Drags a handle of a range to a share of its length."""
  selector = f'#range-{name} input:nth-of-type({handle})'
  value, largest = page.evaluate(f"(i => [+i.value, +i.max])(document.querySelector('{selector}'))")
  # A thumb of 1.1 rem lies wholly within its range.
  at = lambda part: 0.04 + 0.92 * part
  page.drag(point(page, selector, at(value / largest)), point(page, selector, at(share)))


def test_a_dropped_clip_is_edited_and_edited_again_by_a_slider(page, app, tmp_path):
  frames = np.zeros((6, 80, 80, 3), np.uint8)
  for i, frame in enumerate(frames):
    frame[20:50, 5 * i : 5 * i + 30] = (250, 200, 30)
  video.write_mp4(tmp_path / 'mine.mp4', frames, 8)
  page.upload('#file input[type=file]', tmp_path / 'mine.mp4')
  page.wait_for("document.querySelector('#file').innerText.includes('mine')", PATIENCE)
  page.wait_for(f"{CLIPS}.join() === 'source'", PATIENCE)
  write(page, 'source-prompt', 'a yellow box')
  write(page, 'targets', 'a yellow box jumps')
  made = edit(page, app)
  assert made.config['video'].endswith('mine.mp4')
  assert made.config['source_prompt'] == 'a yellow box'
  page.wait_for(f"{CLIPS}.join() === 'source,reconstruction,motion reference,edit'", PATIENCE)

  # They play in step, where they are seen.
  point(page, '#results .next')
  page.wait_for(f'{TIMES}.every(t => t > 0)', PATIENCE)
  click(page, '#results .next')
  page.wait_for("document.querySelector('#results .play').textContent === 'Play'")
  page.wait_for(f'new Set({TIMES}.map(t => t.toFixed(3))).size === 1')

  # A slider that is let go edits again, and the page says what that took.
  before = len(app.session.edits)
  drag_range(page, 'structure-steps', 2, 0.75)
  page.wait_for(f'{CARDS} > {before} && !!{DONE}', PATIENCE)
  again = app.session.edits[-1]
  assert again.config['structure']['steps'] == (0, 3)
  assert (again.cost.compiled, again.cost.read, again.cost.inversion) == (0, 0, 'reused')
  assert page.evaluate(f'{DONE}.innerText') == again.cost.text
  assert again.cost.text in page.evaluate("document.querySelector('#gallery article').innerText")
  page.wait_for(f"{CLIPS}.join() === 'source,reconstruction,motion reference,edit'", PATIENCE)
  point(page, '#results .next')
  click(page, '#results .play')
  page.wait_for(f'{TIMES}.every(t => t > 0)', PATIENCE)
  page.screenshot(tmp_path / 'wide.png')
  assert np.asarray(Image.open(tmp_path / 'wide.png').convert('L'), float).std() > 5

  # What is linked is there.
  links = page.evaluate("[...document.querySelectorAll('#gallery article a')].map(a => a.href)")
  for name in ('edit.mp4', 'edit.gif', 'config.json', 'report.html'):
    (link, *_) = [link for link in links if link.endswith(name)]
    assert fetch(link)[0] == 200


def test_a_page_that_is_reloaded_still_shows_the_edits(page, app):
  edit(page, app)
  page.call('Page.reload')
  page.wait_for(f'{CARDS} === {len(app.session.edits)}', PATIENCE)
  page.wait_for(f"{CLIPS}.includes('edit')", PATIENCE)


def test_a_cancelled_run_keeps_what_is_finished(page, app):
  before = len(app.session.edits)
  # More steps have room for a click.
  write(page, 'targets', '\n'.join(f'a fox number {i}' for i in range(12)))
  click(page, '#edit')
  page.wait_for(f'{CARDS} > {before}', PATIENCE)
  # Not by the mouse: the button moves while edits appear.
  page.evaluate("document.querySelector('#cancel').click()")
  page.wait_for(f"!!{FAILED} && {FAILED}.innerText.startsWith('cancelled')", PATIENCE)
  finished = len(app.session.edits) - before
  assert 1 <= finished < 12
  assert page.evaluate(f'{FAILED}.innerText') == f'cancelled: {finished} of 12 finished'
  assert page.evaluate(CARDS) == len(app.session.edits)
  # The page is ready for the next edit.
  write(page, 'targets', 'a fox')
  edit(page, app)


def test_bad_input_is_shown_next_to_its_field(page, app, tmp_path):
  (tmp_path / 'notes.txt').write_text('<b>no clip</b>')
  page.upload('#file input[type=file]', tmp_path / 'notes.txt')
  at_source = "document.querySelector('#faults-source')?.innerText || ''"
  page.wait_for(f"({at_source}).includes('notes.txt')", PATIENCE)
  write(page, 'seeds', 'many')
  write(page, 'targets', '')
  click(page, '#edit')
  page.wait_for(f'!!{FAILED}', PATIENCE)
  assert page.evaluate(f'{FAILED}.innerText') == '3 faults, shown where the value was given'
  for place, text in (('source', 'notes.txt'), ('seeds', 'many'), ('targets', 'accepted')):
    assert text in page.evaluate(f"document.querySelector('#faults-{place}').innerText")
  # Nothing of the server's folders is shown.
  assert str(app.session.folder) not in page.evaluate(at_source)
  # What is mended is no fault any more.
  click(page, '#file button[aria-label*="emove"], #file button[aria-label*="lear"]')
  write(page, 'seeds', '0')
  write(page, 'targets', 'a fox')
  edit(page, app)
  assert page.evaluate("document.querySelectorAll('.uniedit-faults').length") == 0


def test_found_masks_are_shown_and_brushed(page, app):
  open_tab(page, 'Masks')
  choose(page, 'masks', 'found')
  found = edit(page, app)
  assert set(found.masks) == {'source', 'target'}
  count = 'Object.values(uniedit.brush.masks).map(bits => bits.reduce((a, b) => a + b, 0))'
  wanted = [int(found.masks[side].sum()) for side in ('source', 'target')]
  page.wait_for(f"({count}).join() === '{','.join(map(str, wanted))}'", PATIENCE)
  # Found masks of a tiny model are anything: start from none, and brush one spot of all frames.
  for side in ('source', 'target'):
    page.evaluate(
      f"""(s => {{ s.value = '{side}'; s.dispatchEvent(new Event('change')); }})(
      document.querySelector('#painter .side'))"""
    )
    click(page, '#painter .clear')
    if not page.evaluate("document.querySelector('#painter .every').checked"):
      click(page, '#painter .every')
    click(page, '#painter canvas')
  page.wait_for("document.querySelector('#masks input[value=brushed]').checked", PATIENCE)
  brushed = edit(page, app)
  for side in ('source', 'target'):
    mask = brushed.masks[side]
    assert mask[:, 32, 32].all() and not mask[:, 0, 0].any() and 20 < mask[0].sum() < 400
    assert brushed.config['mask'][side].endswith('.npz')


def test_the_page_fits_a_phone(page, tmp_path):
  page.resize(390, 800)
  page.wait_for('document.documentElement.scrollWidth <= innerWidth')
  page.screenshot(tmp_path / 'narrow.png')


def fetch(url, data=None, **headers):
  """(status, body) of an address."""
  try:
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
      return answer.status, answer.read()
  except urllib.error.HTTPError as error:
    return error.code, error.read()


def test_nothing_outside_of_its_folder_is_served(app, tmp_path):
  folder = epath.Path(app.session.folder)
  own = folder / 'edits/note.txt'
  own.write_text('mine')
  secret, masks = tmp_path / 'secret.txt', folder / 'masks/some.npz'
  secret.write_text('secret')
  masks.parent.mkdir(exist_ok=True)
  masks.write_text('a mask')
  os.symlink(secret, folder / 'edits/link.txt')
  address = f'{app.address}gradio_api/file='
  assert fetch(f'{address}{own}') == (200, b'mine')
  here = os.getcwd()
  outside = [secret, masks, '/etc/passwd', f'{here}/setup.py', 'setup.py', f'{here}/.gradio/x']
  outside += [f'{folder}/edits/../masks/some.npz', f'{folder}/edits/%2e%2e/masks/some.npz']
  outside += ['http://127.0.0.1:1/x', 'https://example.com/', folder, folder / 'edits/link.txt']
  for path in outside:
    status, body = fetch(f'{address}{path}')
    assert status in (403, 404) and b'secret' not in body, path
  # A path in a request is no upload.
  look = next(i for i, function in app.page.fns.items() if function.name == 'look')
  payload = {'path': str(secret), 'meta': {'_type': 'gradio.FileData'}}
  values = [payload if name == 'file' else None for name in form.FIELDS]
  ask = {'data': values, 'fn_index': look, 'session_hash': 'x', 'trigger_id': None}
  calls = f'{app.address}gradio_api/queue'
  assert fetch(f'{calls}/join', json.dumps(ask).encode(), **JSON)[0] == 200
  said = fetch(f'{calls}/data?session_hash=x')[1]
  assert b'"success":false' in said and b'not uploaded' in said
  assert not list(pathlib.Path(folder / 'uploads').rglob('secret.txt'))


JSON = {'Content-Type': 'application/json'}


def test_uploads_are_limited_in_size(app):
  def send(size):
    mark = 'x1x2x3'
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="big.mp4"\r\n\r\n'
    body = head.encode() + b'0' * size + f'\r\n--{mark}--\r\n'.encode()
    kind = {'Content-Type': f'multipart/form-data; boundary={mark}'}
    return fetch(f'{app.address}gradio_api/upload', body, **kind)[0]

  assert send(1000) == 200
  assert send(MEGABYTES * 2**20 + 1000) == 413


def test_it_listens_here_alone_and_reports_to_nobody(app):
  import gradio.analytics

  assert urllib.parse.urlsplit(app.address).hostname == serve.HOST == '127.0.0.1'
  assert not app.page.share and app.page.share_url is None
  assert not gradio.analytics.analytics_enabled() and not app.page.analytics_enabled
  port = urllib.parse.urlsplit(app.address).port
  other = socket.gethostbyname(socket.gethostname())
  if not other.startswith('127.'):
    with pytest.raises(OSError, match='refused'):
      socket.create_connection((other, port), timeout=5).close()


def test_a_notebook_shows_the_page_below_its_cell(folder, monkeypatch, tmp_path):
  shown, output = [], types.ModuleType('google.colab.output')
  output.serve_kernel_port_as_iframe = lambda port, height: shown.append(port)
  colab = types.ModuleType('google.colab')
  colab.output = output
  monkeypatch.setitem(sys.modules, 'google.colab', colab)
  monkeypatch.setattr(serve, 'make_folder', lambda: epath.Path(tmp_path))
  for name in ('GRADIO_TEMP_DIR', 'GRADIO_EXAMPLES_CACHE'):
    monkeypatch.setenv(name, os.environ.get(name, ''))  # what is set here ends with the test
  running = serve.show_in_notebook(config_of(motion, folder))
  try:
    assert shown == [running.page.server_port] and fetch(running.address)[0] == 200
  finally:
    running.page.close(verbose=False)


def test_the_command_starts_a_page_and_ends_in_order(folder, tmp_path):
  line = [sys.executable, '-m', 'experiments.app', '--config=configs/motion.py']
  line += [f'--config.checkpoint={folder / "tiny"}', f'--workdir={tmp_path / "out"}']
  together = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
  with subprocess.Popen(line, **together) as process:
    said = ''
    while 'kept in' not in said:
      one = process.stdout.readline()
      assert one, said
      said += one
    address = next(word for word in said.split() if word.startswith('http://127.0.0.1:'))
    status, body = fetch(address)
    assert status == 200 and b'UniEdit' in body and b'googleapis' not in body
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert 'Traceback' not in said + process.stdout.read()
  wrong = subprocess.run(
    [*line, '--config.checkpoint=nowhere'], capture_output=True, text=True, check=False
  )
  assert wrong.returncode == 1 and 'nowhere' in wrong.stderr and 'Traceback' not in wrong.stderr
