"""TokenFlow (Geyer et al. 2023) with Plug-and-Play: keyframes are edited together, the others
follow their tokens.

In every step one frame of each segment is drawn. These keyframes attend to one another; in every
block, a token of any frame then takes what attention gave to the keyframe's token that it is
nearest to in the source. In the image model frames meet nowhere else, so keyframes are further
frames of the same row, and no second pass is needed.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from uniedit_jax.baselines import plug_and_play
from uniedit_jax.baselines.method import invert, lay_out_rows, own_routes
from uniedit_jax.method.overrides import Flow, Source
from uniedit_jax.pipeline.model import unet_apply


@dataclasses.dataclass(frozen=True)
class TokenFlow:
  """The method and its options.

  Attributes:
    segment: frames B of a segment, of which one is the keyframe.
    attention_share, residual_share: those of `plug_and_play.Shares`.
    negative_prompt: what the unconditional half is conditioned on.
  """

  segment: int = 4
  attention_share: float = 0.5
  residual_share: float = 0.8
  negative_prompt: str = 'ugly, blurry, low res, unrealistic, unaesthetic'

  @property
  def shares(self):
    """`plug_and_play.Shares`."""
    return plug_and_play.Shares(self.attention_share, self.residual_share)

  def faults(self, setup):
    """What is wrong with the options, as a list of sentences."""
    faults = self.shares.faults()
    if self.segment < 1 or setup.frames % self.segment:
      faults.append(
        f'baseline.segment is {self.segment}; accepted: a divisor of the {setup.frames} frames'
      )
    return faults

  def lay_out(self, setup):
    """Three rows in every step: the source tells where tokens are."""
    random = np.random.default_rng(setup.seed)
    keyframes = setup.frames // self.segment
    own, everyone = (
      np.repeat(np.arange(keyframes)[:, None], keyframes, 1),
      np.tile(np.arange(keyframes), (keyframes, 1)),
    )
    # The edit's keyframes see each other, the source's themselves.
    frames = np.stack([own, everyone, everyone]).astype(np.int32)
    frames = np.repeat(frames[:, None], setup.blocks, axis=1)
    routes = own_routes(3, setup.blocks)
    source = np.zeros_like(routes.spatial_q.inside)
    every = lambda leaf: np.broadcast_to(leaf, (3, setup.blocks, *leaf.shape))
    pairs, weights = segment_neighbours(setup.frames, self.segment)
    tables = []
    for i in range(setup.steps):
      drawn = np.arange(keyframes) * self.segment + random.integers(self.segment, size=keyframes)
      flow = Flow(
        Source(source, source), every(drawn.astype(np.int32)), every(pairs), every(weights)
      )
      here = routes._replace(frames=frames, residual=routes.spatial_q, flow=flow)
      tables.append(plug_and_play.plug(here, setup, i, self.shares))
    return lay_out_rows([plug_and_play.rows_of(setup)] * setup.steps, tables)

  def cost(self, setup):
    """What is computed beside the rows of the layout."""
    return {'inversion_rows': setup.steps, 'keyframes_of_a_row': setup.frames // self.segment}

  def edit(self, run):
    """Inverts frame by frame, and samples."""
    params = run.model.params['unet']
    trajectory = invert(run, params, temporal=False)
    apply = with_keyframes(unet_apply(run.model.config, run.dtype, temporal=False))
    sampled = plug_and_play.sample(
      *(apply, params, trajectory, run.texts, run.layout, run.schedule, run.guidance),
      progress=run.progress('edit'),
    )
    return sampled, {}


def segment_neighbours(frames, segment):
  """The keyframes that each frame takes from, and the share of the first.

  They are that of its segment and that of the segment before, each as if it were the middle one:
  the code's rule, in which the share is never less than a half.

  Args:
    frames: their number F.
    segment: frames B of a segment.

  Returns:
    (i32[F, 2], f32[F]).
  """
  place = np.arange(frames)
  here = place // segment
  before = np.maximum(here - 1, 0)
  distance = lambda keyframe: np.abs(place - (keyframe * segment + segment // 2))
  # In the first segment the two are one keyframe, whose shares add up to 1.
  total = np.maximum(distance(here) + distance(before), 1)
  share = 1 / (1 + np.exp(-distance(before) / total))
  return np.stack([here, before], axis=1).astype(np.int32), np.float32(np.where(here > 0, share, 1))


@functools.cache
def with_keyframes(apply):
  """`unet.apply` that sees the keyframes of its routes as further frames in front of the clip."""

  def keyed(variables, latents, timestep, text, routes, masks=None):
    drawn = routes.flow.drawn[0]
    both = jnp.concatenate([jnp.take(latents, drawn, axis=0, mode='clip'), latents])
    epsilon, tapped = apply(variables, both, timestep, text, routes, masks)
    return epsilon[len(drawn) :], tapped

  return keyed
