"""The command that measures attention maps, with the shipped model and with planted maps."""

import csv
import itertools
import json

import numpy as np
import pytest

from configs import sprites_evidence
from experiments import evidence as entry
from uniedit_jax.runtime.workdir import begin
from uniedit_jax.sprites import attention_evidence
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scoring import SPLITS

GRIDS = CONFIG.unet.grids(8, 8)
SIGNS = {'13': 1.0, '14': -1.0}


def config_of(folder, **changes):
  config = sprites_evidence.get_config('quick')
  config.update({'cache': str(folder / 'cache'), **changes})
  return config


def run(config, workdir):
  """The rows of results.csv by (kind, block, timestep)."""
  request = entry.read_evidence(config)
  assert begin(workdir, entry.resolve_evidence(request))
  entry.run(request, workdir)
  with open(workdir / 'results.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  return {(row['kind'], int(row['block']), int(row['timestep'])): row for row in rows}


def test_the_shipped_model_has_layout_and_motion_in_its_maps(tmp_path):
  rows = run(config_of(tmp_path, timesteps=(921, 121)), tmp_path / 'run')
  mean = {key: float(row['mean']) for key, row in rows.items()}
  assert mean['spatial', 14, 121] > 0.85 and mean['temporal', 13, 121] > 0.6
  assert mean['spatial', 15, 921] < 0.6 < 0.75 < mean['spatial', 15, 121]  # noise hides it
  assert rows['spatial', 14, 121]['clips'] == '8' and next(iter(rows))[2] == 121
  assert {block for _, block, _ in rows} <= {0, 1, 2, 3, 10, 11, 12, 13, 14, 15}
  assert (tmp_path / 'run/table.md').exists()
  assert (tmp_path / 'run/evidence.png').stat().st_size > 10_000
  page = (tmp_path / 'run/index.html').read_text()
  assert page.count('<svg') == 2 and page.count('<polyline') == 4 and 't = 121' in page
  assert json.loads((tmp_path / 'run/run.json').read_text())['clips'] == 8


def test_planted_maps_are_read_with_the_states_of_their_clip(tmp_path, monkeypatch):
  config, seen = config_of(tmp_path, timesteps=(121, 921)), []
  clips = itertools.cycle(attention_evidence.draw_scenes(SPLITS['validation'], config.per_motion))

  def planted(apply, params, latents, timestep, text, taps):
    seen.append(latents)
    masks, found = render(next(clips)).masks, {}
    for tap in taps:
      block, kind = tap.split('/')
      shown = attention_evidence.states(masks, GRIDS[int(block)], config.clear)
      shown = shown.T if kind == 'temporal_map' else shown
      found[tap] = SIGNS.get(block, 0) * (shown[:, :, None] * shown[:, None] == 1)
    return found

  monkeypatch.setattr(entry, 'read_maps', planted)
  rows = run(config, tmp_path / 'planted')
  for kind, timestep in itertools.product(attention_evidence.KINDS, config.timesteps):
    assert (rows[kind, 13, timestep]['mean'], rows[kind, 14, timestep]['mean']) == ('1.0', '0.0')
  # Without its signal, the difference of two noise levels is the clip's noise.
  alphas = CONFIG.schedule.alphas_cumprod[[121, 921]]
  signal, noise = np.sqrt(alphas), np.sqrt(1 - alphas)
  left = (seen[0] / signal[0] - seen[8] / signal[1]) / (noise[0] / signal[0] - noise[1] / signal[1])
  drawn = np.random.default_rng([0, 0]).standard_normal(left.shape, np.float32)
  np.testing.assert_allclose(left, drawn, atol=1e-4)


def test_faults_are_listed_together_before_anything_is_loaded(tmp_path):
  changes = {'split': 'test', 'source_prompt': '', 'seed': -1, 'per_motion': 0, 'clear': 0.5}
  with pytest.raises(ValueError) as caught:
    entry.read_evidence(config_of(tmp_path, timesteps=(1000,), dtype='f32', **changes))
  expected = "split is 'test'", "source_prompt is ''", 'seed is -1', 'per_motion is 0'
  expected += 'clear is 0.5; accepted', 'timesteps is (1000,); accepted: some of 0 to 999'
  expected += ("dtype is 'f32'",)
  assert [fault for fault in expected if fault not in str(caught.value)] == []
  for given in ((), (0.5,)):
    with pytest.raises(ValueError, match='timesteps is'):
      entry.read_evidence(config_of(tmp_path, timesteps=given))
  with pytest.raises(ValueError, match="no checkpoint at '/nowhere'"):
    entry.read_evidence(config_of(tmp_path, checkpoint='/nowhere'))
