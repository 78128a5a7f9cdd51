"""Words to token positions, maps to masks, and the search on a model whose attention is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.plans import plan_of
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.injection import Injections
from uniedit_jax.method.sampling import Conditioning, Network, Sampler
from uniedit_jax.models.tokenizers import WordTokenizer, word_positions
from uniedit_jax.models.unet import UNetConfig
from uniedit_jax.pipeline import found_masks
from uniedit_jax.pipeline.found_masks import MapOptions, Search, find_masks, to_mask
from uniedit_jax.sprites.model import CONFIG
from uniedit_jax.sprites.scenes import vocabulary

TOKENIZER = WordTokenizer(vocabulary(), CONFIG.text)
PROMPT = 'a big red square moving right in the middle on grass, photo'
GRIDS = UNetConfig().grids(40, 64)


def test_words_are_found_with_all_their_tokens():
  assert word_positions(TOKENIZER, PROMPT, ['square']) == [4]
  assert word_positions(TOKENIZER, PROMPT, ['square', 'moving right']) == [4, 5, 6]
  assert word_positions(TOKENIZER, PROMPT, ['in the middle', 'the']) == [7, 8, 9]
  for words, message in (
    (['blue'], "'blue' is not in the prompt"),
    (['right moving'], 'is not in'),
    ([], 'no words'),
  ):
    with pytest.raises(ValueError, match=message):
      word_positions(TOKENIZER, PROMPT, words)


def test_the_words_that_differ():
  assert found_masks.differing_words('A red square, jumping', 'a red square moving') == ['jumping']
  assert found_masks.differing_words('a cat', '') == ['a', 'cat']


def test_default_blocks_are_the_finest_of_few_tokens():
  assert found_masks.default_blocks(GRIDS) == (4, 5, 7, 8, 9)  # 10 x 16, as in the paper
  assert found_masks.default_blocks(CONFIG.unet.grids(8, 8)) == (0, 1, 13, 14, 15)
  assert found_masks.default_blocks([(64, 64), (32, 32)]) == (1,)  # none is small enough


def test_options_are_checked():
  assert not MapOptions((4, 5)).faults(GRIDS)
  faults = ' '.join(MapOptions((0, 4), 1.5, -1.0).faults(GRIDS))
  for fault in (
    'of the grids [(10, 16), (40, 64)]; accepted: blocks of one grid',
    'threshold is 1.5',
    'smoothing is -1.0',
  ):
    assert fault in faults
  assert 'mask.blocks is (16,); accepted: some of 0 to 15' in MapOptions((16,)).faults(GRIDS)[0]
  assert 'accepted: some of' in MapOptions(()).faults(GRIDS)[0]


def test_a_mask_is_where_the_map_is_high():
  maps = np.full((2, 4, 4), 0.01, np.float32)
  maps[0, 1:3, 1:3] = maps[1, 1:3, 2:4] = 0.03
  mask = to_mask(maps, 32, 32, MapOptions(threshold=0.5, smoothing=0.0))
  expected = np.zeros((2, 32, 32), bool)
  expected[0, 8:24, 8:24] = expected[1, 8:24, 16:32] = True
  assert mask.shape == (2, 32, 32) and mask.dtype == bool
  assert (mask != expected).mean() < 0.03  # its corners are round
  assert not to_mask(maps, 32, 32, MapOptions(threshold=0.999)).all()
  wider = to_mask(maps, 32, 32, MapOptions(threshold=0.2, smoothing=0.0))
  assert wider.sum() > mask.sum() and (wider | ~mask).all()
  lone = np.zeros((1, 9, 9), np.float32)
  lone[0, 1:5, 1:5] = lone[0, 7, 7] = 1
  shown = lambda smoothing: to_mask(lone, 9, 9, MapOptions(smoothing=smoothing))[
    0, [2, 7], [2, 7]
  ].tolist()
  assert (shown(0.0), shown(1.0)) == ([True, True], [True, False])


def test_a_search_looks_at_the_branches_and_the_words_asked_for():
  """A model whose tokens attend to word 1 where its latents are high."""
  steps, shape = 3, (2, 4, 4, 1)
  seen, moved = [], np.zeros(shape, np.float32)
  moved[:, 3, 3] = 1  # where the target's prompt makes latents high

  def apply(variables, latents, timestep, text, routes, masks, taps=()):
    if not taps:
      return -20 * text.mean() * moved, {}
    seen.append(taps)
    high = latents.reshape(1, 2, 16)
    attention = jnp.stack([0 * high, high, 1 - high], axis=-1)
    return None, {name: attention for name in taps}

  start = np.zeros(shape, np.float32)
  start[0, 1, 1], start[1, 2, 2] = 1, 1
  texts = np.stack([np.full((3, 2), value, np.float32) for value in (0, 0, 1)])
  plan = plan_of(
    'motion',
    [Injections()],
    steps,
    blocks=1,
    source=0,
    targets=[2],
    wanted=('reconstruction', 'motion'),
  )
  search = Search(plan, {'source': (1, [1]), 'target': (2, [1])}, MapOptions((0,), smoothing=0.0))
  network, sampler = Network(apply, {'w': np.zeros(1)}), Sampler(NoiseSchedule(), steps)

  def find(search, trajectory):
    conditioning = Conditioning(texts, trajectory=trajectory)
    options = {'window': None, 'progress': lambda label: iter}
    maps = find_masks(network, network, search, [(4, 4)], sampler, conditioning, **options)
    return {side: to_mask(found, 4, 4, search.options) for side, found in maps.items()}

  found = find(search, np.stack([start] * (steps + 1)))
  assert set(found) == {'source', 'target'}
  np.testing.assert_array_equal(found['source'], start[..., 0] > 0)
  np.testing.assert_array_equal(found['target'], moved[..., 0] > 0)

  # z_0 is not looked at
  trajectory = np.stack([start] * steps + [np.zeros(shape, np.float32)])[::-1]
  stored = find(Search(None, {'source': (1, [1])}, search.options), trajectory)
  assert set(stored) == {'source'}
  np.testing.assert_array_equal(stored['source'], start[..., 0] > 0)
  assert seen and set(seen) == {('0/text_map',)}
