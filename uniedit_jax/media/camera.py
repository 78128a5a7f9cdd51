"""Turns a still photo into a source clip by a simulated camera move, to edit images (TI2V).

A move is one pose per frame (centre x, y, zoom, degrees), and a frame is the picture seen through
the rotated window of that pose. The window at zoom 1 is the largest that stays inside the picture
in all frames, so there are no borders to fill. x and y are fractions of the picture's width and
height from its top left corner; degrees turn the camera clockwise, and so the contents
counterclockwise. numpy and PIL only.
"""

import dataclasses
import itertools
import math
import os

import numpy as np
from PIL import Image

from uniedit_jax.media.frames import is_number, read_image, whole_number_faults
from uniedit_jax.runtime.faults import Faults

# The share of its way that the camera has gone at time 0..1.
EASINGS = {
  'linear': lambda time: time,
  'ease_in': lambda time: time**2,
  'ease_out': lambda time: time * (2 - time),
  'ease_in_out': lambda time: time**2 * (3 - 2 * time),
}
# The default amount of each kind, the smallest and the largest.
AMOUNTS = {
  'pan': (0.2, -0.9, 0.9),
  'tilt': (0.2, -0.9, 0.9),
  'zoom': (1.3, 0.1, 10.0),
  'rotate': (10.0, -360.0, 360.0),
  'arc': (0.1, -0.45, 0.45),
}
SWEEP = (180.0, -360.0, 360.0)
KINDS = (*AMOUNTS, 'key_frames')
SMALLEST_SCALE = 0.5  # pixels of the picture per pixel of a frame; frames look soft below it


@dataclasses.dataclass(frozen=True)
class CameraMove:
  """A camera move.

  Attributes:
    kind: 'pan', 'tilt', 'zoom', 'rotate', 'arc' or 'key_frames'.
    amount: size of the move; None takes the default of the kind. pan, tilt: fraction of the
      picture's width, height that the centre travels, positive to the right, down. zoom: last zoom
      over first, above 1 zooms in, below 1 out. rotate: degrees. arc: radius as a fraction of the
      picture's sides; the camera passes over the top of the circle, and through its bottom if the
      radius is negative.
    sweep: arc only, degrees of the circle, positive clockwise; None takes 180.
    easing: 'linear', 'ease_in', 'ease_out' or 'ease_in_out'.
    key_frames: key_frames only, (time, x, y, zoom, degrees) each, times from 0 to 1 increasing.
      Easing applies between neighbours. Only the ratios of zooms matter, as the window at zoom 1
      is the largest that fits.
  """

  kind: str = 'zoom'
  amount: float | None = None
  sweep: float | None = None
  easing: str = 'linear'
  key_frames: tuple[tuple[float, float, float, float, float], ...] = ()

  def faults(self):
    """Lists the faults that the move has for any picture, as sentences."""
    faults, known = [], ', '.join(map(repr, EASINGS))
    if self.easing not in tuple(EASINGS):
      faults.append(f'move.easing is {self.easing!r}; accepted: {known}')
    if self.kind not in KINDS:
      return [f'move.kind is {self.kind!r}; accepted: {", ".join(map(repr, KINDS))}', *faults]
    accepted = {'amount': AMOUNTS.get(self.kind), 'sweep': SWEEP if self.kind == 'arc' else None}
    for name, limits in accepted.items():
      value = getattr(self, name)
      given = f'move.{name} is {value!r} with kind {self.kind!r}'
      if value is not None and limits is None:
        faults.append(f'{given}, which has none; accepted: None')
      elif value is not None and not (is_number(value) and limits[1] <= value <= limits[2]):
        faults.append(f'{given}; accepted: None, or {limits[1]} to {limits[2]}')
    if self.kind == 'key_frames':
      faults += _key_frame_faults(self.key_frames)
    elif self.key_frames:
      faults.append(
        f"move.key_frames is given with kind {self.kind!r}; accepted: () or kind 'key_frames'"
      )
    return faults


def poses(move, frames):
  """The camera pose of every frame, f64[F, 4]: centre x and y, zoom, degrees.

  Frame j is at time j / (F - 1). Raises ValueError with all faults of the `CameraMove`.
  """
  if faults := move.faults():
    raise ValueError('; '.join(faults))
  time, ease = np.arange(frames) / max(frames - 1, 1), EASINGS[move.easing]
  amount = AMOUNTS.get(move.kind, (0,))[0] if move.amount is None else move.amount
  if move.kind == 'arc':
    sweep = math.radians(SWEEP[0] if move.sweep is None else move.sweep)
    # Angles count from the top of the circle; the middle of the arc's height is the picture's.
    angle = sweep * (ease(time) - 0.5)
    middle = (1 + math.cos(sweep / 2)) / 2
    x, y = 0.5 + amount * np.sin(angle), 0.5 + amount * (middle - np.cos(angle))
    return np.stack([x, y, np.ones(frames), np.zeros(frames)], -1)
  half = amount / 2
  keys = {
    'pan': [(0, 0.5 - half, 0.5, 1, 0), (1, 0.5 + half, 0.5, 1, 0)],
    'tilt': [(0, 0.5, 0.5 - half, 1, 0), (1, 0.5, 0.5 + half, 1, 0)],
    'zoom': [(0, 0.5, 0.5, 1, 0), (1, 0.5, 0.5, amount, 0)],
    'rotate': [(0, 0.5, 0.5, 1, 0), (1, 0.5, 0.5, 1, amount)],
    'key_frames': move.key_frames,
  }[move.kind]
  times, values = np.split(np.array(keys, np.float64), [1], axis=1)
  # In logarithms, a zoom grows by the same factor from frame to frame.
  values[:, 2] = np.log(values[:, 2])
  first = np.clip(np.searchsorted(times[:, 0], time, 'right') - 1, 0, len(keys) - 2)
  weight = ease((time[:, None] - times[first]) / (times[first + 1] - times[first]))
  out = values[first] * (1 - weight) + values[first + 1] * weight
  out[:, 2] = np.exp(out[:, 2])
  return out


def scales(poses, picture, height, width):
  """The scale of each frame where the window at zoom 1 is the largest that fits all frames.

  Args:
    poses: f[F, 4].
    picture: (height, width) of the picture.
    height, width: size of the frames.

  Returns:
    (f64[F] pixels of the picture per pixel of the frame, not positive if a centre is outside; the
    index of the frame that allows no larger window).
  """
  x, y, zoom, degrees = np.asarray(poses, np.float64).T
  cosine, sine = np.abs(np.cos(np.radians(degrees))), np.abs(np.sin(np.radians(degrees)))
  # A rotated window touches the edge with a corner. Corners reach this far from the centre, per
  # unit of scale.
  across, down = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
  largest = np.minimum(
    np.minimum(x, 1 - x) * picture[1] / across, np.minimum(y, 1 - y) * picture[0] / down
  )
  closest = int(np.argmin(largest * zoom))
  return (largest * zoom)[closest] / zoom, closest


def render(image, poses, height, width):
  """Films a picture uint8[H, W, 3] with a pose f[F, 4] for each frame: uint8[F, height, width, 3].

  Raises:
    ValueError: `image` is no such array, or a centre is not inside the picture.
  """
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
    raise ValueError(f'image is {image.dtype}{list(image.shape)}; accepted: uint8[H, W, 3]')
  old_height, old_width = image.shape[:2]
  scale, closest = scales(poses, (old_height, old_width), height, width)
  if not scale.min() > 0:
    raise ValueError(
      f'pose {closest} is {tuple(poses[closest])}; accepted: a centre inside the picture, zoom > 0'
    )
  # The picture is resized to two pixels per pixel of the frame, sampled so densely, and halved:
  # nothing aliases, and fine texture does not flicker as it moves between pixels.
  right, down = np.meshgrid(np.arange(0.5, 2 * width) - width, np.arange(0.5, 2 * height) - height)
  size, out = None, []
  for (x, y, _, degrees), step in zip(poses, scale / 2, strict=True):
    if size != (size := (math.ceil(old_width / step), math.ceil(old_height / step))):
      source = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    cosine, sine = step * math.cos(math.radians(degrees)), step * math.sin(math.radians(degrees))
    across = (x + (cosine * right - sine * down) / old_width) * size[0]
    along = (y + (sine * right + cosine * down) / old_height) * size[1]
    bands = map(Image.fromarray, np.moveaxis(_interpolate(source, across, along), -1, 0))
    frame = np.stack([band.resize((width, height), Image.Resampling.LANCZOS) for band in bands], -1)
    out.append(np.clip(np.round(frame), 0, 255).astype(np.uint8))
  return np.stack(out)


def check_image(path, move, frames, height, width):
  """Lists the faults of a call of `film_image` with these arguments, without rendering."""
  return _inspect(path, move, frames, height, width)[0]


def film_image(path, move, frames, height, width):
  """Reads a still, local or remote, and films it by a `CameraMove`: uint8[F, height, width, 3].

  Raises:
    FaultsError: the faults that `check_image` lists.
  """
  faults, image = _inspect(path, move, frames, height, width)
  faults.stop('the image cannot be filmed')
  return render(image, poses(move, frames), height, width)


def _inspect(path, move, frames, height, width):
  """The faults of a call of `film_image`, and the picture if it could be read."""
  faults = Faults(whole_number_faults(frames=frames, height=height, width=width) + move.faults())
  image = faults.attempt(read_image, path)
  if faults:
    return faults, None
  scale, closest = scales(poses(move, frames), image.shape[:2], height, width)
  nearest = int(np.argmin(scale))
  if scale[nearest] < SMALLEST_SCALE - 1e-9:
    shown, least = (f'{width * s:.4g} x {height * s:.4g}' for s in (scale[nearest], SMALLEST_SCALE))
    faults.append(
      f'image is {os.fspath(path)!r} of {image.shape[1]} x {image.shape[0]} pixels, too small: '
      f'frame {nearest} shows {shown} of them (frame {closest} is nearest to the edge); '
      f'accepted: at least {least} for a frame of {width} x {height}, from a larger image or by a '
      'gentler move'
    )
  return faults, image


def _key_frame_faults(keys):
  """Lists the faults of key frames; each names its index."""
  if not isinstance(keys, tuple | list) or len(keys) < 2:
    return [f'move.key_frames is {keys!r}; accepted: two or more of (time, x, y, zoom, degrees)']
  faults = []
  for i, key in enumerate(keys):
    given = f'move.key_frames[{i}] is {key!r}'
    if (
      not (isinstance(key, tuple | list) and len(key) == 5)
      or not all(map(is_number, key))
      or key[3] <= 0
    ):
      faults.append(f'{given}; accepted: numbers (time, x, y, zoom > 0, degrees)')
    elif not (0 < key[1] < 1 and 0 < key[2] < 1):
      faults.append(f'{given}, whose centre leaves the image; accepted: 0 < x < 1, 0 < y < 1')
  if faults:
    return faults
  times = [key[0] for key in keys]
  if (times[0], times[-1]) != (0, 1) or any(a >= b for a, b in itertools.pairwise(times)):
    faults.append(f'move.key_frames has the times {times}; accepted: 0 first, 1 last, increasing')
  return faults


def _interpolate(source, x, y):
  """Catmull-Rom splines through uint8[H, W, C] at x, y f64[h, w] from the top left: f32[h, w, C].

  They are exact for ramps; PIL's are not and would let the picture swim by tenths of a pixel.
  """

  def taps(position, size):
    first = np.floor(position - 0.5).astype(int)
    t = (position - 0.5 - first).astype(np.float32)[..., None]
    weights = [(2 * t - 1 - t * t) * t, 2 + (3 * t - 5) * t * t]
    weights += [(1 + (4 - 3 * t) * t) * t, (t - 1) * t * t]
    return [(np.clip(first + i - 1, 0, size - 1), weight / 2) for i, weight in enumerate(weights)]

  rows, columns = taps(y, source.shape[0]), taps(x, source.shape[1])
  return sum(
    down * sum(across * source[row, column] for column, across in columns) for row, down in rows
  )
