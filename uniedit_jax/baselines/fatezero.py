"""FateZero (Qi et al. 2023): the attention maps that inversion saw take the place of the edit's
own.

No map is stored: a source row that is given the latents of the inversion, one level cleaner than
the edit's, at the same timestep makes them again. The edit's conditional row then reads it: queries
and keys of spatial self-attention, which are its map, and the probabilities of text attention.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from uniedit_jax.baselines import word_alignment
from uniedit_jax.baselines.method import MAIN, SOURCE, Row, invert, lay_out_rows, own_routes, read
from uniedit_jax.method import sampling
from uniedit_jax.method.overrides import AttentionOverride, TextMaps
from uniedit_jax.models.tokenizers import word_positions
from uniedit_jax.pipeline.model import unet_apply

BLOCKS = (2, 13)  # at least 640 channels, at most 32 x 32 tokens of 512 x 512 pixels


@dataclasses.dataclass(frozen=True)
class FateZero:
  """The method and its options.

  Attributes:
    self_share, cross_share: share of the steps, from the first, in which maps of spatial
      self-attention and of text attention are the source's.
    replace: whether prompts are aligned word by word, or by their tokens.
    words: of the target prompt whose text attention is multiplied by `emphasis`.
    emphasis: the factor.
    temporal: the whole text-to-video model with the own frame's keys and values; False: the image
      model inside, where frames read those of the middle one.
  """

  self_share: float = 0.8
  cross_share: float = 0.8
  replace: bool = False
  words: tuple[str, ...] = ()
  emphasis: float = 10.0
  temporal: bool = False

  negative_prompt = ''

  def faults(self, setup):
    """What is wrong with the options, as a list of sentences."""
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
    """The steps before which (self, text) maps are the source's; the authors count one more step
    for the latter.
    """
    return int(steps * self.self_share), int(self.cross_share * (steps + 1))

  def text_tables(self, setup):
    """(taken f32[T, T], kept f32[T]) of `TextMaps`, emphasis included.

    Raises:
      ValueError: prompts that cannot be aligned, or words that the target prompt does not have.
    """
    source, target = setup.prompts[setup.inverted], setup.prompts[setup.target]
    if self.replace:
      taken, kept = word_alignment.replace(setup.tokenizer, source, target)
    else:
      taken, kept = word_alignment.refine(*setup.tokenizer.encode([source, target]))
    factors = np.ones(len(kept), np.float32)
    if self.words:
      factors[word_positions(setup.tokenizer, target, self.words)] = self.emphasis
    return taken * factors, kept * factors

  def frames(self, setup):
    """The frames that are read, i32[L, F, 1], or None."""
    if self.temporal:
      return None
    own = np.arange(setup.frames, dtype=np.int32)
    middle = np.full_like(own, (setup.frames - 1) // 2)
    return np.where(setup.window(*BLOCKS)[:, None], middle, own)[..., None]

  def lay_out(self, setup):
    """The source's row for as long as it is read, and the two of the edit."""
    rows = [Row(SOURCE, setup.inverted), Row(MAIN, setup.uncond), Row(MAIN, setup.target)]
    stops, (taken, kept) = self.stops(setup.steps), self.text_tables(setup)
    blocks = np.flatnonzero(setup.window(*BLOCKS))
    tables, routes = [], []
    for i in range(setup.steps):
      here = rows if i < max(stops) else rows[1:]
      one = own_routes(len(here), setup.blocks, self.frames(setup))
      if here is rows:
        maps = self._text_maps(one, taken, kept, blocks if i < stops[1] else [])
        one = one._replace(text_maps=maps)
        for slot in ('spatial_q', 'spatial_k') if i < stops[0] else ():
          one = read(one, slot, reader=2, source=0, blocks=blocks)
      tables.append(here)
      routes.append(one)
    return lay_out_rows(tables, routes)

  def _text_maps(self, routes, taken, kept, blocks):
    """`TextMaps` of three rows, the last of which reads the first in some blocks."""
    rows, count = routes.spatial_q.inside.shape
    all_taken = np.zeros((rows, count, *taken.shape), np.float32)
    all_kept = np.ones((rows, count, len(kept)), np.float32)
    all_taken[2, blocks], all_kept[2, blocks] = taken, kept
    maps = TextMaps(routes.spatial_q, all_taken, all_kept)
    return read(
      AttentionOverride(text_maps=maps), 'text_maps', reader=2, source=0, blocks=blocks
    ).text_maps

  def cost(self, setup):
    """What is computed beside the rows of the layout."""
    return {'inversion_rows': setup.steps}

  def edit(self, run):
    """Inverts with the source prompt and samples beside the source."""
    params, frames = run.model.params['unet'], self.frames(run.setup)
    routes = None if frames is None else AttentionOverride(frames=frames)
    trajectory = invert(run, params, routes, self.temporal)
    apply = unet_apply(run.model.config, run.dtype, temporal=self.temporal)
    return sample(
      apply,
      params,
      trajectory,
      run.texts,
      run.layout,
      run.schedule,
      run.guidance,
      run.progress('edit'),
    )


def sample(apply, params, trajectory, texts, layout, schedule, guidance, progress=iter):
  """Samples the layout of `FateZero`.

  Args:
    trajectory: f32[S + 1, F, H, W, C], of the inversion, cleanest first.
    apply, params, texts, schedule, guidance, progress: as in `sampling.sample`.
    layout: `EditPlan`.

  Returns:
    ({`MAIN`: f32[F, H, W, C]}, {}).
  """
  if len(layout.branches) == 1:  # nothing of the source is read
    return sampling.edit(
      apply, params, trajectory[-1], texts, layout, schedule, guidance, progress=progress
    ), {}
  # Shifted by a step: inversion predicted at every timestep from the latents that are a level
  # cleaner.
  cleaner = jnp.concatenate([trajectory[:1], trajectory[:-1]])
  latents = sampling.sample(
    *(
      apply,
      params,
      jnp.stack([cleaner[-1], trajectory[-1]]),
      texts,
      layout.plan,
      schedule,
      guidance,
    ),
    **dict(stored=layout.stored, trajectory=cleaner, progress=progress),
  )
  return {MAIN: latents[layout.branches.index(MAIN)]}, {}
