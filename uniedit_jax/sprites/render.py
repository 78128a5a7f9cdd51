"""Draws scenes in numpy: the same scene gives the same bytes on every machine.

A frame is 32 units wide and high at any size in pixels, x to the right and y downwards.
"""

from typing import NamedTuple

import numpy as np

from uniedit_jax.sprites.scenes import Scene

EXTENT = 32
RADIUS = {'small': 5.5, 'big': 8.0}
PLACE = {'at the top': -4.0, 'in the middle': 0.0, 'at the bottom': 4.0}
TRAVEL = 8.0
JUMP = 7.0
PALETTE = {
  'red': (0.90, 0.10, 0.10),
  'green': (0.10, 0.80, 0.20),
  'blue': (0.10, 0.30, 0.95),
  'yellow': (1.00, 0.90, 0.10),
  'purple': (0.70, 0.15, 0.85),
  'white': (0.97, 0.97, 0.97),
}
# The dark and the light colour of every texture, duller than any object.
TEXTURES = {
  'grass': ((0.20, 0.34, 0.16), (0.38, 0.50, 0.26)),
  'bricks': ((0.46, 0.26, 0.20), (0.58, 0.46, 0.42)),
  'water': ((0.16, 0.32, 0.42), (0.36, 0.54, 0.62)),
  'sand': ((0.56, 0.46, 0.30), (0.74, 0.64, 0.46)),
}
OUTLINE = 0.3  # brightness of the outline, relative to the object's colour
OUTLINE_WIDTH = 1.0
PAPER = np.array((0.96, 0.94, 0.88))
DAWN = 0.6  # the light of the first frame; that of the last is 1


class Rendering(NamedTuple):
  """A drawn scene.

  Attributes:
    frames: uint8[F, H, W, 3].
    masks: bool[F, H, W], True where the object covers most of a pixel.
    background: uint8[F, H, W, 3], the frames without the object.
  """

  frames: np.ndarray
  masks: np.ndarray
  background: np.ndarray


class Pose(NamedTuple):
  """The object of one frame: its centre x, y, its radius and its rotation in radians."""

  x: float
  y: float
  radius: float
  angle: float


def light(frames):
  """The light of every frame, f64[F]: it rises evenly, so that no two frames of a clip are equal.

  Temporal attention of this family encodes relative time only, and attention over equal values
  returns that value: equal frames would stay equal whatever is injected, so nothing could begin to
  move.
  """
  return np.linspace(DAWN, 1, frames)


def pose(scene, time):
  """The `Pose` at `time` in [0, 1], first frame to last.

  Every path begins at the object's place. If paths passed it halfway, left and right would not
  differ in the mean of a frame, only in the product of word, time and position, which gradients do
  not find from a symmetric start.
  """
  x = EXTENT / 2 + scene.shift[0]
  y = EXTENT / 2 + PLACE[scene.place] + scene.shift[1]
  radius, angle = RADIUS[scene.size], 0.0
  way = TRAVEL * time
  match scene.motion:
    case 'moving left':
      x -= way
    case 'moving right':
      x += way
    case 'rising':
      y -= way
    case 'falling':
      y += way
    case 'jumping':
      y -= JUMP * abs(np.sin(2 * np.pi * time))
    case 'spinning':
      angle = np.pi * time
    case 'growing':
      radius *= 0.5 + 0.8 * time
  return Pose(x, y, radius, angle)


def render(scene: Scene, size=32, frames=16, extent=EXTENT):
  """Draws a scene.

  Args:
    scene: `Scene`.
    size: height and width of a frame in pixels.
    frames: number of frames F, at least 2.
    extent: width and height of a frame in units, from the top left corner of the world.

  Returns:
    `Rendering`.
  """
  pixel = extent / size
  y, x = (np.mgrid[:size, :size] + 0.5) * pixel
  texture = _texture(scene.background, x + scene.texture[0], y + scene.texture[1])
  colour = np.array(PALETTE[scene.colour])
  pictures, masks = [], []
  for time in np.linspace(0, 1, frames):
    distance = _distance(scene.shape, x, y, pose(scene, time))
    # A linear ramp one pixel wide is the area that a straight edge covers of a pixel.
    cover, inside = (
      np.clip(0.5 - (distance + inset) / pixel, 0, 1)[..., None] for inset in (0, OUTLINE_WIDTH)
    )
    body = colour * (OUTLINE + (1 - OUTLINE) * inside)
    pictures.append(texture + cover * (body - texture))
    masks.append(cover[..., 0] > 0.5)
  *pictures, background = (_styled(scene.style, picture, pixel) for picture in [*pictures, texture])
  lights = light(frames)[:, None, None, None]
  pictures, background = _quantise(lights * np.stack(pictures)), _quantise(lights * background)
  return Rendering(pictures, np.stack(masks), background)


def _distance(shape, x, y, pose):
  """Signed distance to the shape's outline, negative inside (outside of corners: a lower bound)."""
  x, y, r = x - pose.x, y - pose.y, pose.radius
  cos, sin = np.cos(pose.angle), np.sin(pose.angle)
  x, y = cos * x + sin * y, cos * y - sin * x
  box = lambda half_width, half_height: np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)
  match shape:
    case 'square':
      return box(0.85 * r, 0.85 * r)
    case 'triangle':
      slope = np.sqrt(3) / 2
      return np.maximum.reduce([y, slope * x - y / 2, -slope * x - y / 2]) - 0.65 * r
    case 'cross':
      return np.minimum(box(1.1 * r, 0.38 * r), box(0.38 * r, 1.1 * r))
    case 'bar':
      return box(1.25 * r, 0.45 * r)


def _texture(name, x, y):
  """The texture without an object, f64[H, W, 3], of period `scenes.TEXTURE_PERIOD` in x and y."""
  turn = 2 * np.pi / 8
  match name:
    case 'grass':
      light = 0.5 + 0.5 * np.sin(turn * x + np.sin(turn * y))
    case 'bricks':
      row = np.floor(y / 8)
      light = np.maximum(_line(y, 8), _line(x + 8 * (row % 2), 16))
    case 'water':
      light = 0.5 + 0.5 * np.sin(turn * y + np.sin(turn * x))
    case 'sand':
      light = 0.5 - 0.5 * np.cos(turn * (x + y)) * np.cos(turn * (x - y))
  dark, bright = map(np.array, TEXTURES[name])
  return dark + light[..., None] * (bright - dark)


def _line(x, period):
  """1 on lines one unit wide, one every `period` units, 0 elsewhere, with ramps of one unit."""
  return np.clip(1.5 - np.abs((x + period / 2) % period - period / 2), 0, 1)


def _styled(style, picture, pixel):
  """The whole frame in a style, f64[H, W, 3]."""
  match style:
    case 'photo':
      return picture
    case 'night':
      return picture * (0.36, 0.42, 0.62) + (0.0, 0.0, 0.10)
    case 'sunset':
      return picture * (0.95, 0.62, 0.42) + (0.05, 0.04, 0.02)
    case 'sketch':
      light = picture @ (0.30, 0.59, 0.11)
      slope = np.hypot(*np.gradient(np.pad(light, 1, mode='edge'), pixel))[1:-1, 1:-1]
      ink = np.clip(4 * slope - 0.15, 0, 1)[..., None]
      return (PAPER + 0.5 * (picture - PAPER)) * (1 - 0.75 * ink)


def _quantise(picture):
  return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
