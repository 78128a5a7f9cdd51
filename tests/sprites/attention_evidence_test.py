"""The evidence in attention maps, on maps whose answer is known."""

import collections

import numpy as np
import pytest

from uniedit_jax.sprites import attention_evidence, attention_evidence_report
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES

GRIDS = [(8, 8), (4, 4), (2, 2), (1, 1), (8, 8)]
CLEAR = 0.75


@pytest.fixture(scope='module')
def masks():
  scenes = attention_evidence.draw_scenes(seed=1, per_motion=3)
  return np.stack([render(scene).masks for scene in scenes])


def same(shown):
  """1 where query and key have the same label, f32[..., N, N], for `states` i8[..., N]."""
  return (shown[..., :, None] * shown[..., None, :] == 1).astype(np.float32)


def maps_of(masks, make):
  """Maps of all blocks: `make` of states i8[clips, G, N] and positions i64[N, dimensions]."""
  maps = {}
  for block, grid in enumerate(GRIDS):
    shown = attention_evidence.states(masks, grid, CLEAR)
    maps[f'{block}/spatial_map'] = make(shown, np.argwhere(np.ones(grid)))
    maps[f'{block}/temporal_map'] = make(shown.swapaxes(1, 2), np.arange(masks.shape[1])[:, None])
  return maps


def measured(masks, make):
  rows = attention_evidence.measure_blocks(maps_of(masks, make), masks, GRIDS, CLEAR)
  fine = {(kind, block) for kind in attention_evidence.KINDS for block in (0, 4)}
  assert {(row['kind'], row['block']) for row in rows} >= fine
  return rows


def test_as_many_scenes_of_every_motion():
  scenes, again, others = (attention_evidence.draw_scenes(seed, 2) for seed in (3, 3, 4))
  motions = collections.Counter(scene.motion for scene in scenes)
  assert motions == dict.fromkeys(ATTRIBUTES['motion'], 2)
  assert scenes == again != others
  assert not any(scene.held_out for scene in scenes)


def test_a_cell_is_clearly_object_or_background_or_neither():
  mask = np.zeros((1, 8, 8), bool)
  # The object covers 100, 75, 50 and 25 % of the cells.
  mask[0, :4, :4] = mask[0, :3, 4:] = mask[0, 4:6, :4] = mask[0, 4, 4:] = True
  assert attention_evidence.states(mask, (2, 2), 0.75).tolist() == [[1, 1, 0, -1]]
  assert attention_evidence.states(mask, (2, 2), 0.8).tolist() == [[1, 0, 0, 0]]


def test_keys_equally_far_from_a_query():
  assert attention_evidence.equidistant(np.arange(4)[:, None]).T.tolist() == [[1, 0, 2], [2, 1, 3]]
  square = attention_evidence.equidistant(np.argwhere(np.ones((2, 2)))).T.tolist()
  assert square == [[0, 1, 2], [1, 0, 3], [2, 0, 3], [3, 1, 2]]


def test_auc_by_hand():
  triples = attention_evidence.equidistant(np.arange(4)[:, None])
  # Query 1 is object and has the keys 0 and 2; query 2 is background and has 1 and 3.
  shown = np.int8([[1, 1, -1, -1]])
  attention = np.zeros((1, 4, 4))
  assert attention_evidence.auc(attention, shown, triples) == 0.5
  attention[0, 1, 0] = 1
  assert attention_evidence.auc(attention, shown, triples) == 0.75
  attention[0, 2, 1] = 1
  assert attention_evidence.auc(attention, shown, triples) == 0.5
  # Columns are keys.
  assert attention_evidence.auc(attention.swapaxes(1, 2), shown, triples) == 0.25
  attention[0, 1, 0] = 0
  assert attention_evidence.auc(attention, shown, triples) == 0.25
  # No background query has keys with different labels.
  assert attention_evidence.auc(attention, np.int8([[1, 1, -1, 0]]), triples) is None


def test_perfect_maps_and_their_opposite(masks):
  for row in measured(masks, lambda shown, _: same(shown)):
    assert (row['mean'], row['low'], row['high']) == (1, 1, 1)
    assert abs(row['control'] - 0.5) < 0.1
  for row in measured(masks, lambda shown, _: -same(shown)):
    assert row['mean'] == 0


def test_what_is_like_in_all_clips_is_no_evidence(masks):
  rng = np.random.default_rng(0)

  def of_position(shown, positions):
    maps = rng.normal(size=(1, *shown.shape[1:], len(positions)))
    # In float32, equal maps differ by rounding.
    return maps + 1e-7 * rng.normal(size=(len(shown), *maps.shape[1:]))

  assert {row['mean'] for row in measured(masks, of_position)} == {0.5}


def test_a_reach_that_differs_from_clip_to_clip_is_no_evidence(masks):
  def near(shown, positions):
    squared = ((positions[:, None] - positions) ** 2).sum(-1)
    reach = np.linspace(0.5, 2, len(shown))[:, None, None, None]
    return np.broadcast_to(-squared / reach, (*shown.shape, len(positions)))

  assert {row['mean'] for row in measured(masks, near)} == {0.5}


def test_keys_that_all_queries_look_at_are_no_evidence(masks):
  def salient(shown, _):
    return np.repeat(1.0 * (shown[..., None, :] == attention_evidence.OBJECT), shown.shape[-1], -2)

  assert {row['mean'] for row in measured(masks, salient)} == {0.5}


def test_noise_is_no_evidence(masks):
  rng = np.random.default_rng(0)
  rows = measured(masks, lambda shown, _: rng.normal(size=(*shown.shape, shown.shape[-1])))
  fine = [row for row in rows if row['grid'] == '8x8']
  assert all(abs(row['mean'] - 0.5) < 0.06 and abs(row['control'] - 0.5) < 0.04 for row in fine)


def test_weak_evidence_is_found_and_its_interval_holds_it(masks):
  rng = np.random.default_rng(0)
  noisy = lambda shown, _: same(shown) + rng.normal(size=(*shown.shape, shown.shape[-1]))
  for row in measured(masks, noisy):
    assert row['low'] < row['mean'] < row['high'] and 0.6 < row['mean'] < 0.85
    assert row['low'] > max(row['control'], 0.5)


def test_grids_too_coarse_and_too_few_clips_are_left_out(masks):
  rows = measured(masks, lambda shown, _: same(shown))
  assert not {row['grid'] for row in rows} & {'2x2', '1x1'}
  moving = [row['clips'] for row in rows if (row['kind'], row['block']) == ('temporal', 0)]
  layout = [row['clips'] for row in rows if (row['kind'], row['block']) == ('spatial', 0)]
  # Nothing enters or leaves a place where the object stands still.
  assert moving[0] < layout[0] == len(masks)
  few = maps_of(masks[:2], lambda shown, _: same(shown))
  assert attention_evidence.measure_blocks(few, masks[:2], GRIDS, CLEAR) == []


def test_the_table_and_the_picture(masks, tmp_path):
  rows = measured(masks, lambda shown, _: same(shown))
  at = lambda t, row: {'timestep': t, 'signal': 0.5, **row, 'mean': row['mean'] - t / 1000}
  rows = [at(t, row) for t in (100, 500) for row in rows]
  attention_evidence_report.write_table(tmp_path / 'table.md', rows)
  lines = (tmp_path / 'table.md').read_text().splitlines()
  assert lines[0] == '| kind | block | grid | clips | t = 100 | t = 500 | other clips |'
  assert lines[2].startswith('| temporal | 0 | 8x8 | ') and '| 0.9 | 0.5 |' in lines[2]
  assert len(lines) == 2 + len(rows) // 2
  attention_evidence_report.plot(tmp_path / 'evidence.png', rows, GRIDS)
  assert (tmp_path / 'evidence.png').stat().st_size > 10_000
