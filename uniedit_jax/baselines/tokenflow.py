"""TokenFlow (Geyer et al. 2023) with Plug-and-Play: frames copy the tokens of edited keyframes.

In every step one frame of each segment is drawn. These keyframes attend to each other; in every
block, each token of any frame then copies the attention output of the keyframe token that is its
nearest in the source. Frames of the image model do not interact elsewhere, so the keyframes are
further frames of the same row, and no second pass is needed.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from uniedit_jax.baselines import plug_and_play
from uniedit_jax.baselines.method import invert, own_routes, plan_of_rows
from uniedit_jax.baselines.overrides import ComparisonOverride, Flow
from uniedit_jax.method.overrides import Source
from uniedit_jax.method.sampling import Conditioning, Network
from uniedit_jax.pipeline.model import unet_apply


@dataclasses.dataclass(frozen=True)
class TokenFlow(plug_and_play.Shares):
  """The method and its options.

  Attributes:
    segment: frames of a segment, one of which is the keyframe.
    negative_prompt: the text of the unconditional half.
  """

  segment: int = 4
  negative_prompt: str = 'ugly, blurry, low res, unrealistic, unaesthetic'

  def faults(self, setup):
    faults = super().faults(setup)
    if self.segment < 1 or setup.frames % self.segment:
      faults.append(
        f'baseline.segment is {self.segment}; accepted: a divisor of the {setup.frames} frames'
      )
    return faults

  def plan(self, setup):
    """Three rows in every step, as tokens are matched in the source."""
    random = np.random.default_rng(setup.seed)
    keyframes = np.arange(setup.frames // self.segment, dtype=np.int32)
    # The edit's keyframes attend to each other, the source's to themselves.
    own = np.repeat(keyframes[:, None], len(keyframes), axis=1)
    frames = np.stack([own, own.T, own.T])
    frames = np.repeat(frames[:, None], setup.blocks, axis=1)
    routes = own_routes(3, setup.blocks)
    source = np.zeros_like(routes.spatial_q.inside)
    repeat = lambda leaf: np.broadcast_to(leaf, (3, setup.blocks, *leaf.shape))
    pairs, weights = segment_neighbours(setup.frames, self.segment)
    tables = []
    for i in range(setup.steps):
      drawn = keyframes * self.segment + random.integers(self.segment, size=len(keyframes))
      flow = Flow(
        source=Source(source, source),
        drawn=repeat(drawn.astype(np.int32)),
        keyframes=repeat(pairs),
        weights=repeat(weights),
      )
      comparison = ComparisonOverride(frames=frames, residual=routes.spatial_q, flow=flow)
      table = routes._replace(comparison=comparison)
      tables.append(plug_and_play.plug(table, setup, i, self))
    return plan_of_rows([plug_and_play.rows_of(setup)] * setup.steps, tables)

  def cost(self, setup):
    """What is computed in addition to the rows of the plan."""
    return {'inversion_rows': setup.steps, 'keyframes_of_a_row': setup.frames // self.segment}

  def edit(self, run):
    """Inverts frame by frame, and samples."""
    params = run.model.params['unet']
    apply = with_keyframes(unet_apply(run.model.config, run.dtype, temporal=False))
    sampled = plug_and_play.sample(
      Network(apply, params),
      run.plan,
      run.sampler,
      Conditioning(run.texts, trajectory=invert(run, params, temporal=False)),
      run.progress('edit'),
    )
    return sampled, {}


def segment_neighbours(frames, segment):
  """The two keyframes i32[F, 2] that each frame copies from, and the share f32[F] of the first.

  They are those of its segment and of the previous one, each treated as the middle frame of its
  segment. This is the rule of the authors' code; the share is never less than a half.
  """
  place = np.arange(frames)
  here = place // segment
  before = np.maximum(here - 1, 0)
  distance = lambda keyframe: np.abs(place - (keyframe * segment + segment // 2))
  # In the first segment both are the same keyframe, whose shares add up to 1.
  total = np.maximum(distance(here) + distance(before), 1)
  share = 1 / (1 + np.exp(-distance(before) / total))
  return np.stack([here, before], axis=1).astype(np.int32), np.float32(np.where(here > 0, share, 1))


@functools.cache
def with_keyframes(apply):
  """`unet.apply` with the keyframes of its routes as further frames in front of the clip."""

  def keyed(variables, latents, timestep, text, routes, masks=None):
    drawn = routes.comparison.flow.drawn[0]
    both = jnp.concatenate([jnp.take(latents, drawn, axis=0, mode='clip'), latents])
    epsilon, tapped = apply(variables, both, timestep, text, routes, masks)
    return epsilon[len(drawn) :], tapped

  return keyed
