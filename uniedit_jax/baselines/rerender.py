"""Rerender-A-Video (Yang et al. 2023), without ControlNet and pixel-aware fusion.

Late blocks attend to the first and the previous frame instead of their own. In the first steps, the
predicted clean latents are those of the first frame, warped by optical flow where it is visible;
colours may follow it too. No finished frame is needed, so all frames are sampled at once.
"""

import dataclasses

import numpy as np

from uniedit_jax.baselines import plug_and_play
from uniedit_jax.baselines.first_frame import latent_warp
from uniedit_jax.baselines.method import invert, own_routes, plan_of_rows
from uniedit_jax.baselines.overrides import CleanEdit, ComparisonOverride
from uniedit_jax.baselines.tune_a_video import sparse_causal_frames
from uniedit_jax.method.sampling import Conditioning, Network
from uniedit_jax.pipeline.model import unet_apply

CROSS_BLOCKS, LOOSE_BLOCKS = (7, 16), (10, 16)


@dataclasses.dataclass(frozen=True)
class Rerender(plug_and_play.Shares):
  """The method and its options; ranges are shares of the steps, both ends included.

  Attributes:
    cross: range in which frames attend to the first and the previous frame.
    warp: range in which clean latents are those of the first frame, warped.
    tone: range in which clean latents get the first frame's mean and deviation.
    loose: whether attention to other frames begins at block 10 instead of 7.
    negative_prompt: the text of the unconditional half.
  """

  cross: tuple[float, float] = (0.0, 1.0)
  warp: tuple[float, float] = (0.0, 0.1)
  tone: tuple[float, float] = (1.0, 1.0)
  loose: bool = False
  negative_prompt: str = ''

  def faults(self, setup):
    faults = super().faults(setup)
    for name in ('cross', 'warp', 'tone'):
      value = getattr(self, name)
      if len(value) != 2 or not 0 <= value[0] <= 1 or not 0 <= value[1] <= 1:
        faults.append(
          f'baseline.{name} is {value}; accepted: (first, last), shares of the steps from 0 to 1'
        )
    return faults

  def at(self, name, setup, step):
    """Whether the range of this name includes a step."""
    first, last = getattr(self, name)
    return setup.steps * first <= step <= setup.steps * last

  def frames(self, setup, step):
    """The frames that each frame of the three rows reads, i32[3, L, F, 2]."""
    own = np.repeat(np.arange(setup.frames, dtype=np.int32)[:, None], 2, axis=1)
    frames = np.broadcast_to(own, (3, setup.blocks, *own.shape)).copy()
    if self.at('cross', setup, step):
      blocks = setup.window(*(LOOSE_BLOCKS if self.loose else CROSS_BLOCKS))
      frames[1:, blocks] = sparse_causal_frames(setup.frames)
    return frames

  def plan(self, setup):
    """Three rows for as long as the source is read; then the two rows of the edit."""
    rows = plug_and_play.rows_of(setup)
    stop = int(setup.steps * max(self.attention_share, self.residual_share))
    three, two = own_routes(3, setup.blocks), own_routes(2, setup.blocks)
    tables, routes = [], []
    for i in range(setup.steps):
      frames = self.frames(setup, i)
      if i < stop or i == 0:
        comparison = ComparisonOverride(frames=frames, residual=three.spatial_q)
        tables.append(rows)
        routes.append(plug_and_play.plug(three._replace(comparison=comparison), setup, i, self))
      else:
        tables.append(rows[1:])
        routes.append(two._replace(comparison=ComparisonOverride(frames=frames[1:])))
    return plan_of_rows(tables, routes)

  def clean_edits(self, setup, schedule, tokens, seen):
    """The `CleanEdit` of every step of a `Setup`; tokens, seen: results of `latent_warp`."""
    levels = np.float32(schedule.levels(setup.steps))
    return [
      CleanEdit(
        level=levels[i],
        tone=np.bool_(self.at('tone', setup, i)),
        warp=tokens,
        share=seen * np.float32(self.at('warp', setup, i)),
      )
      for i in range(setup.steps)
    ]

  def cost(self, setup):
    """What is computed in addition to the rows of the plan."""
    return {'inversion_rows': setup.steps, 'optical_flows': 2 * (setup.frames - 1)}

  def edit(self, run):
    """Estimates the flow, inverts frame by frame, and samples."""
    params = run.model.params['unet']
    tokens, seen = latent_warp(run.clip, run.model.config.vae.factor)
    trajectory = invert(run, params, temporal=False)
    clean = self.clean_edits(run.setup, run.sampler.schedule, tokens, seen)
    sampled = plug_and_play.sample(
      Network(unet_apply(run.model.config, run.dtype, temporal=False), params),
      run.plan,
      run.sampler,
      Conditioning(run.texts, trajectory=trajectory, clean=clean),
      run.progress('edit'),
    )
    return sampled, {'first_frame_seen': float(seen[1:].mean()) if len(seen) > 1 else 1.0}
