"""Reads the attributes of a clip from its pixels: those whose rendering explains the clip best.

Nothing is trained. `foreground` finds the light, the background and the evidence of objects, which
is correlated with the silhouettes of every size, shape and motion, at all places.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from uniedit_jax.sprites import foreground
from uniedit_jax.sprites.render import EXTENT, PLACE, light, render
from uniedit_jax.sprites.scenes import ATTRIBUTES, Scene

FRAME_ATTRIBUTES = ('style', 'background')
OBJECT_ATTRIBUTES = ('colour', 'size', 'shape', 'motion', 'place')
# The motions that change the silhouette; in a single frame the others look like the first.
SHAPING = ('standing still', 'spinning', 'growing')
REACH = 8  # search range around the middle, in units of which a frame has `EXTENT`
SIDE = EXTENT + 2 * REACH  # of a frame with a margin
RIM = 0.3  # weight of pixels just outside a silhouette, for blur and a sketch's ink enlarge objects
LEAST_FIT = 0.35  # objects have 0.5 even after blur and noise, backgrounds 0.15 at most
# Objects that tremble by one unit have 0.65, those that change their motion halfway often less.
LEAST_STEADINESS = 0.6


class Reading(NamedTuple):
  """Attributes of a clip, and how sure they are.

  Attributes:
    values: {attribute: value}, the keys of `ATTRIBUTES`. The object's are None if it is not
      visible; its motion and place are None if it follows no path of the world.
    scores: {attribute: {value: float in [0, 1]}}, how well each value explains the clip, relative
      to the best; {} where the value is None.
    fit: float in [0, 1], the share of the object's evidence that one silhouette explains, placed
      freely in every frame.
    steadiness: float, the share of `fit` that remains when the silhouette has to follow a path.
    shift: (x, y) of the object off its place when its path begins; None where its motion is.
    mask: bool[F, H, W], pixels that look more like the object than like the background.
  """

  values: dict[str, str | None]
  scores: dict[str, dict[str, float]]
  fit: float
  steadiness: float
  shift: tuple[float, float] | None
  mask: np.ndarray

  @property
  def visible(self):
    """Whether the clip shows an object."""
    return self.fit >= LEAST_FIT

  @property
  def margins(self):
    """{attribute: float in [0, 1]}, how much worse the next best value is; 0 is a guess."""
    ranked = {name: sorted(found.values()) for name, found in self.scores.items()}
    return {name: 1 - found[-2] if found else 0.0 for name, found in ranked.items()}

  def credit(self, scene):
    """{attribute: float in [0, 1]}, how well the value of `scene` explains the clip; 1: best."""
    return {name: found.get(getattr(scene, name), 0.0) for name, found in self.scores.items()}

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
  pixels /= foreground.light_of(pixels)[:, None, None, None]

  # The background, and the evidence of objects in front of it.
  background_scores, tile, level = foreground.find_background(pixels)
  found = {name: {} for name in ATTRIBUTES} | _relative(background_scores, FRAME_ATTRIBUTES)
  style = max(found['style'], key=found['style'].get)
  evidence = foreground.evidence_of(pixels / level, tile / level, style)
  evidence *= ~foreground.find_bystander(evidence)

  # The object, on a path of the world and placed freely.
  spectra = _spectra(evidence)
  path = _follow(spectra)
  totals = evidence[:, :, 0].clip(0).sum((1, 2, 3))
  colour = path.colour if path.scores.max() > 0 else totals.argmax()
  free_scores, free_area = _locate(spectra[:, :, colour])
  whole = evidence[colour, :, 0]
  fit = _explained(whole, free_area)
  steadiness = _explained(whole, path.area) / fit if fit else 0.0
  if fit >= LEAST_FIT:
    found |= _relative(path.scores, OBJECT_ATTRIBUTES)
    if steadiness < LEAST_STEADINESS:
      found |= _relative(free_scores, ('size', 'shape')) | _relative(totals, ('colour',))
      found |= {'motion': {}, 'place': {}}
  values = {name: max(best, key=best.get) if best else None for name, best in found.items()}
  shift = None
  if values['place']:
    values['place'] = min(PLACE, key=lambda name: abs(path.y - PLACE[name]))
    shift = path.x, path.y - PLACE[values['place']]
  mask = (whole > 0).repeat(scale, 1).repeat(scale, 2)
  return Reading(values, found, fit, steadiness, shift, mask)


def _relative(scores, names):
  """{name: {value: its highest score, relative to the best}}; `names` are the axes of `scores`."""
  highest, found = max(scores.max(), 1e-9), {}
  for axis, name in enumerate(names):
    others = tuple(i for i in range(scores.ndim) if i != axis)
    shares = np.clip(scores.max(others) / highest, 0, 1).tolist()
    found[name] = dict(zip(ATTRIBUTES[name], shares, strict=True))
  return found


def _spectra(evidence):
  """Fourier transforms of frames with a margin: f32[*b, H, W] to c64[SIDE, SIDE // 2 + 1, *b]."""
  margin = (SIDE - evidence.shape[-1]) // 2
  padded = np.pad(evidence, [(0, 0)] * (evidence.ndim - 2) + [(margin, margin)] * 2)
  return np.moveaxis(np.fft.rfft2(padded), (-2, -1), (0, 1))


def _sums(products, offsets):
  """Correlations at all `offsets` O in y and x, f32[O, O, *b], of c64[SIDE, SIDE // 2 + 1, *b]."""
  return np.fft.irfft2(products, s=(SIDE, SIDE), axes=(0, 1))[offsets[:, None], offsets]


class _Path(NamedTuple):
  """The object that explains the evidence best, f[colour, size, shape, motion, place].

  Attributes:
    scores: the evidence of every object at its best offset.
    colour: index of the best object's colour.
    x, y: its offset from the middle when its path begins.
    area: its pixels, bool[F, H, W].
  """

  scores: np.ndarray
  colour: int
  x: float
  y: float
  area: np.ndarray


def _follow(spectra):
  """The `_Path` of the evidence's `spectra`, c64[SIDE, SIDE // 2 + 1, 6, F, 2]."""
  count = spectra.shape[3]
  silhouettes, templates = _silhouettes(count)
  flat = (*spectra.shape[:2], -1, 2 * count)
  products = spectra.reshape(flat) @ templates.reshape(*spectra.shape[:2], 2 * count, -1)
  offsets = np.arange(-REACH, REACH + 1)
  sums = _sums(products, offsets)

  away = np.abs(offsets[:, None] - [PLACE[name] for name in ATTRIBUTES['place']])
  nearest = away == away.min(1, keepdims=True)  # two are, halfway
  scores = np.stack([sums[near].max((0, 1)) for near in nearest.T], -1)
  scores = scores.reshape([len(ATTRIBUTES[name]) for name in OBJECT_ATTRIBUTES])

  y, x, colour, best = np.unravel_index(sums.argmax(), sums.shape)
  here = sums[:, :, colour]
  return _Path(
    scores,
    colour,
    float(_peak(here[y, :, best], x) - REACH),
    float(_peak(here[:, x, best], y) - REACH),
    _crop(np.roll(silhouettes[best], (offsets[y], offsets[x]), (1, 2))),
  )


def _peak(values, i):
  """Where the parabola through `values` around their maximum at `i` has its vertex."""
  if not 0 < i < len(values) - 1:
    return float(i)
  before, at, after = values[i - 1 : i + 2]
  bend = before - 2 * at + after
  return i + 0.5 * (before - after) / bend if bend < 0 else float(i)


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
    scene = Scene(size, 'white', shape, motion, shift=(REACH, REACH))
    rendering = render(scene, SIDE, frames, SIDE)
    whole.append(rendering.masks)
    # Nothing else is as bright as a white body.
    body.append(rendering.frames.min(-1) > 128 * light(frames)[:, None, None])
  whole = np.stack(whole)
  wide = np.stack([foreground.grown(masks) for masks in whole])
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
  names = ('size', 'shape', 'motion')
  return itertools.product(*(ATTRIBUTES[name] for name in names))
