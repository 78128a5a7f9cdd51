"""Tables of a set of edits, and LOVEU-TGVE's table as a manifest."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from configs import batch
from experiments import evaluate_set
from experiments.requests.batch import read_batch
from experiments.requests.manifest import read_manifest, sound_lines
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.media import video
from uniedit_jax.metrics.statistics import interval
from uniedit_jax.reports import edit_set

HEADS = (
  'Video name,Our GT caption,Style Change Caption,Object Change Caption,Background Change Caption,'
  'Multiple Changes Caption,Source'
)
TABLE = f"""{HEADS}
DAVIS Videos:,,,,,,
gold-fish,Fish swim.,"Fish swim, oil painting.",Sharks swim.,Fish in space.,Sharks in space.,DAVIS
,,,,,,
Videvo Videos:,,,,,,
swans,Swans  float. ,"Swans float,
 anime.",Ducks float.,Swans on lava.,Ducks on lava.,Videvo
"""


def finish(workdir, name, task, clip, **metrics):
  folder = workdir / 'items' / name
  folder.mkdir(parents=True)
  config = {'task': task, 'video': clip, 'image': '', 'generated': False}
  config |= {'source_prompt': '', 'seed': 0, 'clip': {}}
  (folder / 'config.json').write_text(json.dumps(config))
  (folder / 'metrics.json').write_text(json.dumps(metrics))
  (folder / 'DONE').touch()


@pytest.fixture
def workdir(tmp_path):
  """Two motion edits of two clips, three structure-preserving ones of two, one that failed."""
  folder = tmp_path / 'run'
  source = {'source_flicker': 0.1, 'vae_round_trip_psnr_db': 30.0}
  finish(folder, 'a', 'motion', 'a.mp4', edit_source_ssim=0.1, edit_flicker=0.2, **source)
  finish(folder, 'b', 'motion', 'b.mp4', edit_source_ssim=0.3, edit_flicker=0.4, **source)
  infinite = {'edit_source_psnr_db': float('inf')}
  finish(folder, 'c', 'appearance', 'a.mp4', edit_source_ssim=0.8, edit_flicker=None, **infinite)
  two = {'edit_source_ssim': 1.0, 'edit_2_source_ssim': 0.9, 'edit_flicker': 0.5}
  finish(folder, 'd', 'appearance', 'b.mp4', **two, edit_source_psnr_db=20.0)
  (folder / 'items/e').mkdir()
  (folder / 'items/e/error.json').write_text('{}')
  return folder


def test_tables_of_motion_and_of_structure_preserving_edits(workdir):
  evaluate_set.run(workdir)
  page = (workdir / 'measures.md').read_text()
  assert '4 of 5 edits are finished' in page
  motions = page[page.index('## Motion edits: 2') :]
  motion, appearance = motions.split('## Structure-preserving edits: 2')
  assert '| `flicker` | 0.3 [0.2, 0.4] | 2 | 0.1 [0.1, 0.1] | 2 |' in motion
  assert 'ssim' not in motion and 'Left out' in motion and 'Left out' not in appearance
  assert '| `vae_round_trip_psnr_db` | 30 [30, 30] | 2 |  |  |' in motion
  # The two edits of a clip count as two, and as one when intervals are drawn.
  assert '| `source_ssim` | 0.9 [0.8, 0.95] | 3 |  |  |' in appearance
  assert '| `flicker` | 0.5 | 1 |  |  |' in appearance
  assert '| `source_psnr_db` | 20 | 1 |  |  |' in appearance
  with open(workdir / 'measures.csv') as file:
    rows = list(csv.DictReader(file))
  (ssim,) = [row for row in rows if row['task'] == 'motion' and row['measure'] == 'source_ssim']
  assert (ssim['row'], ssim['n'], ssim['clips']) == ('edit', '2', '2')
  assert float(ssim['mean']) == pytest.approx(0.2)


@pytest.mark.parametrize(
  'name, expected',
  [
    ('edit_source_psnr_db', ('edit', 'source_psnr_db')),
    ('edit_2_flicker', ('edit', 'flicker')),
    ('source_2_clip_frame_accuracy_vitl14', ('source', 'clip_frame_accuracy_vitl14')),
    ('reconstruction_psnr_db', ('edit', 'reconstruction_psnr_db')),
  ],
)
def test_names_of_measures(name, expected):
  assert edit_set.split_measure(name) == expected


def test_intervals_keep_groups_together():
  values = np.random.default_rng(1).normal(size=12)
  mean, low, high = interval(values)
  drawn = values[np.random.default_rng(0).integers(12, size=(2000, 12))].mean(axis=1)
  np.testing.assert_allclose(
    (mean, low, high), (values.mean(), *np.quantile(drawn, (0.025, 0.975)))
  )
  repeated, groups = np.repeat(values, 4), np.repeat(np.arange(12), 4)
  np.testing.assert_allclose(interval(repeated, groups=groups), (mean, low, high))
  narrow = interval(repeated)
  assert narrow[2] - narrow[1] < 0.7 * (high - low)


def test_faults_of_the_command(tmp_path):
  command = [sys.executable, '-m', 'experiments.evaluate_set', f'--workdir={tmp_path}']
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 1 and 'has no items/; accepted' in done.stderr
  assert 'Traceback' not in done.stderr
  (tmp_path / 'items/a').mkdir(parents=True)
  with pytest.raises(ValueError, match='none of 1 edits is finished'):
    evaluate_set.run(tmp_path)


@pytest.fixture
def loveu(tmp_path):
  folder = tmp_path / 'tgve'
  frames = np.zeros((4, 64, 64, 3), np.uint8)
  video.write_mp4(folder / 'DAVIS_480p/480p_videos/gold-fish.mp4', frames, 8)
  video.write_frames(folder / 'videvo_480p/480p_frames/swans', frames)
  (folder / 'LOVEU-TGVE-2023_Dataset.csv').write_text('\ufeff' + TABLE, encoding='utf-8')
  return folder / 'LOVEU-TGVE-2023_Dataset.csv'


def test_the_table_of_loveu_is_a_manifest(loveu):
  lines = read_manifest(loveu)
  assert [line.number for line in lines] == [3] * 4 + [6] * 4
  ids = [line.id for line in lines]
  assert ids[2:5] == ['gold-fish_background', 'gold-fish_multiple', 'swans_style']
  assert lines[0].id == 'gold-fish_style'
  assert lines[0].fields == {
    'video': str(loveu.parent / 'DAVIS_480p/480p_videos/gold-fish.mp4'),
    'task': 'appearance',
    'target_prompt': 'Fish swim, oil painting.',
    'metrics.source_prompt': 'Fish swim.',
  }
  assert lines[4].fields['video'] == str(loveu.parent / 'videvo_480p/480p_frames/swans')
  assert lines[4].fields['target_prompt'] == 'Swans float, anime.'
  assert lines[4].fields['metrics.source_prompt'] == 'Swans float.'


def test_its_edits_are_sound(loveu, tmp_path_factory):
  folder = make_folder(tmp_path_factory)
  config = config_of(batch, folder, video='', target_prompt='', manifest=str(loveu))
  edits = read_batch(config)
  assert len(edits.items) == 8 and not edits.faulty
  requests = [item.edit.request for item in edits.items]
  assert {request.task for request in requests} == {'appearance'}
  assert all(request.source_prompt == '' != request.metrics.source_prompt for request in requests)


def test_faults_of_the_table_have_lines(loveu):
  lines = TABLE.splitlines()
  lines[1] = 'Other Videos:,,,,,,'
  lines[4] = 'gold-fish,Fish.,A.,B.,,D.,DAVIS'
  lines[5] = 'no-file,A.,B.,C.,D.,E.,'
  lines.insert(5, 'Videvo Videos:,,,,,,')
  loveu.write_text('\n'.join(lines))
  with pytest.raises(ValueError) as error:
    sound_lines(loveu)
  faults = str(error.value).splitlines()[1:]
  expected = (
    ('line 2: ', "'Other Videos:'"),
    ('line 3: ', 'is in no folder'),
    ('line 5: ', 'no Background Change'),
    ('line 5: ', 'is in no folder'),
    ('line 7: ', "no video of 'no-file'"),
  )
  for start, part in expected:
    assert [one for one in faults if one.strip(' -').startswith(start) and part in one], faults
  loveu.write_text('Video name,Style\nswans,x\n')
  with pytest.raises(ValueError, match='line 1: heads lack Our GT caption, Style Change Caption'):
    read_manifest(loveu)
