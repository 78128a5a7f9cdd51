"""The report page: self-contained, complete, and safe against what a prompt may hold."""

import base64
import html
import html.parser
import json
import re

import numpy as np
import pytest

from uniedit_jax.media import video
from uniedit_jax.metrics.measures import distrust
from uniedit_jax.reports import edit

PROMPT = '<script>alert("x")</script> & a @config@ \'cat\''
RUN = {
  'preset': 'release',
  'seed': 42,
  'versions': {'jax': '0.10.2'},
  'devices': ['cpu:0', 'cpu:1'],
  'phases': [{'start': 0, 'stop': 5, 'rows': 4}, {'start': 5, 'stop': 20, 'rows': 2}],
  'compile_seconds': {'step': 18.234567},
  'peak_memory_bytes': 3 * 2**30,
  'something_new': True,
  'warnings': ['low <PSNR>'],
}


@pytest.fixture
def workdir(tmp_path):
  frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8)
  for name in ('source', 'edit', 'masks/source'):
    video.write_mp4(tmp_path / f'{name}.mp4', frames, 8)
  config = {'prompts': {'target_prompt': PROMPT}, 'steps': 20}
  metrics = {'psnr': 31.23456, 'clip_text': None, 'background_psnr': float('inf'), 'ssim': 0.5}
  for name, value in (('config', config), ('metrics', metrics), ('run', RUN)):
    (tmp_path / f'{name}.json').write_text(json.dumps(value))
  return tmp_path


def write(workdir):
  return edit.write_report(workdir).read_text(encoding='utf-8')


def text(page):
  """The text that a reader sees."""
  return re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]*>', '', page.replace('<wbr>', ''))))


def test_homes_are_shortened(workdir):
  paths = {
    'video': '/home/ada/clip.mp4',
    'image': '/home/ada/in/a.png',
    'cache': '/Users/ada/c',
    'mask': 'C:\\Users\\ada\\m.npz',
    'checkpoint': '/data/home/x',
    'workdir': '/root',
  }
  run = RUN | {'warnings': ['/home/ada/in/a.png is small'], 'paths': [[f'{paths["workdir"]}/x']]}
  (workdir / 'config.json').write_text(json.dumps(paths))
  (workdir / 'run.json').write_text(json.dumps(run))
  page = text(write(workdir))
  assert 'ada/' not in page and 'ada\\' not in page and '/root' not in page
  for shown in ('~/in/a.png is small', '"~/c"', '"/data/home/x"', '"workdir": "~"'):
    assert shown in page
  assert json.loads((workdir / 'config.json').read_text()) == paths


def test_videos_are_embedded(workdir):
  page = write(workdir)
  embedded = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
  files = [(workdir / name).read_bytes() for name in ('source.mp4', 'edit.mp4', 'masks/source.mp4')]
  assert [base64.b64decode(data) for data in embedded] == files
  assert '3 frames, 24×16, 8 fps' in text(page)
  assert 'mask: source' in text(page)


def test_nothing_external(workdir):
  page = write(workdir)
  # What the page leads to lies next to it.
  assert set(re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page)) == {
    'config.json', 'edit.mp4', 'metrics.json', 'run.json',
  }  # fmt: skip
  page = re.sub(r'data:[^"]*', '', page)
  assert 'http' not in page
  assert '@import' not in page
  assert 'url(' not in page


def test_everything_is_escaped(workdir):
  (workdir / 'metrics.json').write_text(json.dumps({'<img src=x>': '<i>'}))
  page = write(workdir)
  assert page.count('<script') == 1
  assert '<img' not in page
  assert '<i>' not in page
  assert '<PSNR>' not in page
  # Header and config: the prompt is shown as it is, and the mark in it is not filled in.
  assert page.count('@config@') == 2
  assert PROMPT in text(page)


def test_tags_are_balanced(workdir):
  stack = []

  class Parser(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
      if tag not in ('meta', 'input', 'wbr'):
        stack.append(tag)

    def handle_endtag(self, tag):
      assert stack.pop() == tag

  Parser().feed(write(workdir))
  assert stack == []


def test_values_have_units(workdir):
  shown = text(write(workdir))
  metrics = '31.23 dB', '∞ dB', 'clip_text—', 'ssim0.5'
  run = 'versions.jax0.10.2', 'something_newyes', 'devicescpu:0, cpu:1', 'seed42', 'low <PSNR>'
  amounts = 'compile_seconds.step18.23 s', 'peak_memory_bytes3.00 GiB'
  assert [part for part in metrics + run + amounts if part not in shown] == []


def test_phases_are_drawn_to_scale(workdir):
  bars = re.findall(
    r'<rect x="([\d.]+)%" width="([\d.]+)%" y="[\d.]+" height="([\d.]+)"', write(workdir)
  )
  assert [tuple(map(float, bar)) for bar in bars] == [(0, 25, 60), (25, 75, 30)]


def test_bare_and_broken_runs(tmp_path):
  shown = text(write(tmp_path))
  assert 'No videos were found.' in shown
  assert 'No metrics were recorded.' in shown
  assert 'Warnings' not in shown
  (tmp_path / 'run.json').write_text('{"seed": ')
  (tmp_path / 'edit.mp4').write_bytes(b'half a file')
  page = write(tmp_path)
  assert 'run.json could not be read' in text(page)
  assert base64.b64encode(b'half a file').decode() in page
  assert not [p for p in tmp_path.iterdir() if p.suffix == '.tmp']


def test_missing_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match='workdir is'):
    edit.write_report(tmp_path / 'no')


def test_the_head_says_what_changes_and_what_it_came_to(workdir):
  config = {'source_prompt': 'a red cat', 'target_prompt': 'a blue cat', 'video': '', 'seed': 3}
  (workdir / 'config.json').write_text(json.dumps(config))
  (workdir / 'metrics.json').write_text(json.dumps({'edit_kept_background_psnr_db': 20.0}))
  page = write(workdir)
  assert 'a <del>red</del> cat' in page and 'a <ins>blue</ins> cat' in page
  assert '<li class="bad">The background has changed: 20.0 dB' in page
  head = text(page.split('</h1>')[1].split('<section>')[0])
  assert 'seed 3' in head and 'video ' not in head  # an empty field is left out


def test_measures_stand_in_groups_with_their_source_direction_and_sentence(workdir):
  measures = {'edit_flicker': 0.5, 'source_flicker': 0.25, 'edit_source_ssim': 0.75}
  (workdir / 'metrics.json').write_text(json.dumps(measures))
  page = write(workdir)
  table = page.split('class="measures"')[1].split('</table>')[0]
  assert text(table).index('Is the rest kept?') < text(table).index('Is it steady?')
  assert re.findall('<td>(.*?)</td>', table) == ['0.75', '', '0.5', '0.25']
  assert 'title="mean of |x[t] - (x[t-1] + x[t+1]) / 2|' in table
  arrows = re.findall('class="arrow" title="(.*?)">(.)', table)
  assert arrows == [('more is better', '↑'), ('less is better', '↓')]


def test_the_foot_repeats_the_run_and_leads_to_its_files(workdir):
  (workdir / 'edit.gif').touch()
  foot = write(workdir).split('<footer>')[1]
  assert f'--config=configs/rerun.py:{workdir}/config.json --workdir={workdir}_again' in text(foot)
  for name in ('edit.mp4', 'edit.gif', 'config.json'):
    assert f'href="{name}"' in foot and (workdir / name).exists()


def test_the_facts_of_the_machine_are_folded(workdir):
  run = RUN | {'git_commit': '0123456789ab', 'seconds': {'edit': 3.0}}
  (workdir / 'run.json').write_text(json.dumps(run))
  shown = text(write(workdir))
  assert 'cpu:0, cpu:1, preset release, seed 42, 21 s, commit 01234567' in shown


def test_what_the_verdict_says_is_no_warning_too(workdir):
  measures = {'vae_round_trip_psnr_db': 33.0, 'reconstruction_psnr_db': 20.0}
  (workdir / 'metrics.json').write_text(json.dumps(measures))
  (workdir / 'config.json').write_text(json.dumps({'inversion': {'method': 'ddim'}}))
  (workdir / 'run.json').write_text(json.dumps({'warnings': [distrust(measures, 'ddim')]}))
  shown = text(write(workdir))
  assert 'cannot be trusted' in shown and 'Warnings' not in shown
