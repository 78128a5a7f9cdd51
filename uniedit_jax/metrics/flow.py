"""Dense optical flow between frames, without weights: Lucas-Kanade steps on an image pyramid.

Lucas and Kanade 1981: where a window moves by d, the gradients of its pixels explain its change,
g . d = -dI/dt. Least squares over a Gaussian window give d; the solution of a coarse picture warps
the next finer one. Flow is f32[H, W, 2], (down, right) in pixels: pixel p of the first frame is at
p + flow[p] in the second.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Of the compared frames, in pixels; larger ones cost time and do not measure motion better.
SHORT_SIDE = 160
COARSEST = 8  # short side of the top of the pyramid
SIGMA = 3.0  # of the window, pixels
# Squared slope, of pixels in [0, 1], below which a window is too flat to be followed.
DAMPING = 1e-5
STEPS = 6  # of each level
LUMA = (0.299, 0.587, 0.114)


@jax.jit
def flow_between(first, second):
  """Flow between P pairs of frames f32[P, H, W, 3] in [0, 1], in both directions.

  Returns:
    (f32[P, H, W, 2] from the first to the second, f32[P, H, W, 2] from the second to the first).
  """
  first, second = (jnp.sum(frames * jnp.asarray(LUMA), axis=-1) for frames in (first, second))
  flow = _flow(jnp.concatenate([first, second]), jnp.concatenate([second, first]))
  return jnp.split(flow, 2)


def shrink(frames):
  """Resizes u8[F, H, W, 3] to a short side of at most `SHORT_SIDE`: f32[F, h, w, 3] in [0, 1]."""
  height, width = frames.shape[1:3]
  scale = min(1, SHORT_SIDE / min(height, width))
  size = max(1, round(height * scale)), max(1, round(width * scale))
  return np.asarray(_resize(jnp.asarray(frames), *size))


def warp(frame, flow):
  """Pulls f32[H, W, C] back along a flow f32[H, W, 2], bilinearly: at p the value at p + flow[p].

  Places outside read the nearest edge.
  """
  height, width = frame.shape[:2]
  y, x = _places(flow)
  y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
  top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
  bottom, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
  down, across = (y - top)[..., None], (x - left)[..., None]
  above = frame[top, left] * (1 - across) + frame[top, right] * across
  below = frame[bottom, left] * (1 - across) + frame[bottom, right] * across
  return above * (1 - down) + below * down


def visible(flow, back):
  """The pixels bool[H, W] whose flow f32[H, W, 2] to another frame, and back, can be trusted.

  A pixel counts if it stays inside the frame and the flow back ends where it began, by the bound of
  Sundaram et al. 2010: |flow + back|^2 < 0.01 (|flow|^2 + |back|^2) + 0.5.
  """
  back = warp(back, flow)
  square = lambda x: jnp.sum(x * x, axis=-1)
  consistent = square(flow + back) < 0.01 * (square(flow) + square(back)) + 0.5
  return consistent & _inside(flow)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _resize(frames, height, width):
  shape, frames = (frames.shape[0], height, width, frames.shape[3]), frames.astype(jnp.float32)
  return jnp.clip(jax.image.resize(frames / 255, shape, 'linear', antialias=True), 0, 1)


def _flow(first, second):
  """Flow f32[P, H, W, 2] of pairs of pictures f32[P, H, W]."""
  pairs, sizes = len(first), [first.shape[1:]]
  while min(sizes[-1]) >= 2 * COARSEST:
    sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
  flow = jnp.zeros((pairs, *sizes[-1], 2))
  for height, width in reversed(sizes):
    shape = (pairs, height, width)
    a, b = (jax.image.resize(x, shape, 'linear', antialias=True) for x in (first, second))
    growth = jnp.array([height / flow.shape[1], width / flow.shape[2]])
    flow = jax.image.resize(flow, (*shape, 2), 'linear') * growth
    flow = _refine(a, b, flow)
  return flow


def _refine(first, second, flow):
  """Improves the flow of P pairs by the steps of one level."""
  dy, dx = jnp.gradient(first, axis=(1, 2))
  yy, xx, yx = _window(dy * dy), _window(dx * dx), _window(dy * dx)
  yy, xx = yy + DAMPING, xx + DAMPING
  determinant = yy * xx - yx * yx

  def step(_, flow):
    change = (jax.vmap(warp)(second[..., None], flow)[..., 0] - first) * jax.vmap(_inside)(flow)
    ty, tx = _window(dy * change), _window(dx * change)
    moved = jnp.stack([yx * tx - xx * ty, yx * ty - yy * tx], axis=-1) / determinant[..., None]
    # Pictures are linear over a pixel at the most.
    return flow + jnp.clip(moved, -1, 1)

  return jax.lax.fori_loop(0, STEPS, step, flow)


def _window(x):
  """Gaussian mean of f32[P, H, W] over rows and columns, as matrix products: they compile fast."""
  rows, columns = map(_weights, x.shape[1:])
  return jnp.einsum('ij,pjk,lk->pil', rows, x, columns, precision='highest')


def _weights(length):
  """f32[length, length]: the weight of every place in the window of every other."""
  places = np.arange(length)
  weights = np.exp(-((places[:, None] - places) ** 2) / (2 * SIGMA**2))
  return np.float32(weights / weights.sum(axis=1, keepdims=True))


def _inside(flow):
  """Pixels that move to a place in the frame, the outer halves of pixels included: bool[H, W]."""
  inside = lambda places, length: (places >= -0.5) & (places <= length - 0.5)
  y, x = _places(flow)
  return inside(y, flow.shape[0]) & inside(x, flow.shape[1])


def _places(flow):
  """The place to which each pixel moves: rows and columns, f32[H, W] each."""
  rows, columns = (jnp.arange(length, dtype=jnp.float32) for length in flow.shape[:2])
  return rows[:, None] + flow[..., 0], columns + flow[..., 1]
