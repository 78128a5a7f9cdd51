"""Every page with videos in a real browser: they play in step, rest where nobody looks, and fit on
a phone; and what can be clicked does what it says.
"""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

import uniedit_jax
from tests.helpers import browser as chromium
from tests.sprites.report_test import METHODS, row
from uniedit_jax.media import video
from uniedit_jax.reports import comparison_format, sweep
from uniedit_jax.reports import edit as report
from uniedit_jax.reports.comparison import write_comparison_report
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import scores
from uniedit_jax.sprites.report import EXACT, write_clips, write_page

FRAMES, FPS = 24, 8
PAGES = ('report', 'sweep', 'benchmark', 'comparison')
pytestmark = pytest.mark.skipif(
  not chromium.program(), reason=f'none of {", ".join(chromium.PROGRAMS)} is on the PATH'
)

# What is seen of every video: times are read together, so that none moves between them.
STATE = """(() => videos.filter(v => !v.closest('dialog')).map(v => {
  const box = v.getBoundingClientRect();
  const inside = (from, to, size) => Math.min(to, size) - Math.max(from, 0) >= 20;
  const seen = box.height > 0 && inside(box.top, box.bottom, innerHeight)
    && inside(box.left, box.right, innerWidth);
  const far = box.height === 0 || box.top > 1.5 * innerHeight || box.bottom < -.5 * innerHeight;
  return {time: v.currentTime, length: v.duration, fps: +v.dataset.fps, rests: v.paused,
    ended: v.ended, seen, far};
}))()"""
SAMPLES = f"""(async () => {{
  const found = [];
  for (let i = 0; i < 40; i++) {{
    await new Promise(done => setTimeout(done, 50));
    found.push({STATE});
  }}
  return found;
}})()"""
SEEN_PLAY = f'{STATE}.filter(v => v.seen).every(v => !v.rests || v.ended)'
SEEN_REST = f'{STATE}.filter(v => v.seen).every(v => v.rests)'
STILL = 'videos.every(v => !v.seeking)'


def clip(seed, frames=FRAMES, size=64):
  """A bright square that moves over a grey ground."""
  shown = np.full((frames, size, size, 3), 90, np.uint8)
  for i, frame in enumerate(shown):
    frame[8:32, i : i + 24] = (255, 60 * seed % 256, 40)
  return shown


def write_report(folder):
  for i, name in enumerate(('source', 'reconstruction', 'edit', 'masks/source')):
    video.write_mp4(folder / f'{name}.mp4', clip(i), FPS)
  (folder / 'config.json').write_text(
    json.dumps({'target_prompt': 'a red square ' * 9, 'steps': 20})
  )
  (folder / 'metrics.json').write_text(
    json.dumps({'psnr': 31.2, 'background_frame_difference_of_the_edit': 0.02})
  )
  (folder / 'run.json').write_text(
    json.dumps({'phases': [{'start': 0, 'stop': 9, 'rows': 4}], 'devices': ['cpu:0']})
  )
  return report.write_report(folder)


def write_sweep(folder):
  """Two of the clips are of another frame rate and of another length."""
  rows = []
  for i, (end, scale) in enumerate(itertools.product(([0, 0], [0, 5], [0, 10]), (3.0, 7.5))):
    frames, fps = {0: (FRAMES // 2, FPS / 2), 1: (FRAMES // 2, FPS)}.get(i, (FRAMES, FPS))
    video.write_mp4(folder / f'settings/{i:03d}/edit.mp4', clip(i, frames), fps)
    write_json(
      folder / f'settings/{i:03d}/config.json', {'structure': {'steps': end}, 'guidance': scale}
    )
    rows.append(
      {'setting': i, 'pass': 0, 'structure.steps': end, 'guidance': scale, 'psnr': 20.0 + i}
    )
  for i, name in enumerate(('source', 'reconstruction')):
    video.write_mp4(folder / f'sources/000/{name}.mp4', clip(i), FPS)
  sweep.write_sweep(
    folder, 'a sweep', rows, ['structure.steps', 'guidance'], {'seconds': {'edit': 1.5}}
  )
  return folder / 'index.html'


def write_benchmark(folder):
  rows = [row(i, ('style', 'motion')[i % 2], method) for i in range(10) for method in METHODS]
  for i in range(10):
    clips = {name: clip(i, size=32) for name in (*EXACT, *METHODS)}
    write_clips(folder / f'{i:03d}.mp4', clips, FPS)
  summary = {
    'split': 'benchmark',
    'edits': 10,
    'methods': {},
    'text_to_video': {},
    'kinds': scores.summarise(rows),
  }
  summary['reader_check'] = {'exact_targets_changed': 1.0, 'unedited_sources_changed': 0.0}
  write_page(folder / 'index.html', summary, rows, folder)
  return folder / 'index.html'


def write_comparison(folder):
  methods = {name: f'The {name} method' for name in ('first', 'second', 'third')}
  edits = {
    f'{i}': {'task': 'motion', 'source_prompt': '', 'target_prompt': 'a red square ' * 9}
    for i in range(5)
  }
  comparison_format.write_comparison(folder, comparison_format.Comparison(methods, edits))
  rows = []
  for edit in edits:
    for i, name in enumerate(('source', *methods)):
      video.write_mp4(comparison_format.clip_path(folder, edit, name), clip(i), FPS)
      rows.append(
        {
          'edit': edit,
          'task': 'motion',
          'kind': 'motion',
          'method': name,
          'seconds': i,
          'success': i > 1,
        }
      )
      rows[-1]['wrong'] = 'colour, shape, background' if i < 2 else ''
  write_json(folder / 'results.json', rows)
  write_comparison_report(folder)
  return folder / 'index.html'


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  with chromium.browser(tmp_path_factory.mktemp('profile')) as made:
    yield made


@pytest.fixture(scope='module', params=PAGES)
def path(request, tmp_path_factory):
  """A page on disk, one of each kind."""
  return globals()[f'write_{request.param}'](tmp_path_factory.mktemp(request.param))


@pytest.fixture
def visit(browser, path):
  """Opens the page; it throws nothing and asks the network for nothing."""
  pages = []

  def visit(width):
    pages.append(browser.open(path, width))
    if not pages[-1].evaluate(
      'videos.some(v => v.canPlayType(\'video/mp4; codecs="avc1.640028"\'))'
    ):
      pytest.skip('this browser has no H.264')
    pages[-1].evaluate('videos[0].scrollIntoView({block: "center"})')
    pages[-1].wait_for(
      f'{STATE}.filter(v => v.seen).length && {STATE}.every(v => !v.seen || v.length)'
    )
    return pages[-1]

  yield visit
  for page in pages:
    assert not page.found('Runtime.exceptionThrown')
    asked = {
      request['request']['url'].split(':')[0] for request in page.found('Network.requestWillBeSent')
    }
    assert asked <= {'file', 'data'}
    page.close()


def press(page, name, until):
  page.evaluate(f"get('{name}').click()")
  page.wait_for(until)


def play(page):
  """Waits until the page plays, as it does by itself."""
  assert page.evaluate("get('play').textContent") == 'Pause'
  page.wait_for(f'{SEEN_PLAY} && {STATE}.some(v => v.seen && v.time > .1)')


def lead(state):
  """The first of the longest videos that are seen."""
  return max((v for v in state if v['seen']), key=lambda v: v['length'])


def spread(state):
  """The most by which a video that is seen is off the lead, in frames; a shorter one waits at its
  end.
  """
  return max(
    abs(min(lead(state)['time'], v['length']) - v['time']) * v['fps'] for v in state if v['seen']
  )


def check_in_step(page):
  """Two seconds of playing: time passes, and the videos stay together but for one short
  resynchronisation.
  """
  samples = page.evaluate(SAMPLES)
  assert sum(v['seen'] for v in samples[0]) >= 2
  times = [lead(state)['time'] for state in samples]
  assert sum(max(0, b - a) for a, b in itertools.pairwise(times)) > 1
  off = [spread(state) for state in samples]
  apart = [x >= 1 for x in off]
  assert (
    sum(b and not a for a, b in itertools.pairwise([False, *apart])) <= 1 and sum(apart) <= 3
  ), off
  assert np.median(off) < 0.25, off


def check_screenshot(page, path):
  page.screenshot(path)
  assert np.asarray(Image.open(path).convert('L'), float).std() > 5


def test_videos_play_in_step(visit, tmp_path):
  page = visit(1300)
  play(page)
  check_in_step(page)
  check_screenshot(page, tmp_path / 'wide.png')


def test_steps_are_of_one_frame_for_all(visit):
  page = visit(1300)
  play(page)
  press(page, 'play', f'{SEEN_REST} && {STILL}')
  assert spread(page.evaluate(STATE)) < 0.01
  page.evaluate("get('scrub').value = 3; get('scrub').oninput()")
  page.wait_for(STILL)
  for frame, name in ((4, 'next'), (5, 'next'), (4, 'back')):
    press(page, name, STILL)
    state = page.evaluate(STATE)
    assert lead(state)['time'] == pytest.approx((frame + 0.5) / FPS, abs=0.002)
    assert spread(state) < 0.01
    assert page.evaluate("get('at').value") == f'frame {frame} / {FRAMES - 1}'


@pytest.mark.parametrize('path', [name for name in PAGES if name != 'report'], indirect=True)
def test_what_scrolls_into_view_joins_and_the_rest_pauses(visit, tmp_path):
  page = visit(390)
  page.resize(390, 580)  # so that the last video is far from the first
  assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
  play(page)
  state = page.evaluate(STATE)
  assert all(v['rests'] for v in state if v['far']) and state[-1]['far']
  check_screenshot(page, tmp_path / 'narrow.png')
  page.wait_for(f'{STATE}.some(v => v.seen && v.time > .5)')
  page.evaluate('videos.filter(v => !v.closest("dialog")).at(-1).scrollIntoView({block: "center"})')
  page.wait_for(f'{STATE}.at(-1).seen && {SEEN_PLAY}', seconds=4)
  state = page.evaluate(STATE)
  # it joins the others, who do not start anew
  assert lead(state)['time'] > 0.5 and spread(state) < 1
  check_in_step(page)
  assert all(v['rests'] for v in page.evaluate(STATE) if v['far'])


@pytest.mark.parametrize('path', ['sweep'], indirect=True)
def test_a_shorter_video_waits_at_its_end(visit):
  page = visit(1300)
  page.evaluate("get('scrub').value = 14; get('scrub').oninput()")
  page.wait_for(STILL)
  page.evaluate("get('play').click()")
  page.wait_for(f'{STATE}.some(v => v.seen && v.time > 2.2)')
  state = page.evaluate(STATE)
  assert spread(state) < 1 and any(v['seen'] and v['ended'] for v in state)


@pytest.mark.parametrize('path', ['benchmark'], indirect=True)
def test_what_the_filter_hides_rests(visit):
  page = visit(1300)
  play(page)
  page.evaluate("get('kind').value = 'motion'; get('kind').onchange()")
  page.wait_for(
    f'{SEEN_PLAY} && {STATE}.some(v => v.seen) && '
    "videos.every(v => !v.closest('[hidden]') || v.paused)"
  )
  assert page.evaluate("get('shown').value") == '5 of 10 edits'


def test_clips_have_posters_and_only_small_ones_are_pixelated(visit, path):
  page = visit(1300)
  own = "videos.filter(v => !v.matches('.over, dialog video'))"
  assert page.evaluate(f"{own}.every(v => v.poster.startsWith('data:image/jpeg'))")
  assert page.evaluate(
    'videos.filter(v => v.videoWidth).every(v => (v.videoWidth < 160) === '
    "(getComputedStyle(v).imageRendering === 'pixelated'))"
  )


@pytest.mark.parametrize('path', ['report'], indirect=True)
def test_source_and_edit_are_on_one_screen_of_a_phone(visit):
  page = visit(390)
  page.resize(390, 844)
  assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
  tops = "['clip-source'].map(get).concat(document.querySelector('.wipe video'))"
  boxes = page.evaluate(
    f'(scrollTo(0, 0), {tops}.map(v => [v.getBoundingClientRect().top, '
    'v.getBoundingClientRect().bottom]))'
  )
  assert all(0 <= top < bottom < 844 - 80 for top, bottom in boxes)


@pytest.mark.parametrize('path', ['report'], indirect=True)
def test_the_slider_wipes_to_the_source_in_step(visit):
  page = visit(1300)
  over = "document.querySelector('.over')"
  assert page.evaluate(f"{over}.src === get('clip-source').src")
  assert page.evaluate(f'getComputedStyle({over}).clipPath') == 'inset(0px 100% 0px 0px)'
  slider = "document.querySelector('.wiper input')"
  page.evaluate(f'{slider}.value = 40; {slider}.oninput()')
  assert page.evaluate(f'getComputedStyle({over}).clipPath') == 'inset(0px 60% 0px 0px)'
  play(page)
  check_in_step(page)


@pytest.mark.parametrize('path', ['sweep'], indirect=True)
def test_the_chosen_measure_stands_under_every_clip_and_the_table_is_sorted(visit):
  page = visit(1300)
  shown = "[...document.querySelectorAll('.value')].map(x => x.textContent)"
  assert page.evaluate(shown) == [f'psnr {20 + i}' for i in range(6)]
  colours = "new Set([...document.querySelectorAll('.value')].map(x => x.style.background)).size"
  assert page.evaluate(colours) == 6
  head = "[...document.querySelectorAll('.sortable th')].at(-1)"
  column = "[...document.querySelectorAll('.sortable tbody tr')].map(x => +x.cells[3].textContent)"
  page.evaluate(f'({head}.click(), {head}.click())')
  assert page.evaluate(column) == [25, 24, 23, 22, 21, 20]
  page.evaluate("document.querySelector('svg a').dispatchEvent(new MouseEvent('click'))")
  assert page.evaluate("document.querySelector(':target').id").startswith('setting-')


@pytest.mark.parametrize('path', ['comparison'], indirect=True)
def test_a_click_shows_a_method_large_next_to_the_source(visit):
  page = visit(1300)
  page.evaluate("document.querySelectorAll('article video')[2].click()")
  large = "[...document.querySelectorAll('dialog video')]"
  page.wait_for(f'{large}.every(v => v.currentTime > .1 && v.offsetWidth > 500)')
  assert page.evaluate("[...document.querySelectorAll('dialog b')].map(x => x.textContent)") == [
    'Source', 'The second method',
  ]  # fmt: skip
  page.evaluate("get('close').click()")
  page.wait_for(f"!get('large').open && {large}.every(v => v.paused)")


def test_the_frame_of_a_notebook_is_as_high_as_its_page(browser, tmp_path):
  clips = {name: clip(i) for i, name in enumerate(('source', 'edit'))}
  shown = uniedit_jax.show(clips)._repr_html_()
  (tmp_path / 'cell.html').write_text(f'<!doctype html><body style="width: 800px">{shown}')
  page = browser.open(tmp_path / 'cell.html', 900)
  inside = "document.querySelector('iframe').contentDocument"
  page.wait_for(f"{inside}.querySelectorAll('video').length === 2")
  page.wait_for(
    f"Math.abs(document.querySelector('iframe').offsetHeight - "
    f'{inside}.documentElement.offsetHeight) < 2'
  )
  # Both are whole above the controls, and play.
  under = f"{inside}.querySelector('.controls').getBoundingClientRect().top"
  videos = f"[...{inside}.querySelectorAll('video')]"
  assert page.evaluate(f'{videos}.every(v => v.getBoundingClientRect().bottom <= {under})')
  page.wait_for(f'{videos}.every(v => v.currentTime > .1)')
  page.close()
