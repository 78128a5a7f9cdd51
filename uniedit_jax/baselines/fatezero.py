"""FateZero (Qi et al. 2023): the edit uses the attention maps of the inversion.

No map is stored: a source row recomputes them from the latents of the inversion, one level cleaner
than the edit's, at the same timestep. The edit's conditional row reads that row: queries and keys
of spatial self-attention, which determine its map, and the probabilities of text attention.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from uniedit_jax.baselines import word_alignment
from uniedit_jax.baselines.method import (
  MAIN,
  SOURCE,
  Row,
  invert,
  own_routes,
  plan_of_rows,
  read_row,
)
from uniedit_jax.baselines.overrides import ComparisonOverride, TextMaps
from uniedit_jax.method import sampling
from uniedit_jax.method.overrides import AttentionOverride
from uniedit_jax.models.tokenizers import word_positions
from uniedit_jax.pipeline.model import unet_apply

BLOCKS = (2, 13)  # at least 640 channels, at most 32 x 32 tokens of 512 x 512 pixels


@dataclasses.dataclass(frozen=True)
class FateZero:
  """The method and its options.

  Attributes:
    self_share, cross_share: shares of the steps, from the first, in which the maps of spatial
      self-attention and of text attention are the source's.
    replace: whether prompts are aligned word by word; False: token by token.
    words: words of the target prompt whose text attention is multiplied by `emphasis`.
    emphasis: the factor.
    temporal: True: the whole text-to-video model, frames read their own keys and values; False: the
      image model inside it, where frames read those of the middle frame.
  """

  self_share: float = 0.8
  cross_share: float = 0.8
  replace: bool = False
  words: tuple[str, ...] = ()
  emphasis: float = 10.0
  temporal: bool = False

  negative_prompt = ''

  def faults(self, setup):
    faults = []
    for name in ('self_share', 'cross_share'):
      share = getattr(self, name)
      if not 0 <= share <= 1:
        faults.append(f'baseline.{name} is {share}; accepted: 0 to 1')
    try:
      self.text_tables(setup)
    except ValueError as error:
      faults.append(str(error))
    return faults

  def stops(self, steps):
    """The steps before which (self, text) maps are the source's."""
    # The authors count one more step for text maps.
    return int(steps * self.self_share), int(self.cross_share * (steps + 1))

  def text_tables(self, setup):
    """(taken f32[T, T], kept f32[T]) of `TextMaps`, emphasis included.

    Raises:
      ValueError: prompts that cannot be aligned, or words that the target prompt does not have.
    """
    source, target = setup.prompts[setup.inverted], setup.prompts[setup.target]
    align = word_alignment.replace if self.replace else word_alignment.refine
    taken, kept = align(setup.tokenizer, source, target)
    factors = np.ones(len(kept), np.float32)
    if self.words:
      factors[word_positions(setup.tokenizer, target, self.words)] = self.emphasis
    return taken * factors, kept * factors

  def frames(self, setup):
    """The frame that each frame reads, i32[L, F, 1], or None."""
    if self.temporal:
      return None
    own = np.arange(setup.frames, dtype=np.int32)
    middle = np.full_like(own, (setup.frames - 1) // 2)
    return np.where(setup.window(*BLOCKS)[:, None], middle, own)[..., None]

  def plan(self, setup):
    """The source's row for as long as it is read, and the two rows of the edit."""
    rows = [Row(SOURCE, setup.inverted), Row(MAIN, setup.uncond), Row(MAIN, setup.target)]
    (stop_self, stop_text), (taken, kept) = self.stops(setup.steps), self.text_tables(setup)
    blocks, frames = np.flatnonzero(setup.window(*BLOCKS)), self.frames(setup)
    reads = lambda slot, blocks: read_row(slot, [2], source=0, blocks=blocks)
    tables, routes = [], []
    for i in range(setup.steps):
      table = rows if i < max(stop_self, stop_text) else rows[1:]
      own = own_routes(len(table), setup.blocks)
      comparison = ComparisonOverride(None if frames is None else np.stack([frames] * len(table)))
      if table is rows:
        replaced = blocks if i < stop_text else blocks[:0]
        all_taken = np.zeros((len(rows), setup.blocks, *taken.shape), np.float32)
        all_kept = np.ones((len(rows), setup.blocks, len(kept)), np.float32)
        all_taken[2, replaced], all_kept[2, replaced] = taken, kept
        text_maps = TextMaps(reads(own.spatial_q, replaced), all_taken, all_kept)
        comparison = comparison._replace(text_maps=text_maps)
      if i < stop_self:
        q, k = reads(own.spatial_q, blocks), reads(own.spatial_k, blocks)
        own = own._replace(spatial_q=q, spatial_k=k)
      tables.append(table)
      routes.append(own._replace(comparison=comparison))
    return plan_of_rows(tables, routes)

  def cost(self, setup):
    """What is computed in addition to the rows of the plan."""
    return {'inversion_rows': setup.steps}

  def edit(self, run):
    """Inverts with the source prompt and samples together with the source."""
    params, frames = run.model.params['unet'], self.frames(run.setup)
    comparison = ComparisonOverride(frames=frames)
    routes = None if frames is None else AttentionOverride(comparison=comparison)
    apply = unet_apply(run.model.config, run.dtype, temporal=self.temporal)
    trajectory = invert(run, params, routes, self.temporal)
    conditioning = sampling.Conditioning(run.texts, trajectory=trajectory)
    network, progress = sampling.Network(apply, params), run.progress('edit')
    return sample(network, run.plan, run.sampler, conditioning, progress), {}


def sample(network, plan, sampler, conditioning, progress=iter):
  """Samples the plan of `FateZero`: {`MAIN`: f32[F, H, W, C]}; as `plug_and_play.sample`."""
  trajectory = conditioning.trajectory
  # Without the source, as nothing of it is read.
  if len(plan.branches) == 1:
    start = trajectory[-1]
    return sampling.sample_edit(network, start, plan, sampler, conditioning, progress=progress)
  # Shifted by a step: at every timestep, inversion predicted from latents one level cleaner.
  cleaner = jnp.concatenate([trajectory[:1], trajectory[:-1]])
  shifted = conditioning._replace(trajectory=cleaner)
  latents = jnp.stack([cleaner[-1], trajectory[-1]])[None]
  (sampled,) = sampling.sample(network, latents, [plan], [sampler], [shifted], progress=progress)
  return {MAIN: sampled[plan.branches.index(MAIN)]}
