"""Plug-and-Play (Tumanyan et al. 2023): features of the inverted source keep the edit's structure.

The features are computed on the latents of the inversion. TokenFlow edits with this method, and
here it stands in for Rerender-A-Video's ControlNet.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from uniedit_jax.baselines.method import MAIN, SOURCE, Row, read_row
from uniedit_jax.method import sampling
from uniedit_jax.method.injection import BLOCKS

RESIDUAL_BLOCK = 8  # of 16: the residual of the resnet before it is read
ATTENTION_BLOCKS = (8, 16)


@dataclasses.dataclass(frozen=True)
class Shares:
  """The shares of the steps, from the first, in which the edit reads features of the source.

  Attributes:
    attention_share: of queries and keys of spatial self-attention.
    residual_share: of the residual of one resnet.
  """

  attention_share: float = 0.5
  residual_share: float = 0.8

  def faults(self, setup):
    del setup
    return [
      f'baseline.{name} is {share}; accepted: 0 to 1'
      for name in ('attention_share', 'residual_share')
      if not 0 <= (share := getattr(self, name)) <= 1
    ]


def rows_of(setup):
  """The three rows of a step: the source without guidance, and the halves of the edit."""
  return [Row(SOURCE, setup.inverted), Row(MAIN, setup.uncond), Row(MAIN, setup.target)]


def plug(routes, setup, step, shares):
  """`routes` in which both halves of the edit also read the source's features of a step.

  Args:
    routes: `AttentionOverride` of `rows_of`, leaves [3, L, ...], with spatial q, k and residual.
    setup: `Setup`.
    step: its index.
    shares: `Shares`.
  """
  reads = lambda slot, blocks: read_row(slot, (1, 2), source=0, blocks=blocks)
  if step < int(setup.steps * shares.attention_share):
    blocks = np.flatnonzero(setup.window(*ATTENTION_BLOCKS))
    q, k = reads(routes.spatial_q, blocks), reads(routes.spatial_k, blocks)
    routes = routes._replace(spatial_q=q, spatial_k=k)
  if step < int(setup.steps * shares.residual_share):
    block = round(RESIDUAL_BLOCK * setup.blocks / BLOCKS)
    residual = reads(routes.comparison.residual, [block])
    routes = routes._replace(comparison=routes.comparison._replace(residual=residual))
  return routes


def sample(network, plan, sampler, conditioning, progress=iter):
  """Samples a plan of `rows_of`: {`MAIN`: f32[F, H, W, C]}; arguments as of `sampling.sample_edit`.

  The latents of the source are those of the inversion, the trajectory in `conditioning`.
  """
  latents = jnp.stack([conditioning.trajectory[-1]] * 2)[None]
  (sampled,) = sampling.sample(
    network, latents, [plan], [sampler], [conditioning], progress=progress
  )
  return {MAIN: sampled[plan.branches.index(MAIN)]}
