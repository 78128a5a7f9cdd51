"""Reads the attributes of a clip from its pixels: those whose rendering explains the clip best.

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
# The motions that change the silhouette; in a single frame the others look like the first.
SHAPING = ('standing still', 'spinning', 'growing')
REACH = 8  # search range around the middle, in units of which a frame has `EXTENT`
SIDE = EXTENT + 2 * REACH  # of a frame with a margin
NOISE = 0.05  # a colour difference, in [0, 1]^3, that is no evidence
RIM = 0.3  # weight of pixels just outside a silhouette, for blur and a sketch's ink enlarge objects
LEAST_FIT = 0.35  # objects have 0.5 even after blur and noise, backgrounds 0.15 at most
# Objects that tremble by one unit have 0.65, those that change their motion halfway often less.
LEAST_STEADINESS = 0.6
UNKNOWN = (None, 0.0)  # a value and its margin


class Reading(NamedTuple):
  """Attributes of a clip, and how sure they are.

  Attributes:
    values: {attribute: value}, the keys of `ATTRIBUTES`. The object's are None if it is not
      visible; its motion and place are None if it follows no path of the world.
    margins: {attribute: float in [0, 1]}, how much worse the next best value explains the clip; 0
      is a guess.
    fit: float in [0, 1], the share of the object's evidence that one silhouette explains, placed
      freely in every frame.
    steadiness: float, the share of `fit` that remains when the silhouette has to follow a path.
    mask: bool[F, H, W], pixels that look more like the object than like the background.
  """

  values: dict[str, str | None]
  margins: dict[str, float]
  fit: float
  steadiness: float
  mask: np.ndarray

  @property
  def visible(self):
    """Whether the clip shows an object."""
    return self.fit >= LEAST_FIT

  def matches(self, scene):
    """{attribute: bool}, whether its value is that of `scene`."""
    return {name: value == getattr(scene, name) for name, value in self.values.items()}


def read(frames):
  """Reads a clip.

  Args:
    frames: u8[F, H, W, 3]; F at least 4, as a jump looks like standing still in fewer; H = W, a
      multiple of `EXTENT`.

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
  # Frames of `EXTENT` pixels, without their light.
  scale = size // EXTENT
  blocks = frames.reshape(count, EXTENT, scale, EXTENT, scale, 3)
  pixels = blocks.mean((2, 4), dtype=np.float32) / 255
  pixels /= _light(pixels)[:, None, None, None]

  # The background, and the evidence of an object in front of it.
  tile = _background_tile(pixels)
  best = dict.fromkeys(ATTRIBUTES, UNKNOWN) | _best(_background_scores(tile), FRAME_ATTRIBUTES)
  evidence = _evidence(pixels, tile, best['style'][0])

  # The object, on a path of the world and placed freely.
  spectra = _spectra(evidence)
  path_scores, colour, path_area = _follow(spectra)
  free_scores, free_area = _locate(spectra[:, :, colour])
  whole = evidence[colour, :, 0]
  fit = _explained(whole, free_area)
  steadiness = _explained(whole, path_area) / fit if fit else 0.0
  if fit >= LEAST_FIT:
    best |= _best(path_scores, OBJECT_ATTRIBUTES)
    if steadiness < LEAST_STEADINESS:
      best |= _best(free_scores, ('size', 'shape')) | dict.fromkeys(('motion', 'place'), UNKNOWN)
  values, margins = ({name: pair[i] for name, pair in best.items()} for i in range(2))
  return Reading(values, margins, fit, steadiness, (whole > 0).repeat(scale, 1).repeat(scale, 2))


def _best(scores, names):
  """The values of the highest score, {name: (value, margin)}; `names` are the axes of `scores`."""
  best, highest = np.unravel_index(scores.argmax(), scores.shape), scores.max()
  values = {}
  for axis, (name, i) in enumerate(zip(names, best, strict=True)):
    other = np.delete(scores, i, axis).max()
    margin = float(np.clip(1 - other / highest, 0, 1)) if highest > 0 else 0.0
    values[name] = ATTRIBUTES[name][i], margin
  return values


def _light(pixels):
  """The light of every frame, f32[F]: its brightness over the median frame's, scaled to `light`."""
  brightness = pixels.sum(-1)
  relative = np.median(brightness / np.maximum(np.median(brightness, axis=0), 1e-3), axis=(1, 2))
  mean = light(len(pixels)).mean(dtype=np.float32)
  return np.maximum(relative / max(relative.mean(), 1e-3), 0.1) * mean


def _background_tile(pixels):
  """One period of the background, f32[P, P, 3]: an object covers fewer than half of its copies."""
  period, times = TEXTURE_PERIOD, EXTENT // TEXTURE_PERIOD
  return np.median(pixels.reshape(-1, times, period, times, period, 3), axis=(0, 1, 3))


def _background_scores(tile):
  """Similarity to every style and background at the best offset, f[style, background]."""
  spectra, energies = _backgrounds()
  products = np.einsum('hwc,sbhwc->sbhw', np.fft.rfft2(tile, axes=(0, 1)), spectra)
  overlaps = np.fft.irfft2(products, s=tile.shape[:2]).max((2, 3))
  return 1 / np.sqrt(np.maximum((tile**2).sum() + energies - 2 * overlaps, 1e-6))


@functools.lru_cache
def _backgrounds():
  """Every background's conjugate spectrum c[s, b, P, P // 2 + 1, 3] and energy f[s, b]."""
  # At the edge of a frame a sketch has other slopes.
  inner = slice(8, 8 + TEXTURE_PERIOD)
  draw = lambda scene: render(scene, frames=2).background[-1, inner, inner] / 255
  tiles = np.array(
    [
      [draw(Scene(style=style, background=name)) for name in ATTRIBUTES['background']]
      for style in ATTRIBUTES['style']
    ]
  )
  return np.fft.rfft2(tiles, axes=(2, 3)).conj(), (tiles**2).sum((2, 3, 4))


@functools.lru_cache
def _colours(style):
  """The outline and the body of every object colour, f32[6, 2, 3] in [0, 1]."""
  ends = []
  for colour in ATTRIBUTES['colour']:
    rendering = render(Scene(style=style, colour=colour), frames=2)
    frame, mask = rendering.frames[-1] / 255, rendering.masks[-1]
    ends.append((min(frame[mask], key=np.sum), frame[EXTENT // 2, EXTENT // 2]))
  return np.array(ends, np.float32)


def _evidence(pixels, tile, style):
  """How much more a pixel looks like the object than like the background.

  Args:
    pixels: f32[F, H, W, 3].
    tile: f32[P, P, 3], the background.
    style: value of 'style'.

  Returns:
    f32[6, F, 2, H, W] in (-1, 1), for every colour: evidence of the whole object, whose colours lie
    between the outline's and the body's, and of the body. It is a ratio, so that a night, where all
    colours are close, gives as much evidence as a day.
  """
  difference = lambda colours: np.linalg.norm(pixels - colours, axis=-1)
  times = EXTENT // TEXTURE_PERIOD
  far = difference(np.tile(tile, (times, times, 1)))[:, None]
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
    (f[colour, size, shape, motion, place], the evidence at the best offset; index of the best
    object's colour; its pixels, bool[F, H, W]).
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
  area = np.roll(silhouettes[best], (offsets[y], offsets[x]), (1, 2))
  return scores.reshape(shape), colour, _crop(area)


def _locate(spectra):
  """Compares the clip with every size and shape, placed freely in each frame.

  Args:
    spectra: c64[SIDE, SIDE // 2 + 1, F, 2] of the evidence of one colour.

  Returns:
    (f[size, shape], the evidence; pixels of the best, bool[F, H, W]).
  """
  count = spectra.shape[2]
  silhouettes, templates = _shaping_silhouettes(count)
  offsets = np.arange(-EXTENT // 2, EXTENT // 2 + 1)
  sums = _sums((spectra[..., None, :] @ templates)[..., 0, :], offsets)
  scores = sums.max((0, 1)).sum(0)
  best = scores.argmax()
  y, x = np.divmod(sums[..., best].reshape(-1, count).argmax(0), len(offsets))
  moves = zip(silhouettes[best], offsets[y], offsets[x], strict=True)
  area = np.stack([np.roll(silhouette, (y, x), (0, 1)) for silhouette, y, x in moves])
  scores = scores.reshape(len(ATTRIBUTES['size']), len(ATTRIBUTES['shape']), -1).max(-1)
  return scores, _crop(area)


def _crop(frames):
  """The frames without their margins."""
  return frames[:, REACH : REACH + EXTENT, REACH : REACH + EXTENT]


def _explained(whole, area):
  """The share of the evidence f32[F, H, W] that supports an object at bool[F, H, W]."""
  return max(0.0, float(whole[area].sum() / max(np.abs(whole[area | (whole > 0)]).sum(), 1)))


@functools.lru_cache
def _silhouettes(frames):
  """Objects of all S sizes, shapes and motions, in the middle of F frames with a margin.

  Returns:
    (bool[S, F, SIDE, SIDE], the object's pixels; c64[SIDE, SIDE // 2 + 1, F, 2, S], conjugate
    spectra of the weights of the whole object and of its body).
  """
  whole, body = [], []
  for size, shape, motion in _silhouetted():
    scene = Scene(size=size, colour='white', shape=shape, motion=motion, shift=(REACH, REACH))
    rendering = render(scene, SIDE, frames, SIDE)
    whole.append(rendering.masks)
    # Nothing else is as bright as a white body.
    body.append(rendering.frames.min(-1) > 128 * light(frames)[:, None, None])
  wide = whole = np.stack(whole)
  for axis in (2, 3):
    wide = wide | np.roll(wide, 1, axis) | np.roll(wide, -1, axis)
  body = np.stack(body)
  templates = np.empty((SIDE, SIDE // 2 + 1, frames, 2, len(whole)), np.complex64)
  # All frames at once would take five times the memory.
  for frame in range(frames):
    rimmed = (1 - RIM) * whole[:, frame] + RIM * wide[:, frame]
    templates[:, :, frame] = _spectra(np.stack([rimmed, body[:, frame]], dtype=np.float32)).conj()
  return whole, templates


@functools.lru_cache
def _shaping_silhouettes(frames):
  """`_silhouettes` of the motions in `SHAPING`."""
  silhouettes, templates = _silhouettes(frames)
  chosen = [motion in SHAPING for _, _, motion in _silhouetted()]
  return silhouettes[chosen], np.ascontiguousarray(templates[..., chosen])


def _silhouetted():
  """(size, shape, motion) of all silhouettes."""
  return itertools.product(ATTRIBUTES['size'], ATTRIBUTES['shape'], ATTRIBUTES['motion'])
