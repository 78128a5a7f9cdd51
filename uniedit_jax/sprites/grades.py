"""What no prompt tells, measured against the exact clip: where the object is, how the texture lies,
the light, and the bystander.
"""

import dataclasses
import functools

import numpy as np

from uniedit_jax.sprites.foreground import grown
from uniedit_jax.sprites.reader import REACH
from uniedit_jax.sprites.render import BYSTANDER_MARGIN, EXTENT, PLACE, render
from uniedit_jax.sprites.scenes import ATTRIBUTES, Bystander

# An edit keeps what no prompt tells if it is within all of these.
MOST_POSITION_ERROR = 2.0  # units of which a frame has `EXTENT`
LEAST_TEXTURE = 0.5
MOST_LIGHT_ERROR = 0.1
GRADES = ('position_error', 'texture_correlation', 'light_error')


def grade(frames, reading, scene, exact):
  """Compares a clip with the exact one.

  Args:
    frames: u8[F, H, W, 3].
    reading: `reader.Reading` of it.
    scene: the exact `scenes.Scene`.
    exact: its `render.Rendering`.

  Returns:
    dict: 'position_error', the distance of the object from its exact place when its path begins, in
    units of which a frame has 32; `REACH` where no path is read. 'texture_correlation' of the
    background in [-1, 1]. 'light_error', the mean relative error of the background's brightness.
    'bystander_right', whether the exact bystander explains its corner better than none, or one of
    another colour or shape. 'kept', whether all are within this module's limits.
  """
  ground = ~grown(exact.masks | reading.mask) & ~_corner(scene.bystander, len(frames[0]))
  found = {
    'position_error': _position_error(reading, scene),
    'texture_correlation': _correlation(frames, exact.frames, ground),
    'light_error': _light_error(frames, exact.frames, ground),
    'bystander_right': _bystander_right(frames, scene, exact.masks),
  }
  kept = (
    found['position_error'] <= MOST_POSITION_ERROR
    and found['texture_correlation'] >= LEAST_TEXTURE
    and found['light_error'] <= MOST_LIGHT_ERROR
    and found['bystander_right']
  )
  rounded = {name: round(float(found[name]), 4) for name in GRADES}
  return found | rounded | {'kept': kept}


def _position_error(reading, scene):
  if reading.shift is None:
    return REACH
  right = reading.shift[0] - scene.shift[0]
  down = reading.shift[1] + PLACE[reading.values['place']] - scene.shift[1] - PLACE[scene.place]
  return min(np.hypot(right, down), REACH)


def _correlation(frames, exact, ground):
  """Of deviations from the mean colour of each frame, over the pixels of bool[F, H, W]."""
  weight = ground[..., None] / np.maximum(ground.sum((1, 2)), 1)[:, None, None, None]

  def deviations(clip):
    clip = clip.astype(np.float64)
    return (clip - (clip * weight).sum((1, 2), keepdims=True))[ground].ravel()

  one, other = deviations(frames), deviations(exact)
  return one @ other / max(np.sqrt((one @ one) * (other @ other)), 1e-9)


def _light_error(frames, exact, ground):
  means = [
    (clip.mean(-1) * ground).sum((1, 2)) / np.maximum(ground.sum((1, 2)), 1)
    for clip in (frames, exact)
  ]
  return np.mean(np.abs(means[0] - means[1]) / np.maximum(means[1], 1))


def _corner(bystander, size):
  """The pixels around a bystander, bool[H, W]."""
  corner = np.zeros((size, size), bool)
  if bystander:
    reach = round(2 * BYSTANDER_MARGIN * size / EXTENT)
    row, column = bystander.corner.split()
    rows = slice(None, reach) if row == 'top' else slice(-reach, None)
    columns = slice(None, reach) if column == 'left' else slice(-reach, None)
    corner[rows, columns] = True
  return corner


def _bystander_right(frames, scene, masks):
  size = len(frames[0])
  seen = _corner(scene.bystander, size) & ~grown(masks)
  distance = lambda bystander: np.sum(
    (frames[seen] - _empty(scene, bystander, size, len(frames))[seen]) ** 2
  )
  return not scene.bystander or all(
    distance(scene.bystander) < distance(other) for other in _others(scene.bystander)
  )


def _others(bystander):
  """None, and all bystanders in the same corner that differ in colour or in shape."""
  colours = [bystander._replace(colour=colour) for colour in ATTRIBUTES['colour']]
  shapes = [bystander._replace(shape=shape) for shape in ATTRIBUTES['shape']]
  return [None, *(other for other in colours + shapes if other != bystander)]


@functools.lru_cache(256)
def _empty(scene, bystander: Bystander | None, size, frames):
  """The background of a scene with this bystander, f32[F, H, W, 3]."""
  changed = dataclasses.replace(scene, bystander=bystander)
  return render(changed, size, frames).background.astype(np.float32)
