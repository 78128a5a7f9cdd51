"""Plug-and-Play (Tumanyan et al. 2023): features of the inversion, at its own latents, keep the
edit's layout.

TokenFlow edits with it, and here it stands in for Rerender-A-Video's ControlNet.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from uniedit_jax.baselines.method import MAIN, SOURCE, Row, read
from uniedit_jax.method import sampling

RESIDUAL_BLOCK = 8  # of 16: the resnet before it is read
ATTENTION_BLOCKS = (8, 16)


@dataclasses.dataclass(frozen=True)
class Shares:
  """The shares of the steps, from the first, in which features are the source's.

  Attributes:
    attention: queries and keys of spatial self-attention.
    residual: what one resnet adds to its input.
  """

  attention: float = 0.5
  residual: float = 0.8

  def faults(self):
    """What is wrong, as a list of sentences."""
    return [
      f'baseline.{name}_share is {share}; accepted: 0 to 1'
      for name, share in dataclasses.asdict(self).items()
      if not 0 <= share <= 1
    ]


def rows_of(setup):
  """The three rows of a step: the source without guidance, and the halves of the edit."""
  return [Row(SOURCE, setup.inverted), Row(MAIN, setup.uncond), Row(MAIN, setup.target)]


def plug(routes, setup, step, shares):
  """`routes` of `rows_of` in which both halves of the edit read the source's features at a step.

  Args:
    routes: `AttentionOverride` with leaves [3, L, ...]; spatial q, k and residual are the own
      rows'.
    setup: `Setup`.
    step: its index.
    shares: `Shares`.
  """
  attention = np.flatnonzero(setup.window(*ATTENTION_BLOCKS))
  resnet = [round(RESIDUAL_BLOCK * setup.blocks / 16)]
  for slot, blocks, share in (
    ('spatial_q', attention, shares.attention),
    ('spatial_k', attention, shares.attention),
    ('residual', resnet, shares.residual),
  ):
    for reader in (1, 2) if step < int(setup.steps * share) else ():
      routes = read(routes, slot, reader, source=0, blocks=blocks)
  return routes


def sample(apply, params, trajectory, texts, layout, schedule, guidance, **options):
  """Samples a layout of `rows_of`; the source's latents are those of the inversion.

  Args:
    trajectory: f32[S + 1, F, H, W, C], of the inversion, cleanest first.
    apply, params, texts, schedule, guidance: as in `sampling.sample`.
    layout: `EditPlan`.
    **options: others of `sampling.sample`.

  Returns:
    {`MAIN`: f32[F, H, W, C]}.
  """
  latents = sampling.sample(
    *(apply, params, jnp.stack([trajectory[-1]] * 2), texts, layout.plan, schedule, guidance),
    **dict(stored=layout.stored, trajectory=trajectory, **options),
  )
  return {MAIN: latents[layout.branches.index(MAIN)]}
