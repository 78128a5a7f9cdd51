"""The page of a scoring run: complete, self-contained, and true to the numbers."""

import base64
import html
import html.parser
import re

import numpy as np
import pytest

from uniedit_jax.media import video
from uniedit_jax.sprites import report, scores
from uniedit_jax.sprites.scenes import ATTRIBUTES, KINDS

METHODS = ('vae floor', 'reconstruction', 'inversion', 'all')


def row(number, kind, method, wrong=()):
  captions = {'source': 'a small <red> square', 'target': 'a small blue square'}
  judged = {'changed': KINDS[kind] not in wrong, 'success': not wrong}
  judged |= {f'{name}_right': name not in wrong for name in ATTRIBUTES}
  measures = {'background_psnr': 30.5, 'psnr': 25.25, 'ssim': 0.9, 'frame_difference': 0.01}
  measures['exact_frame_difference'] = 0.02
  return {'edit': number, 'kind': kind, 'method': method, **captions, **judged, **measures}


@pytest.fixture
def folder(tmp_path):
  """(folder with the page of two edits, one of which has clips; its summary; its rows)."""
  wrong = {'all': ('size', 'shape')}
  rows = [row(0, 'style', method) for method in METHODS]
  rows += [row(1, 'motion', method, wrong.get(method, ())) for method in METHODS]
  right = dict.fromkeys(ATTRIBUTES, True)
  motion = {'inversion': [], 'all': ['structure', 'motion']}
  summary = {
    'split': 'benchmark',
    'edits': 2,
    'methods': {'motion': motion, 'appearance': {'all': ['structure']}},
    'reader_check': {'exact_targets_changed': 0.995, 'unedited_sources_changed': 0.012},
    'text_to_video': {
      'trained': scores.summarise_captions([right, right]),
      'held out': scores.summarise_captions([right, {**right, 'shape': False}]),
    },
    'kinds': scores.summarise(rows),
  }
  clip = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
  report.write_clips(tmp_path / '000.mp4', {'source': clip, 'exact target': clip}, 8)
  report.write_page(tmp_path / 'index.html', summary, rows, tmp_path)
  return tmp_path, summary, rows


def read(folder):
  return (folder[0] / 'index.html').read_text(encoding='utf-8')


def text(part):
  """The visible text of a part of the page."""
  return re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]*>', ' ', part)))


def test_clips_are_enlarged_and_embedded(folder):
  info = video.probe(folder[0] / '000.mp4')
  label = 14
  # At least as wide as clips are shown without blur, so that the labels can be read.
  assert info[:3] == (2, 160 + label, 2 * 160 + 4)
  found = re.findall(r'src="data:video/mp4;base64,([^"]+)"', read(folder))
  assert list(map(base64.b64decode, found)) == [(folder[0] / '000.mp4').read_bytes()]


def test_text_to_video_comes_first_then_components_then_edits(folder):
  shown = text(read(folder))
  parts = '2 edits.|Text to video|trained (2 clips)|background PSNR|Every edit|000 style'
  places = [shown.index(part) for part in parts.split('|')]
  assert places == sorted(places)
  assert re.search(r'shape 100% 34% to 100% 50% 9% to 91%', shown)
  assert '99.5% of the targets' in shown and '1.2% of the unedited' in shown
  assert 'In motion editing, all is structure + motion.' in shown


def test_the_table_has_every_kind_and_method(folder):
  table = read(folder).split('<h2>Edits</h2>')[1].split('</table>')[0]
  bodies = [text(body) for body in table.split('<tbody>')[1:]]
  kinds = [body.split(' vae floor')[0].strip() for body in bodies]
  assert kinds == ['style', 'motion', scores.ALL_KINDS]
  assert all(method in body for body in bodies for method in METHODS)
  gain = '30.5, 30.5 +0.00 (0.00 to 0.00) over inversion'
  assert f'all 100% 21% to 100% 100% 21% to 100% {gain}' in bodies[0]
  assert bodies[0].rstrip().endswith('25.2, 25.2 0.900, 0.900 0.0100, 0.0200')
  assert 'all 0% 0% to 79% 100% 21% to 100%' in bodies[1]


def test_every_edit_has_its_captions_and_marks(folder):
  first, second = re.findall(r'<article.*?</article>', read(folder), re.DOTALL)
  assert 'data-kind="style" data-success="1"' in first
  assert 'data-kind="motion" data-success="0"' in second
  assert 'a small <del>&lt;red&gt;</del> <ins>blue</ins> square' in first
  assert first.count('class="good"') == len(METHODS) and 'class="bad"' not in first
  assert '<div class="bad">✗ all<small>size, shape</small></div>' in second
  assert second.count('class="good"') == len(METHODS) - 1
  # The marks stand under the clips, of which the first two are not judged.
  marks = first.split('class="marks">')[1]
  assert marks.startswith('<div></div><div></div><div class="good">✓ vae floor')


def test_filters_know_the_kinds(folder):
  shown = read(folder)
  options = re.search(r'<select id="kind">(.*?)</select>', shown, re.DOTALL)[1]
  assert re.findall(r'<option[^>]*>([^<]*)', options) == ['all', 'style', 'motion']
  assert [
    name for name in ('kind', 'success', 'shown', 'play') if f'id="{name}"' not in shown
  ] == []


def test_nothing_external_and_nothing_unescaped(folder):
  shown = read(folder)
  assert not re.findall(r'(?:src|href)="(?!data:)', shown)
  shown = re.sub(r'data:[^"]*', '', shown)
  assert not [part for part in ('http', '@import', 'url(', '<red>') if part in shown]


def test_tags_are_balanced(folder):
  stack = []

  class Parser(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
      if tag not in ('meta', 'input', 'br'):
        stack.append(tag)

    def handle_endtag(self, tag):
      assert stack.pop() == tag

  Parser().feed(read(folder))
  assert stack == []


def test_the_page_says_that_captions_were_left_out(folder):
  where, summary, rows = folder
  report.write_page(where / 'index.html', {**summary, 'text_to_video': {}}, rows, where)
  assert 'Was left out.' in read(folder)
