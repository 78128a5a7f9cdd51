"""Reads what a clip shows from its pixels alone: of all the world's renderings, those that explain
the clip best.

Nothing is trained. The light of every frame is measured and undone. A background repeats itself, so
its median over frames and repetitions is free of the object. Pixels that are closer to a colour of
the object than to that background are evidence of it, and this evidence is correlated with the
silhouettes of every size, shape and motion at all places.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from uniedit_jax.sprites.render import EXTENT, PLACE, light, render
from uniedit_jax.sprites.scenes import ATTRIBUTES, TEXTURE_PERIOD, Scene

FRAME_ATTRIBUTES = ('style', 'background')
OBJECT_ATTRIBUTES = ('colour', 'size', 'shape', 'motion', 'place')
# in a single frame the other motions look like the first
SHAPING = ('standing still', 'spinning', 'growing')
REACH = 8  # how far from the middle a path is looked for, in units of which a frame has `EXTENT`
SIDE = EXTENT + 2 * REACH  # of a frame with a margin
NOISE = 0.05  # a difference of colours, in [0, 1]^3, that says little
# weight of the pixels just outside a silhouette: blur, and the ink of a sketch, make an object
# larger
RIM = 0.3
LEAST_FIT = 0.35  # objects have 0.5 even after blur and noise, backgrounds 0.15 at most
# objects that tremble by one unit have 0.65, those that change their motion halfway often less
LEAST_STEADINESS = 0.6
UNTOLD = (None, 0.0)  # a value and its margin


class Reading(NamedTuple):
  """What a clip shows.

  Attributes:
    values: {attribute: value}, the keys of `ATTRIBUTES`. Of an object that is not visible all are
      None, and of one that follows no path of the world motion and place are.
    margins: {attribute: float in [0, 1]}, how much worse the next best value explains the clip; 0
      is a guess.
    fit: float in [0, 1], the share of the evidence of an object that one silhouette explains, put
      freely in every frame.
    steadiness: float, the share of `fit` that is left when the silhouette has to follow a path.
    mask: bool[F, H, W], pixels that look like the object rather than like the background.
  """

  values: dict[str, str | None]
  margins: dict[str, float]
  fit: float
  steadiness: float
  mask: np.ndarray

  @property
  def visible(self):
    """Whether there is an object."""
    return self.fit >= LEAST_FIT

  def matches(self, scene):
    """{attribute: bool}, whether it is read as `scene` has it."""
    return {name: value == getattr(scene, name) for name, value in self.values.items()}


def read(frames):
  """Reads a clip.

  Args:
    frames: u8[F, H, W, 3]; F is at least 4, as a jump looks like standing still in fewer, and H = W
      a multiple of `EXTENT`.

  Returns:
    `Reading`.

  Raises:
    ValueError: frames of another shape or dtype.
  """
  count, size = frames.shape[:2]
  if frames.dtype != np.uint8 or frames.shape[1:] != (size, size, 3) or size % EXTENT or count < 4:
    raise ValueError(
      f'frames are {frames.dtype}{list(frames.shape)}; '
      f'accepted: uint8[F, H, H, 3] with F at least 4 and H a multiple of {EXTENT}'
    )
  scale = size // EXTENT
  pixels = (
    frames.reshape(count, EXTENT, scale, EXTENT, scale, 3).mean((2, 4), dtype=np.float32) / 255
  )
  pixels /= _light(pixels)[:, None, None, None]

  tile = _background_tile(pixels)
  found = dict.fromkeys(ATTRIBUTES, UNTOLD) | _best(_background_scores(tile), FRAME_ATTRIBUTES)
  evidence = _evidence(pixels, tile, found['style'][0])
  spectra = _spectra(evidence)
  path_scores, colour, path_area = _follow(spectra)
  free_scores, free_area = _locate(spectra[:, :, colour])
  whole = evidence[colour, :, 0]
  fit = _explained(whole, free_area)
  steadiness = _explained(whole, path_area) / fit if fit else 0.0
  if fit >= LEAST_FIT:
    found |= _best(path_scores, OBJECT_ATTRIBUTES)
    if steadiness < LEAST_STEADINESS:
      found |= _best(free_scores, ('size', 'shape')) | dict.fromkeys(('motion', 'place'), UNTOLD)
  values, margins = ({name: pair[i] for name, pair in found.items()} for i in range(2))
  return Reading(values, margins, fit, steadiness, (whole > 0).repeat(scale, 1).repeat(scale, 2))


def _best(scores, names):
  """The values of the highest score, {name: (value, margin)}; `names` are the axes of `scores`."""
  best = np.unravel_index(scores.argmax(), scores.shape)
  others = [np.delete(scores, i, axis).max() for axis, i in enumerate(best)]
  margins = [
    float(np.clip(1 - other / scores[best], 0, 1)) if scores[best] > 0 else 0.0 for other in others
  ]
  return {
    name: (ATTRIBUTES[name][i], margin)
    for name, i, margin in zip(names, best, margins, strict=True)
  }


def _light(pixels):
  """The light of every frame, f32[F]: how bright most pixels are beside the median frame, the mean
  as in the world.
  """
  brightness = pixels.sum(-1)
  relative = np.median(brightness / np.maximum(np.median(brightness, axis=0), 1e-3), axis=(1, 2))
  return np.maximum(relative / max(relative.mean(), 1e-3), 0.1) * light(len(pixels)).mean(
    dtype=np.float32
  )


def _background_tile(pixels):
  """One period of the background, f32[P, P, 3]: an object covers less than half of the pixels that
  repeat it.
  """
  period, times = TEXTURE_PERIOD, EXTENT // TEXTURE_PERIOD
  return np.median(pixels.reshape(-1, times, period, times, period, 3), axis=(0, 1, 3))


def _background_scores(tile):
  """Likeness to every style and background at the best offset, f[style, background]."""
  spectra, energies = _backgrounds()
  products = np.einsum('hwc,sbhwc->sbhw', np.fft.rfft2(tile, axes=(0, 1)), spectra)
  overlaps = np.fft.irfft2(products, s=tile.shape[:2]).max((2, 3))
  return 1 / np.sqrt(np.maximum((tile**2).sum() + energies - 2 * overlaps, 1e-6))


@functools.lru_cache
def _backgrounds():
  """Conjugate spectra of one period of every background, c[s, b, P, P // 2 + 1, 3], and its energy,
  f[s, b].
  """
  inner = slice(8, 8 + TEXTURE_PERIOD)  # at the edge of a frame a sketch has other slopes
  scenes = [
    [Scene(style=style, background=name) for name in ATTRIBUTES['background']]
    for style in ATTRIBUTES['style']
  ]
  tiles = (
    np.array(
      [[render(scene, frames=2).background[-1, inner, inner] for scene in row] for row in scenes]
    )
    / 255
  )
  return np.fft.rfft2(tiles, axes=(2, 3)).conj(), (tiles**2).sum((2, 3, 4))


@functools.lru_cache
def _colours(style):
  """The outline and the body of every colour, f32[6, 2, 3] in [0, 1]."""
  ends = []
  for colour in ATTRIBUTES['colour']:
    rendering = render(Scene(style=style, colour=colour), frames=2)
    frame, mask = rendering.frames[-1] / 255, rendering.masks[-1]
    ends.append((min(frame[mask], key=np.sum), frame[EXTENT // 2, EXTENT // 2]))
  return np.array(ends, np.float32)


def _evidence(pixels, tile, style):
  """How much a pixel looks like the object rather than like the background.

  Args:
    pixels: f32[F, H, W, 3].
    tile: f32[P, P, 3], the background.
    style: value of 'style'.

  Returns:
    f32[6, F, 2, H, W] in (-1, 1), for every colour: of the whole object, whose colours lie between
    the outline's and the body's, and of the body. A ratio, so that a night, where all colours are
    close, says as much as a day.
  """
  difference = lambda colours: np.linalg.norm(pixels - colours, axis=-1)
  far = difference(np.tile(tile, (EXTENT // TEXTURE_PERIOD,) * 2 + (1,)))[:, None]
  evidence = []
  for outline, body in _colours(style):
    way = body - outline
    along = np.clip((pixels - outline) @ way / (way @ way), 0, 1)[..., None]
    near = np.stack([difference(outline + along * way), difference(body)], 1)
    evidence.append((far - near) / (far + near + NOISE))
  return np.stack(evidence)


def _spectra(evidence):
  """Fourier transforms of frames with a margin: f32[*b, H, W] to c64[SIDE, SIDE // 2 + 1, *b]."""
  margin = (SIDE - evidence.shape[-1]) // 2
  padded = np.pad(evidence, [(0, 0)] * (evidence.ndim - 2) + [(margin, margin)] * 2)
  return np.moveaxis(np.fft.rfft2(padded), (-2, -1), (0, 1))


def _sums(products, offsets):
  """Correlations at all `offsets` O in y and x, f32[O, O, *b], of c64[SIDE, SIDE // 2 + 1, *b]."""
  return np.fft.irfft2(products, s=(SIDE, SIDE), axes=(0, 1))[offsets[:, None], offsets]


def _follow(spectra):
  """Compares the clip with every object on every path.

  Args:
    spectra: c64[SIDE, SIDE // 2 + 1, 6, F, 2] of the evidence.

  Returns:
    f[colour, size, shape, motion, place], the evidence at the best offset; of the best, the index
    of its colour and its pixels, bool[F, H, W].
  """
  count = spectra.shape[3]
  silhouettes, templates = _silhouettes(count)
  flat = (*spectra.shape[:2], -1, 2 * count)
  products = spectra.reshape(flat) @ templates.reshape(*spectra.shape[:2], 2 * count, -1)
  offsets = np.arange(-REACH, REACH + 1)
  sums = _sums(products, offsets)
  nearest = np.abs(offsets[:, None] - [PLACE[name] for name in ATTRIBUTES['place']]).argmin(1)
  scores = np.stack([sums[nearest == place].max((0, 1)) for place in range(len(PLACE))], -1)
  y, x, colour, best = np.unravel_index(sums.argmax(), sums.shape)
  shape = [len(ATTRIBUTES[name]) for name in OBJECT_ATTRIBUTES]
  return (
    scores.reshape(shape),
    colour,
    _crop(np.roll(silhouettes[best], (offsets[y], offsets[x]), (1, 2))),
  )


def _locate(spectra):
  """Compares the clip with every size and shape, put where it suits each frame.

  Args:
    spectra: c64[SIDE, SIDE // 2 + 1, F, 2] of the evidence of one colour.

  Returns:
    f[size, shape], the evidence, and the pixels of the best, bool[F, H, W].
  """
  count = spectra.shape[2]
  silhouettes, templates = _shaping_silhouettes(count)
  offsets = np.arange(-EXTENT // 2, EXTENT // 2 + 1)
  sums = _sums((spectra[..., None, :] @ templates)[..., 0, :], offsets)
  scores = sums.max((0, 1)).sum(0)
  best = scores.argmax()
  places = sums[..., best].reshape(-1, count).argmax(0)
  moves = zip(
    silhouettes[best], offsets[places // len(offsets)], offsets[places % len(offsets)], strict=True
  )
  area = np.stack([np.roll(silhouette, (y, x), (0, 1)) for silhouette, y, x in moves])
  return scores.reshape(*(len(ATTRIBUTES[name]) for name in ('size', 'shape')), -1).max(-1), _crop(
    area
  )


def _crop(frames):
  """The frames without their margins."""
  return frames[:, REACH : REACH + EXTENT, REACH : REACH + EXTENT]


def _explained(whole, area):
  """The share of the evidence f32[F, H, W], of it or against it, that speaks for an object at
  bool[F, H, W].
  """
  return max(0.0, float(whole[area].sum() / max(np.abs(whole[area | (whole > 0)]).sum(), 1)))


@functools.lru_cache
def _silhouettes(frames):
  """The objects of every size, shape and motion, S in all, in the middle of frames with a margin.

  Args:
    frames: number of frames F.

  Returns:
    (bool[S, F, SIDE, SIDE], the object's pixels; c64[SIDE, SIDE // 2 + 1, F, 2, S], conjugate
    spectra of the weights of the whole object and of its body).
  """
  whole, body = [], []
  for size, shape, motion in _silhouetted():
    scene = Scene(size=size, colour='white', shape=shape, motion=motion, shift=(REACH, REACH))
    rendering = render(scene, SIDE, frames, SIDE)
    whole.append(rendering.masks)
    # nothing else is as bright
    body.append(rendering.frames.min(-1) > 128 * light(frames)[:, None, None])
  wide = whole = np.stack(whole)
  for axis in (2, 3):
    wide = wide | np.roll(wide, 1, axis) | np.roll(wide, -1, axis)
  body, templates = (
    np.stack(body),
    np.empty((SIDE, SIDE // 2 + 1, frames, 2, len(whole)), np.complex64),
  )
  for frame in range(frames):  # all of them at once would take five times the memory
    rimmed = (1 - RIM) * whole[:, frame] + RIM * wide[:, frame]
    templates[:, :, frame] = _spectra(np.stack([rimmed, body[:, frame]], dtype=np.float32)).conj()
  return whole, templates


@functools.lru_cache
def _shaping_silhouettes(frames):
  """`_silhouettes` of the motions of `SHAPING` alone."""
  silhouettes, templates = _silhouettes(frames)
  chosen = [motion in SHAPING for _, _, motion in _silhouetted()]
  return silhouettes[chosen], np.ascontiguousarray(templates[..., chosen])


def _silhouetted():
  """(size, shape, motion) of all silhouettes."""
  return itertools.product(*(ATTRIBUTES[name] for name in ('size', 'shape', 'motion')))
