"""Dense optical flow by Lucas and Kanade (1981) over a pyramid, and what it leaves hidden. numpy and scipy only.

It stands in for the learned flow (GMFlow) of Rerender-A-Video.
"""

import numpy as np
from scipy import ndimage

SMALLEST = 12  # pixels of the shorter side of the coarsest level
ITERATIONS, SIGMA = 8, 2.0  # updates of a level; the window in which the flow is taken as constant


def dense_flow(start, end):
  """Where the pixels of one frame are in another.

  Args:
    start, end: u8[H, W, 3].

  Returns:
    f32[H, W, 2], (down, right): start at p looks like end at p + flow(p).
  """
  start, end = (frame.astype(np.float32).mean(axis=-1) / 255 for frame in (start, end))
  pyramid = [(start, end)]
  while min(pyramid[-1][0].shape) >= 2 * SMALLEST:
    pyramid.append(tuple(ndimage.gaussian_filter(frame, 1.0)[::2, ::2] for frame in pyramid[-1]))
  flow = np.zeros((*pyramid[-1][0].shape, 2), np.float32)
  for here, there in reversed(pyramid):
    flow = _resize(flow, here.shape) * (np.array(here.shape) / flow.shape[:2])
    for _ in range(ITERATIONS):
      flow = _improve(here, there, flow)
  return flow.astype(np.float32)


def _improve(here, there, flow):
  """One update of the flow, of at most a pixel, and without outliers."""
  moved = warp(there, flow)
  down, right = np.gradient((moved + here) / 2)
  blur = lambda x: ndimage.gaussian_filter(x, SIGMA)
  dd, rr, dr = blur(down * down) + 1e-4, blur(right * right) + 1e-4, blur(down * right)
  d, r = blur(down * (here - moved)), blur(right * (here - moved))
  change = np.stack([rr * d - dr * r, dd * r - dr * d], axis=-1) / (dd * rr - dr * dr)[..., None]
  return ndimage.median_filter(flow + np.clip(change, -1, 1), size=(5, 5, 1))


def _resize(image, size):
  """Bilinear, f[H, W, C] to f[*size, C]; pixel centres keep their places."""
  places = [(np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, image.shape, strict=False)]
  grid = np.meshgrid(*places, indexing='ij')
  channels = np.moveaxis(image, -1, 0)
  return np.stack([ndimage.map_coordinates(x, grid, order=1, mode='nearest') for x in channels], axis=-1)


def warp(image, flow):
  """`image` f[H, W] at p + flow(p), bilinear; the border goes on beyond it."""
  grid = np.indices(image.shape).astype(np.float32)
  return ndimage.map_coordinates(image, grid + np.moveaxis(flow, -1, 0), order=1, mode='nearest')


def hidden(flow, back):
  """Pixels whose flow does not come back, or leaves the frame.

  Args:
    flow, back: f32[H, W, 2], from a frame to another and from that to the frame.

  Returns:
    bool[H, W]: |flow + back there| > 0.01 (|flow| + |back there|) + 0.5.
  """
  there = np.stack([warp(back[..., i], flow) for i in (0, 1)], axis=-1)
  length = lambda x: np.linalg.norm(x, axis=-1)
  place = np.moveaxis(np.indices(flow.shape[:2]), 0, -1) + flow
  outside = ((place < -0.5) | (place > np.array(flow.shape[:2]) - 0.5)).any(axis=-1)
  return outside | (length(flow + there) > 0.01 * (length(flow) + length(there)) + 0.5)


def latent_warp(clip, factor):
  """How the first frame is seen in every other, on the grid of the latents.

  Args:
    clip: u8[F, h, w, 3].
    factor: pixels of a latent's side; h = factor H, w = factor W.

  Returns:
    (i32[F, H W], the token of the first frame that is seen at each token; f32[F, H, W, 1], how far it is really seen:
    1 where no pixel near it is hidden).
  """
  height, width = clip.shape[1] // factor, clip.shape[2] // factor
  own = np.indices((height, width))
  tokens, seen = [], []
  for i, frame in enumerate(clip):
    if i == 0:  # no search for what is known
      flow, blocked = np.zeros((*frame.shape[:2], 2), np.float32), np.zeros(frame.shape[:2])
    else:
      flow, back = dense_flow(frame, clip[0]), dense_flow(clip[0], frame)
      lost = hidden(flow, back).astype(np.float32)
      near = ndimage.gaussian_filter(ndimage.maximum_filter(lost, 9), 18.0, radius=4)
      blocked = np.clip(near + lost, 0, 1)
    place = own + np.moveaxis(_resize(flow, (height, width)) / factor, -1, 0)
    down, right = (np.clip(np.round(x), 0, n - 1).astype(np.int32) for x, n in zip(place, own.shape[1:], strict=True))
    tokens.append((down * width + right).reshape(-1))
    seen.append(1 - blocked.reshape(height, factor, width, factor).max(axis=(1, 3)))
  return np.stack(tokens), np.stack(seen)[..., None].astype(np.float32)
