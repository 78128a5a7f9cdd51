"""Whether attention maps carry motion and layout (UniEdit, section 4), measured where both are
known.

SA-T at a place sees the same place in all frames; SA-S in a frame sees all places. The claim is
that a query looks at keys that show the same thing, here: object or background. Attention also
depends on where a key is, which is no news of the clip. Two things remove it: the mean over the
other clips is subtracted from the logarithm of a map, and a query's keys are compared only if they
are equally far from it. That a key is looked at by all queries counts for nothing either, as
queries of object and of background have the same weight.
"""

import numpy as np

from uniedit_jax.metrics import statistics
from uniedit_jax.sprites import data
from uniedit_jax.sprites.scenes import ATTRIBUTES, random_scene

KINDS = ('temporal', 'spatial')
OBJECT, BACKGROUND = 1, -1
CONTROLS = 4  # other clips whose states a clip's maps are read with
LEAST_CLIPS = 3
RESOLUTION = 5  # decimals of a log-probability that float32 holds: what differs by less is equal


def draw_scenes(seed, per_motion):
  """Draws scenes, as many of every motion, of the combinations that are trained on.

  Args:
    seed: int; another seed gives other scenes.
    per_motion: int.

  Returns:
    list of `Scene`, the motions in random order.
  """
  rng = np.random.default_rng([seed, 1])  # the seed alone would draw the scenes of the edits
  left = dict.fromkeys(ATTRIBUTES['motion'], per_motion)
  scenes = []
  while any(left.values()):
    scene = random_scene(rng)
    if left[scene.motion]:
      left[scene.motion] -= 1
      scenes.append(scene)
  return scenes


def states(masks, grid, clear):
  """What every cell of a grid shows.

  Args:
    masks: bool[..., H, W] of the object, in pixels.
    grid: (height, width).
    clear: share of a cell in (0.5, 1] that must be covered by the object, or free of it.

  Returns:
    i8[..., N]: `OBJECT`, `BACKGROUND`, or 0 for a cell that is not clearly one of them.
  """
  covered = data.cover(masks, *grid)
  found = OBJECT * (covered >= clear) + BACKGROUND * (covered <= 1 - clear)
  return found.astype(np.int8).reshape(*found.shape[:-2], -1)


def equidistant(positions):
  """All (query, key, other key) of which both keys are equally far from the query: i64[3, P].

  Args:
    positions: int[N, dimensions] of the tokens.
  """
  positions = np.asarray(positions)
  squared = ((positions[:, None] - positions) ** 2).sum(-1)
  once = np.triu(np.ones_like(squared, bool), 1)
  return np.stack(np.nonzero((squared[:, :, None] == squared[:, None, :]) & once))


def auc(maps, shown, triples):
  """How often a query attends more to the one of two equally far keys that shows what the query
  shows.

  Args:
    maps: f[G, N, N], query times key, attention less what is expected of it; G frames (SA-S) or
      places (SA-T).
    shown: i8[G, N], `states`.
    triples: i[3, P], `equidistant`.

  Returns:
    0 to 1, 0.5 is chance and a tie counts half: the mean of the rates of object and of background
    queries; or None where one of these has no such keys.
  """
  query, key, other = triples
  side = shown[:, query]
  counted = shown[:, key] * shown[:, other] == OBJECT * BACKGROUND
  lead = np.sign(maps[:, query, key] - maps[:, query, other]) * shown[:, key] * side
  rates = [lead[counted & (side == value)] for value in (OBJECT, BACKGROUND)]
  return float(np.mean([(1 + rate.mean()) / 2 for rate in rates])) if all(map(len, rates)) else None


def measure(maps, shown, triples):
  """The statistics of a block's maps at one noise level.

  Args:
    maps: f32[clips, G, N, N], log-probabilities.
    shown: i8[clips, G, N].
    triples: i[3, P].

  Returns:
    {'clips' (those that have an AUC), 'mean', 'low', 'high' (95 % of bootstrapped means over
    clips), 'control' (the mean with the states of other clips)}, or None with fewer than
    `LEAST_CLIPS` of them.
  """
  count, total = len(maps), maps.sum(0, dtype=np.float64)

  def rates(shift):
    """The AUC of every clip that has one, with the states of the clip `shift` before it."""
    for clip, lent in enumerate(np.roll(np.arange(count), shift)):
      # a clip in the expectation would vouch against its own states
      involved = sorted({clip, int(lent)})
      expected = (total - maps[involved].sum(0, dtype=np.float64)) / (count - len(involved))
      if (
        rate := auc(np.round(maps[clip] - expected, RESOLUTION), shown[lent], triples)
      ) is not None:
        yield rate

  if count < LEAST_CLIPS or len(found := list(rates(0))) < LEAST_CLIPS:
    return None
  control = [rate for shift in range(1, min(1 + CONTROLS, count)) for rate in rates(shift)]
  mean, low, high = statistics.interval(found)
  figures = {'mean': mean, 'low': low, 'high': high, 'control': np.mean(control)}
  return {'clips': len(found), **{name: round(float(value), 4) for name, value in figures.items()}}


def measure_blocks(maps, masks, grids, clear):
  """`measure` of all blocks in which something can be measured.

  Args:
    maps: dict {'<block>/spatial_map': f32[clips, F, N, N], '<block>/temporal_map': f32[clips, N, F,
      F]}.
    masks: bool[clips, F, H, W].
    grids: the (H, W) of every block.
    clear: as in `states`.

  Returns:
    list of dicts with 'kind' (of `KINDS`), 'block', 'grid' and what `measure` says. Left out are
    blocks whose cells are too coarse to be clearly object or background.
  """
  rows = []
  for kind in KINDS:
    for block, grid in enumerate(grids):
      shown = states(masks, grid, clear)
      positions = np.argwhere(np.ones(grid))
      if kind == 'temporal':
        shown, positions = shown.swapaxes(1, 2), np.arange(masks.shape[1])[:, None]
      if found := measure(maps[f'{block}/{kind}_map'], shown, equidistant(positions)):
        rows.append({'kind': kind, 'block': block, 'grid': 'x'.join(map(str, grid)), **found})
  return rows
