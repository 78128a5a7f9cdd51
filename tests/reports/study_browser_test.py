"""A rater in a real browser answers by keys and by touch, reloads and saves; the sums are known."""

import itertools
import json
import time

import pytest

from tests.helpers import browser as chromium
from tests.reports.study_test import EDITS, METHODS, write_comparison
from uniedit_jax.reports import comparison_format
from uniedit_jax.reports.study import answer_key, answers, page

pytestmark = pytest.mark.skipif(
  not chromium.program(), reason=f'none of {", ".join(chromium.PROGRAMS)} is on the PATH'
)

SCORES = {'zebra_net': (2, 1), 'okapi': (5, 4), 'walrus-2': (3, 3)}  # consistency, alignment
RANKS = ('okapi', 'walrus-2', 'zebra_net')  # the better one of a pair comes first
KEYS = {'Enter': (13, '\r'), 'ArrowLeft': (37, None), 'ArrowRight': (39, None), ' ': (32, ' ')}
ASKED = """[...document.querySelectorAll('figure')].slice(1)
  .filter(f => !f.hidden).map(f => f.dataset.clip)"""
FITS = 'document.documentElement.scrollWidth <= innerWidth'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return write_comparison(tmp_path_factory.mktemp('comparison'))


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  with chromium.browser(tmp_path_factory.mktemp('profile')) as made:
    yield made


@pytest.fixture
def visit(browser, folder, tmp_path):
  """Makes a study and opens its page; it throws nothing and asks the network for nothing."""
  pages = []

  def visit(width=390, **options):
    drawn = answer_key.draw_key(comparison_format.read_comparison(folder), **options)
    page.write_study(tmp_path / 'study.html', drawn, folder, 0)
    pages.append(browser.open(tmp_path / 'study.html', width))
    return pages[-1], drawn

  yield visit
  for opened in pages:
    assert not opened.found('Runtime.exceptionThrown')
    asked = {
      request['request']['url'].split(':')[0]
      for request in opened.found('Network.requestWillBeSent')
    }
    assert asked <= {'file', 'data', 'blob'}
    opened.close()


def press(opened, name):
  """Presses and releases a key."""
  code, text = KEYS[name] if name in KEYS else (ord(name.upper()), name)
  named = {'key': name, 'windowsVirtualKeyCode': code} | ({'text': text} if text else {})
  for kind in ('keyDown', 'keyUp'):
    opened.call('Input.dispatchKeyEvent', type=kind, **named)


def tap(opened, selector):
  """Clicks where an element is."""
  point = f"""(() => {{
    const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}});
    const box = e.getBoundingClientRect();
    return {{x: box.x + box.width / 2, y: box.y + box.height / 2}};
  }})()"""
  at = opened.evaluate(point)
  for kind in ('mousePressed', 'mouseReleased'):
    opened.call('Input.dispatchMouseEvent', type=kind, **at, button='left', clickCount=1)


def answer(opened, drawn, by_touch=False):
  """Answers the question that is shown, and goes on; its (edit, methods as shown)."""
  found = [drawn.clips[name] for name in opened.evaluate(ASKED)]
  methods = [method for _, method in found]
  if len(methods) == 1:
    for field, score in zip(('consistency', 'alignment'), SCORES[methods[0]], strict=True):
      tap(opened, f'#{field} button[value="{score}"]') if by_touch else press(opened, str(score))
  else:
    better = min((0, 1), key=lambda side: RANKS.index(methods[side]))
    tap(opened, f'#better button[value="{better}"]') if by_touch else press(opened, 'ab'[better])
  tap(opened, '#after') if by_touch else press(opened, 'Enter')
  return found[0][0], methods


def reload(opened):
  """Loads the page anew, which changes nothing."""
  before = opened.evaluate('JSON.stringify(state)')
  opened.call('Page.reload')
  opened.wait_for("document.readyState === 'complete'")
  assert opened.evaluate('JSON.stringify(state)') == before


def save(opened, folder):
  """Saves the answers; the path of the file."""
  opened.browser.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(folder))
  before = set(folder.glob('answers-*.json'))
  tap(opened, '#save')
  deadline = time.monotonic() + 15
  while not (found := set(folder.glob('answers-*.json')) - before):
    assert time.monotonic() < deadline, 'nothing was saved'
    time.sleep(0.05)
  return found.pop()


def wait_for_videos(opened):
  shown = "videos.filter(v => !v.closest('[hidden]'))"
  if not opened.evaluate('videos[0].canPlayType(\'video/mp4; codecs="avc1.640028"\')'):
    pytest.skip('this browser has no H.264')
  opened.wait_for(f'{shown}.every(v => v.readyState > 1) && {shown}.some(v => v.currentTime > .1)')


def test_a_rater_completes_both_modes(visit, tmp_path):
  opened, drawn = visit(width=390)
  seen = []
  for number in range(18):
    seen.append(answer(opened, drawn, by_touch=number % 2))
    assert opened.evaluate(FITS)
    if number == 10:  # nothing is lost, and the rater goes on in the same place
      reload(opened)
      assert opened.evaluate("get('count').value") == '11 of 18'
  assert opened.evaluate("get('question').hidden && !get('end').hidden")
  assert opened.evaluate("get('left').textContent") == 'All questions are answered. Thank you!'
  scored = [(edit, *methods) for edit, methods in seen[:9]]
  assert sorted(scored) == sorted(itertools.product(EDITS, METHODS))
  # The methods of an edit come in a row.
  assert all(len({edit for edit, _ in seen[i : i + 3]}) == 1 for i in range(0, 18, 3))

  path = save(opened, tmp_path)
  saved = json.loads(path.read_text())
  assert len(saved['scores']) == len(saved['pairs']) == 9
  assert not [name for name in METHODS if name in path.read_text()]
  answers.write_results(tmp_path, [path], drawn)
  results = json.loads((tmp_path / 'results.json').read_text())['results']
  found = {
    (row['method'], row['measure'], row['against']): row['mean']
    for row in results
    if row['task'] == 'all'
  }
  for method, scores in SCORES.items():
    assert (found[method, 'consistency', ''], found[method, 'alignment', '']) == scores
  assert [found[method, 'preferred', ''] for method in RANKS] == [1, 0.5, 0]
  assert found['okapi', 'preferred', 'walrus-2'] == 1
  assert found['zebra_net', 'preferred', 'walrus-2'] == 0


def test_questions_can_be_skipped_and_corrected(visit, tmp_path):
  opened, _ = visit(width=1200, modes=('scores',))
  press(opened, '5')
  reload(opened)  # half an answer is kept too
  for name in ('Enter', '1', '2', 'ArrowLeft'):
    press(opened, name)
  assert opened.evaluate("get('after').textContent") == 'Skip'
  press(opened, '4')
  assert opened.evaluate("get('after').textContent") == 'Next'
  tap(opened, '#consistency button[value="2"]')
  first = opened.evaluate(ASKED)[0]
  press(opened, 'Enter')  # goes on, whatever was tapped before
  second = opened.evaluate(ASKED)[0]
  scores = json.loads(save(opened, tmp_path).read_text())['scores']
  assert scores == [
    {'clip': first, 'consistency': 2, 'alignment': 4},
    {'clip': second, 'consistency': 1, 'alignment': 2},
  ]
  for name in ('x', '9', '0', 'a'):
    press(opened, name)
  assert opened.evaluate("get('count').value") == '2 of 9'


def test_another_rater_starts_anew_with_another_order(visit, tmp_path):
  opened, _ = visit()
  before = opened.evaluate('state')
  assert opened.evaluate("get('anew').hidden")
  press(opened, '3')
  save(opened, tmp_path)
  opened.evaluate("get('anew').click()")
  opened.wait_for(f"document.readyState === 'complete' && state.rater !== '{before['rater']}'")
  after = opened.evaluate('state')
  assert after['answers'] == {} and after['questions'] != before['questions']
  assert sorted(map(sorted, after['questions'])) == sorted(map(sorted, before['questions']))


def test_waiting_goes_on_while_a_page_is_left_for_another(visit):
  opened, _ = visit()
  leave = 'location.reload(), new Promise(() => {})'
  opened.wait_for(f'sessionStorage.left || (sessionStorage.left = 1, {leave})')
  with pytest.raises(RuntimeError, match='missing is not defined'):
    opened.wait_for('missing')


def test_few_questions_are_drawn_for_each_rater(browser, folder, tmp_path):
  drawn = answer_key.draw_key(comparison_format.read_comparison(folder))
  page.write_study(tmp_path / 'study.html', drawn, folder, questions=4)
  opened = browser.open(tmp_path / 'study.html', 390)
  assert [len(question) for question in opened.evaluate('state.questions')] == [1] * 4 + [2] * 4
  opened.close()


def test_the_clips_of_a_question_play_in_step(visit, tmp_path):
  opened, _ = visit(width=390)
  wait_for_videos(opened)
  opened.screenshot(tmp_path / 'scores.png')
  opened.evaluate('go(9)')
  wait_for_videos(opened)
  assert opened.evaluate('videos.map(v => v.videoWidth)') == [64] * 3
  time.sleep(0.5)
  times = opened.evaluate('videos.map(v => v.currentTime)')
  assert max(times) - min(times) < 0.2
  opened.screenshot(tmp_path / 'pairs.png')
  press(opened, ' ')
  opened.wait_for('videos.every(v => v.paused)')
