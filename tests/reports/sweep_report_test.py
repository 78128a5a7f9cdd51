"""The page of a sweep: every video in its place, measures plotted against what was swept."""

import itertools
import json
import re

import numpy as np
import pytest

from uniedit_jax.media import video
from uniedit_jax.reports import sweep

ENDS, FIRSTS = ([0, 0], [0, 5], [0, 10]), ([4, 16], [10, 16])


@pytest.fixture
def swept(tmp_path):
  """Rows of a sweep of two fields, and its videos."""
  clip = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
  rows = []
  for i, (end, first) in enumerate(itertools.product(ENDS, FIRSTS)):
    video.write_mp4(tmp_path / f'settings/{i:03d}/edit.mp4', clip, 8)
    config = {
      'structure': {'steps': end},
      'content': {'blocks': first},
      'guided': {'steps': [0, 2 * i]},
      'seed': 0,
    }
    (tmp_path / f'settings/{i:03d}/config.json').write_text(json.dumps(config))
    measures = {'psnr': 20.0 + i, 'ssim': 0.5, 'background': None if i == 0 else 2.0 * i}
    rows.append(
      {'setting': i, 'pass': 0, 'structure.steps': end, 'content.blocks': first, **measures}
    )
  for name in ('source', 'reconstruction'):
    video.write_mp4(tmp_path / f'sources/000/{name}.mp4', clip, 8)
  return tmp_path, rows


def page(folder, rows, fields=('structure.steps', 'content.blocks')):
  sweep.write_sweep(folder, 'a <sweep>', rows, list(fields), {'seconds': {'edit': 1.5}})
  return (folder / 'index.html').read_text(encoding='utf-8')


def test_two_fields_make_a_grid(swept):
  folder, text = swept[0], page(*swept)
  assert text.count('<video') == 2 + 6 and 'a &lt;sweep&gt;' in text
  assert '--columns: 2' in text
  heads = re.findall(r'<div class="head">(.*?)</div>', text)
  assert heads[1:3] == ['content.blocks<br><b>4 to 16</b>', 'content.blocks<br><b>10 to 16</b>']
  shown = 'off', '0 to 5', '0 to 10'
  assert heads[3:] == [f'structure.steps<br><b>{value}</b>' for value in shown]
  assert re.findall(r'<b>setting (\d)</b>', text) == list('012345')
  found = json.loads(re.search(r'id="values">(.*?)</script>', text)[1])
  assert found['psnr']['values'] == {f'{i}': 20.0 + i for i in range(6)}
  assert found['background']['values']['0'] is None and found['psnr']['shown']['3'] == '23'
  # A measure that is the same in all settings is not plotted.
  assert 'The same in all settings: ssim 0.5.' in text and 'ssim' not in found
  assert text.count('<svg') == 2 and '&#34;edit&#34;: 1.5' in text
  # Each dot leads to its clip, and each clip to what repeats it.
  dots = re.findall(r'<a href="#(setting-\d)"><circle', text)
  assert sorted(dots) == sorted(
    [f'setting-{i}' for i in range(6)] + [f'setting-{i}' for i in range(1, 6)]
  )
  assert all(f'id="setting-{i}"' in text for i in range(6))
  assert all((folder / at).exists() for at in re.findall(r'href="(settings/.*?)"', text))


def test_fields_that_differ_are_shown_whether_swept_or_not(swept):
  table = re.search('<table class="differences">.*?</table>', page(*swept), re.DOTALL)[0]
  fields = [re.findall('<t[hd]>(.*?)</t', line) for line in re.findall('<tr>(.*?)</tr>', table)]
  assert fields[0] == ['setting', *'012345']
  assert [line[0] for line in fields[1:]] == ['structure.steps', 'content.blocks', 'guided.steps']
  assert fields[3][1:4] == ['off', '0 to 2', '0 to 4']


def test_a_swept_field_with_one_value_is_not_repeated(swept):
  folder, rows = swept
  rows = [{'content.tensors': ['k', 'v'], **row} for row in rows]
  text = page(folder, rows, ['content.tensors', 'structure.steps', 'content.blocks'])
  assert 'content.tensors' not in text and '--columns: 2' in text


def test_other_sweeps_are_a_list_that_names_the_values(swept):
  folder, rows = swept
  text = page(folder, rows[:5])
  assert '<b>structure.steps 0 to 5, content.blocks 10 to 16</b>' in text
  assert '--columns:' not in text
  without = lambda row: {key: value for key, value in row.items() if key != 'content.blocks'}
  one_field = [without(row) for row in rows[::2]]
  assert '<b>structure.steps 0 to 10</b>' in page(folder, one_field, ['structure.steps'])


def test_sources_of_several_passes_are_distinguished(swept):
  folder, rows = swept
  video.write_mp4(folder / 'sources/001/source.mp4', np.zeros((2, 16, 16, 3), np.uint8), 8)
  text = page(folder, [*rows[:3], {**rows[3], 'pass': 1}])
  assert 'source of pass 001' in text and 'reconstruction of pass 000' in text
  (folder / 'sources/001/source.mp4').write_bytes((folder / 'sources/000/source.mp4').read_bytes())
  text = page(folder, [*rows[:3], {**rows[3], 'pass': 1}])
  assert 'of pass' not in text and text.count('<b>source</b>') == 1


@pytest.mark.parametrize(
  'values, places, labels',
  [
    ([[0, 5], [0, 10]], [5, 10], None),
    ([[4, 25], [9, 25]], [4, 9], None),
    ([[0, 0]], [0], None),
    ([[0, 0], [4, 25], [0, 0]], [0, 1, 0], ['off', '4 to 25']),
    ([7.5, 3], [7.5, 3], None),
    (['paper', 'release'], [0, 1], ['paper', 'release']),
    ([True, False], [0, 1], ['True', 'False']),
    ([['k', 'v'], ['v']], [0, 1], ["['k', 'v']", "['v']"]),
  ],
)
def test_places_on_an_axis(values, places, labels):
  found, found_labels = sweep.place_on_axis(values)
  assert found.tolist() == places and found_labels == labels


def test_lines_of_a_plot(swept):
  _, rows = swept
  seeds = [{**row, 'seed': seed, 'psnr': row['psnr'] + seed} for row in rows for seed in (0, 2)]
  chart = sweep._chart(seeds, ['structure.steps', 'content.blocks', 'seed'], 'psnr')
  assert [line.label for line in chart.lines] == [
    'content.blocks 4 to 16',
    'content.blocks 10 to 16',
  ]
  first = chart.lines[0]
  # Three ends, each with a mean of two seeds, an interval, and a dot for each seed.
  assert len(first.path.split()) == len(first.bars) == 3 and len(first.dots) == 6
  (x, high, low), (dot, other) = first.bars[0], first.dots[:2]
  assert {dot[:2], other[:2]} == {(x, high), (x, low)} and dot[2] == 'setting-0'


def test_measures_have_their_direction_and_their_sentence(swept):
  folder, rows = swept
  text = page(folder, [row | {'edit_flicker': row['psnr']} for row in rows])
  assert 'title="mean of |x[t] - (x[t-1] + x[t+1]) / 2|' in text
  found = json.loads(re.search(r'id="values">(.*?)</script>', text)[1])
  assert (found['edit_flicker']['better'], found['psnr']['better']) == (-1, 0)
  # What the page asks first has a better direction.
  assert '<option value="edit_flicker" selected>edit_flicker ↓' in text


def test_prompts_and_preset_stand_on_the_page(swept):
  folder, rows = swept
  for i in range(6):
    path = folder / f'settings/{i:03d}/config.json'
    more = {'source_prompt': 'a cat', 'target_prompt': 'a <dog>', 'preset': 'paper'}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
  text = page(folder, rows)
  assert '<del>cat</del>' in text and '<ins>&lt;dog&gt;</ins>' in text and 'preset paper' in text
