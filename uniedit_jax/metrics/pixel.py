"""Measures on pixels: fidelity to another clip (PSNR, SSIM) and steadiness over time. numpy only.

Clips are uint8[F, H, W, C], or f[F, H, W, C] in [0, 1]; both kinds may be mixed. All measures raise
ValueError for other clips.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

WINDOW, SIGMA = 11, 1.5  # of SSIM


def psnr(a, b, mask=None):
  """Peak signal-to-noise ratio in dB, from the squared error averaged over the whole clip.

  Only pixels of the mask bool[F, H, W] count, if one is given. Equal clips give float('inf').

  Raises:
    ValueError: shapes differ, floats lie outside [0, 1], or the mask selects nothing.
  """
  a, b = _pair(a, b)
  error = np.square(a - b)
  if mask is not None:
    if np.shape(mask) != a.shape[:3] or not np.any(mask):
      accepted = f'accepted: {a.shape[:3]} with at least one True'
      raise ValueError(f'mask has shape {np.shape(mask)}; {accepted}')
    error = error[np.asarray(mask, bool)]
  mean = float(np.mean(error, dtype=np.float64))
  return -10 * float(np.log10(mean)) if mean else float('inf')


def ssim(a, b, mask=None):
  """Structural similarity (Wang et al. 2004), 1 for equal clips, in [-1, 1].

  Gaussian window of 11 x 11 pixels, sigma 1.5, K = (0.01, 0.03); mean over all windows inside the
  frame, all channels (not luma only) and frames. With a mask bool[F, H, W] only windows count whose
  pixels are all True; None if there are none.

  Raises:
    ValueError: shapes differ, frames are smaller than the window, or floats lie outside [0, 1].
  """
  a, b = _pair(a, b)
  if min(a.shape[1:3]) < WINDOW:
    accepted = f'accepted: at least {WINDOW}x{WINDOW}'
    raise ValueError(f'frames are {a.shape[1]}x{a.shape[2]} pixels; {accepted}')
  if mask is not None and np.shape(mask) != a.shape[:3]:
    raise ValueError(f'mask has shape {np.shape(mask)}; accepted: {a.shape[:3]}')
  counted, total = 0, 0.0
  # One frame at a time: the five maps of a whole clip would be large.
  for i, (x, y) in enumerate(zip(a, b, strict=True)):
    values = _ssim_map(x.astype(np.float64), y.astype(np.float64))
    if mask is not None:
      within = sliding_window_view(np.asarray(mask[i], bool), (WINDOW, WINDOW)).all(axis=(2, 3))
      values = values[within]
    counted, total = counted + values.size, total + float(values.sum())
  return total / counted if counted else None


def frame_difference(frames):
  """Mean absolute difference of consecutive frames, 0 to 1: motion and flicker; 0 for one frame."""
  frames = _unit(frames)
  if len(frames) < 2:
    return 0.0
  return float(np.mean(np.abs(np.diff(frames, axis=0)), dtype=np.float64))


def flicker(frames):
  """Mean of |x[t] - (x[t - 1] + x[t + 1]) / 2|, 0 to 1; None for fewer than three frames.

  It is 0 for stills and fades. Motion counts too, though less than in `frame_difference`: compare
  with the source's flicker.
  """
  frames = _unit(frames)
  if len(frames) < 3:
    return None
  return float(np.mean(np.abs(frames[1:-1] - (frames[:-2] + frames[2:]) / 2), dtype=np.float64))


def _ssim_map(x, y):
  """SSIM of two frames f64[H, W, C] where the window fits: f64[H - 10, W - 10, C]."""
  mean_x, mean_y = _blur(x), _blur(y)
  variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
  covariance = _blur(x * y) - mean_x * mean_y
  c1, c2 = 0.01**2, 0.03**2
  similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
  return similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))


def _blur(x):
  """Gaussian mean of f64[H, W, C] where the window fits: f64[H - 10, W - 10, C]."""
  weights = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
  weights /= weights.sum()
  height, width = (size - WINDOW + 1 for size in x.shape[:2])
  x = sum(w * x[i : i + height] for i, w in enumerate(weights))
  return sum(w * x[:, i : i + width] for i, w in enumerate(weights))


def _pair(a, b):
  """Two clips as f32 in [0, 1], of one shape."""
  a, b = _unit(a), _unit(b)
  if a.shape != b.shape:
    raise ValueError(f'clips have shapes {a.shape} and {b.shape}; accepted: equal shapes')
  return a, b


def _unit(frames):
  """A clip as f32[F, H, W, C] in [0, 1]."""
  frames = np.asarray(frames)
  if frames.ndim != 4 or not frames.size:
    raise ValueError(f'frames have shape {frames.shape}; accepted: [F, H, W, C], not empty')
  if frames.dtype == np.uint8:
    return frames.astype(np.float32) / np.float32(255)
  frames = frames.astype(np.float32)
  # Written so that NaN fails too. A clip in [-1, 1] would otherwise give a plausible, wrong number.
  if not (frames.min() >= 0 and frames.max() <= 1):
    found = f'[{frames.min():.4g}, {frames.max():.4g}]'
    raise ValueError(f'frames lie in {found}; accepted: uint8, or floats in [0, 1]')
  return frames
