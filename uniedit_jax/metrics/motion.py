"""Measures on optical flow: how a clip moves, and how steady it is after motion compensation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.metrics import flow

STILL = 1e-3  # clips of shorter mean flow, in pixels of `flow.shrink`, have no direction


class Motion(NamedTuple):
  """A clip with its flow, from `motion_of`.

  Attributes:
    frames: f32[F, h, w, 3] in [0, 1], small.
    forward: f32[F - 1, h, w, 2], flow from each frame to the next.
    trusted: bool[F - 1, h, w] of `flow.visible`.
  """

  frames: np.ndarray
  forward: np.ndarray
  trusted: np.ndarray


def motion_of(frames):
  """The `Motion` of u8[F, H, W, 3], F >= 2; raises ValueError for other arrays."""
  frames = np.asarray(frames)
  if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) < 2:
    accepted = 'accepted: uint8[F, H, W, 3], F at least 2'
    raise ValueError(f'frames are {frames.dtype}{list(frames.shape)}; {accepted}')
  small = flow.shrink(frames)
  forward, backward = flow.flow_between(small[:-1], small[1:])
  return Motion(small, np.asarray(forward), np.asarray(_visible(forward, backward)))


def warp_error(motion, along=None):
  """Change between frames that the flow does not explain, 0 to 1 (Lai et al. 2018, but L1).

  Mean of |frame[t] - warp(frame[t + 1], flow)| over the pixels whose flow can be trusted; None if
  there are none.

  Args:
    motion: `Motion` of the clip.
    along: `Motion` of equal shape whose flow and trusted pixels are used; default `motion`. With
      that of the source, the error is low if the edit moves as the source does, which a motion edit
      should not.
  """
  along = motion if along is None else along
  _same_shapes(motion, along)
  if not along.trusted.any():
    return None
  left = _residual(motion.frames, along.forward)
  return float(np.mean(np.asarray(left)[along.trusted], dtype=np.float64))


def magnitude(motion):
  """Mean length of the flow from a frame to the next, in percent of the frame's diagonal; float."""
  diagonal = np.hypot(*motion.frames.shape[1:3])
  return float(100 * np.linalg.norm(motion.forward, axis=-1).mean(dtype=np.float64) / diagonal)


def direction(a, b):
  """Agreement of the `Motion` of two clips, place by place: 1 the same, -1 opposite, 0 unrelated.

  Sum of u . v over the sum of |u| |v|, where u and v are the flows at a pixel: the cosine, weighted
  by the lengths of both. None where the two never move at the same place; raises ValueError if
  shapes differ.
  """
  _same_shapes(a, b)
  u, v = a.forward.astype(np.float64), b.forward.astype(np.float64)
  weights = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
  return float(np.sum(u * v) / weights.sum()) if weights.mean() > STILL**2 else None


@jax.jit
def _visible(forward, backward):
  return jax.vmap(flow.visible)(forward, backward)


@jax.jit
def _residual(frames, forward):
  """f32[F - 1, h, w]."""
  return jnp.abs(frames[:-1] - jax.vmap(flow.warp)(frames[1:], forward)).mean(axis=-1)


def _same_shapes(a, b):
  if a.frames.shape != b.frames.shape:
    shapes = f'{a.frames.shape} and {b.frames.shape}'
    raise ValueError(f'clips have shapes {shapes}; accepted: equal shapes')
