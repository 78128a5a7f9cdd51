"""What all pages share: escaped texts, marked words, posters, and plots in the page's colours."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from uniedit_jax.media import video
from uniedit_jax.reports import charts, page

HOSTILE = '</script><img src=x onerror=alert(1)>"\' {{ 7 * 7 }} {% raw %}'


@pytest.mark.parametrize(
  'before, after, shown',
  [
    ('a b c', 'a x y c', 'a <del>b</del> <ins>x y</ins> c'),
    ('a moving left on b', 'a moving right on b', 'a moving <del>left</del> <ins>right</ins> on b'),
    ('a b', 'a b b', 'a b <ins>b</ins>'),
    ('on a, photo', 'on a, night', 'on a, <del>photo</del> <ins>night</ins>'),
  ],
)
def test_words_that_change_are_marked(before, after, shown):
  found = page.mark_words(before, after)
  marked = [f'<{kind}>{words}</{kind}>' if kind else words for kind, words in found]
  assert ' '.join(marked) == shown


def test_without_a_source_prompt_nothing_is_marked():
  assert page.mark_words(' ', 'a cat') == [('', 'a cat')]


def test_every_template_escapes_what_it_is_given():
  film = page.Film(HOSTILE, HOSTILE, HOSTILE, 8, HOSTILE)
  shown = page.render('clips.html', title=HOSTILE, films=[film])
  series = charts.Series(HOSTILE, [(0, 1, 1, 1)], [(0, 1, HOSTILE, HOSTILE)])
  chart = charts.draw_chart(HOSTILE, HOSTILE, [series, series], [HOSTILE])
  shown += page.render(
    'tables.html',
    title=HOSTILE,
    notes=[HOSTILE],
    charts=[chart],
    tables=[(HOSTILE, [HOSTILE], [[HOSTILE]])],
  )
  assert '<img' not in shown and '49' not in re.sub(
    r'<style>.*?</style>', '', shown, flags=re.DOTALL
  )
  assert shown.count('<script') == shown.count('</script') == 2


def test_texts_inside_of_a_script_cannot_end_it():
  study = {'id': HOSTILE, 'modes': [], 'questions': 0, 'items': []}
  shown = page.render('study.html', title='', measures={}, scores=(), modes=(), study=study)
  assert shown.count('</script>') == 2 and '<img' not in shown


def test_a_poster_is_the_first_frame(tmp_path):
  frames = np.zeros((3, 32, 48, 3), np.uint8)
  frames[0, ..., 0], frames[1:, ..., 2] = 220, 220
  path = tmp_path / 'a.mp4'
  video.write_mp4(path, frames, 8)
  film = page.embed(path, 'a')
  kind, _, data = film.poster.partition(',')
  shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert('RGB'))
  assert kind == 'data:image/jpeg;base64' and shown.shape == (32, 48, 3)
  assert np.abs(shown.mean((0, 1)) - [220, 0, 0]).max() < 25
  assert 'poster="data:image/jpeg' in page.render('clips.html', title='', films=[film])


def test_a_broken_video_has_no_poster_and_stays_on_the_page(tmp_path):
  (tmp_path / 'a.mp4').write_bytes(b'half a file')
  film = page.embed(tmp_path / 'a.mp4', 'a')
  assert film.poster == '' and film.size is None
  assert ' poster=' not in page.render('clips.html', title='', films=[film]).split('<body')[1]


def test_places_of_a_plot_lie_inside_of_it_and_are_to_scale():
  points = [(0, 10, 9, 11), (5, 20, 20, 20), (10, 30, 30, 30)]
  chart = charts.draw_chart('psnr', 'steps', [charts.Series('', points)])
  (line,) = chart.lines
  places = [tuple(map(float, place.split(','))) for place in line.path.split()]
  (x0, y0), (x1, y1), (x2, y2) = places
  assert x1 - x0 == pytest.approx(x2 - x1) and y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
  assert all(chart.left < x < chart.right and 0 < y < chart.bottom for x, y in places)
  assert len(line.bars) == 1 and [label for _, label in chart.y_ticks] == ['10', '20', '30']


def test_a_plot_of_equal_values_and_one_without_any_are_drawn():
  same = charts.draw_chart('a', 'b', [charts.Series('', [(1, 2, 2, 2)])])
  assert len(same.lines[0].path.split()) == 1
  assert charts.draw_chart('a', 'b', []).lines == []
