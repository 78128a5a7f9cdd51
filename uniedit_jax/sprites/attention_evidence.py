"""Measures whether attention maps carry motion and layout (UniEdit, section 4), on rendered clips.

SA-T attends from one place to the same place in all frames, SA-S from one place to all places of
its frame. The claim is that a query attends to keys that show the same thing: object or background.
Attention also depends on where a key lies, whatever the clip shows. Two steps remove this: the mean
over the other clips is subtracted from the logarithm of a map, and a query's keys are compared only
at equal distance from it. A key that all queries attend to does not count either, since object
queries and background queries have the same weight.
"""

import numpy as np

from uniedit_jax.metrics import statistics
from uniedit_jax.sprites import data
from uniedit_jax.sprites.scenes import ATTRIBUTES, random_scene

KINDS = ('temporal', 'spatial')
OBJECT, BACKGROUND = 1, -1
CONTROLS = 4  # other clips whose states a clip's maps are compared with
LEAST_CLIPS = 3
RESOLUTION = 5  # decimals of a log-probability in float32; smaller differences count as ties


def draw_scenes(seed, per_motion):
  """Draws `per_motion` scenes of every motion from the trained combinations.

  Returns:
    list of `Scene`, the motions in random order.
  """
  # The seed alone would draw the scenes of the edits.
  rng = np.random.default_rng([seed, 1])
  left = dict.fromkeys(ATTRIBUTES['motion'], per_motion)
  scenes = []
  while any(left.values()):
    scene = random_scene(rng)
    if left[scene.motion]:
      left[scene.motion] -= 1
      scenes.append(scene)
  return scenes


def states(masks, grid, clear):
  """Labels every cell of a grid as object or background.

  Args:
    masks: bool[..., H, W] of the object, in pixels.
    grid: (height, width).
    clear: share of a cell in (0.5, 1] that must be covered by the object, or free of it.

  Returns:
    i8[..., N]: `OBJECT`, `BACKGROUND`, or 0 for a cell that is not clearly one of them.
  """
  covered = data.cover(masks, *grid)
  labels = OBJECT * (covered >= clear) + BACKGROUND * (covered <= 1 - clear)
  return labels.astype(np.int8).reshape(*labels.shape[:-2], -1)


def equidistant(positions):
  """All (query, key, other key) with both keys equally far from the query, i64[3, P].

  Args:
    positions: int[N, dimensions] of the tokens.
  """
  positions = np.asarray(positions)
  squared = ((positions[:, None] - positions) ** 2).sum(-1)
  once = np.triu(np.ones_like(squared, bool), 1)
  return np.stack(np.nonzero((squared[:, :, None] == squared[:, None, :]) & once))


def auc(maps, shown, triples):
  """How often a query prefers the key with its own label to another one at the same distance.

  Args:
    maps: f[G, N, N], query times key, attention minus its expectation; G frames (SA-S) or places
      (SA-T).
    shown: i8[G, N], `states`.
    triples: i[3, P], `equidistant`.

  Returns:
    The mean of the rates of object queries and of background queries, where a tie counts half and
    0.5 is chance; None if either has no pair of keys with different labels.
  """
  query, key, other = triples
  side = shown[:, query]
  counted = shown[:, key] * shown[:, other] == OBJECT * BACKGROUND
  lead = np.sign(maps[:, query, key] - maps[:, query, other]) * shown[:, key] * side
  rates = [lead[counted & (side == value)] for value in (OBJECT, BACKGROUND)]
  return float(np.mean([(1 + rate.mean()) / 2 for rate in rates])) if all(map(len, rates)) else None


def measure(maps, shown, triples):
  """Computes the AUC statistics of a block's maps at one noise level.

  Args:
    maps: f32[clips, G, N, N], log-probabilities.
    shown: i8[clips, G, N].
    triples: i[3, P].

  Returns:
    {'clips' (those that have an AUC), 'mean', 'low', 'high' (95 % of bootstrapped means over
    clips), 'control' (the mean with the states of other clips)}, or None if fewer than
    `LEAST_CLIPS` clips have an AUC.
  """
  count, total = len(maps), maps.sum(0, dtype=np.float64)

  def rates(shift):
    """The AUC of every clip that has one, with the states of the clip `shift` before it."""
    for clip, lender in enumerate(np.roll(np.arange(count), shift)):
      # The expectation leaves out the clip and the lender of its states: subtracting a clip's own
      # maps would bias its AUC.
      left_out = sorted({clip, int(lender)})
      expected = (total - maps[left_out].sum(0, dtype=np.float64)) / (count - len(left_out))
      rate = auc(np.round(maps[clip] - expected, RESOLUTION), shown[lender], triples)
      if rate is not None:
        yield rate

  if count < LEAST_CLIPS or len(own := list(rates(0))) < LEAST_CLIPS:
    return None
  control = [rate for shift in range(1, min(1 + CONTROLS, count)) for rate in rates(shift)]
  mean, low, high = statistics.interval(own)
  figures = {'mean': mean, 'low': low, 'high': high, 'control': np.mean(control)}
  return {'clips': len(own)} | {name: round(float(value), 4) for name, value in figures.items()}


def measure_blocks(maps, masks, grids, clear):
  """Applies `measure` to every block whose cells are fine enough to be object or background.

  Args:
    maps: {'<block>/spatial_map': f32[clips, F, N, N], '<block>/temporal_map': f32[clips, N, F, F]}.
    masks: bool[clips, F, H, W].
    grids: the (H, W) of every block.
    clear: as in `states`.

  Returns:
    list of dicts: 'kind' (of `KINDS`), 'block', 'grid', and the entries of `measure`.
  """
  rows = []
  for kind in KINDS:
    for block, grid in enumerate(grids):
      shown = states(masks, grid, clear)
      positions = np.argwhere(np.ones(grid))
      if kind == 'temporal':
        shown, positions = shown.swapaxes(1, 2), np.arange(masks.shape[1])[:, None]
      if figures := measure(maps[f'{block}/{kind}_map'], shown, equidistant(positions)):
        rows.append({'kind': kind, 'block': block, 'grid': 'x'.join(map(str, grid)), **figures})
  return rows
