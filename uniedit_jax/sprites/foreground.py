"""What of a clip is light and background, and what speaks for an object in front of it.

A background repeats itself, so its median over frames and repetitions is free of the objects.
Pixels that are closer to a colour of an object than to that background are evidence of it.
"""

import functools

import numpy as np

from uniedit_jax.sprites.render import EXTENT, light, render
from uniedit_jax.sprites.scenes import (
  ATTRIBUTES,
  CORNERS,
  DAWN,
  DAY,
  TEXTURE_PERIOD,
  Bystander,
  Scene,
)

LEVELS = 2 * DAWN / (DAWN + DAY), 2 * DAY / (DAWN + DAY)  # of a steady light to the mean of `light`
BACKED = 0.35  # share of a cell's samples, those most like a background, that its tile is made of
NOISE = 0.05  # a colour difference, in [0, 1]^3, that is no evidence
LEAST_BYSTANDER = 0.3  # median evidence in its silhouette; backgrounds have 0.1 at most


def light_of(pixels):
  """The light of every frame, f32[F]: its brightness over the median frame's, scaled to `light`."""
  brightness = pixels.sum(-1)
  relative = np.median(brightness / np.maximum(np.median(brightness, axis=0), 1e-3), axis=(1, 2))
  mean = light(len(pixels)).mean(dtype=np.float32)
  return np.maximum(relative / max(relative.mean(), 1e-3), 0.1) * mean


def find_background(pixels):
  """What is behind the objects: (f[style, background], tile f32[P, P, 3], level of the light).

  The scores are similarities to every style and background at its best offset and level. The first
  tile is the median of all frames and repetitions. Where objects cover half of them, it is wrong,
  so the second has only the samples that are most like the best background.
  """
  period, times = TEXTURE_PERIOD, EXTENT // TEXTURE_PERIOD
  samples = pixels.reshape(-1, times, period, times, period, 3).swapaxes(2, 3)
  samples = samples.reshape(-1, period, period, 3)
  tile = np.median(samples, axis=0)
  _, ideal = _compare_backgrounds(tile)
  distance = np.linalg.norm(samples - ideal, axis=-1)
  kept = distance <= np.quantile(distance, BACKED, axis=0)
  tile = (samples * kept[..., None]).sum(0) / kept.sum(0)[..., None]
  scores, ideal = _compare_backgrounds(tile)
  _, energies = _backgrounds()
  best = np.unravel_index(scores.argmax(), scores.shape)
  return scores, tile, float(np.sqrt((ideal**2).sum() / energies[best]))


def _compare_backgrounds(tile):
  """Similarity to every style and background, f[style, background], and the best, f[P, P, 3]."""
  spectra, energies = _backgrounds()
  products = np.einsum('hwc,sbhwc->sbhw', np.fft.rfft2(tile, axes=(0, 1)), spectra)
  overlaps = np.fft.irfft2(products, s=tile.shape[:2])
  highest = overlaps.max((2, 3))
  levels = np.clip(highest / energies, *LEVELS)
  residuals = (tile**2).sum() - 2 * levels * highest + levels**2 * energies
  scores = 1 / np.sqrt(np.maximum(residuals, 1e-6))
  best = np.unravel_index(scores.argmax(), scores.shape)
  offset = np.unravel_index(overlaps[best].argmax(), tile.shape[:2])
  drawn = np.fft.irfft2(spectra[best].conj(), s=tile.shape[:2], axes=(0, 1))
  return scores, levels[best] * np.roll(drawn, offset, (0, 1))


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


def evidence_of(pixels, tile, style):
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


def find_bystander(evidence):
  """The pixels of the bystander with a rim of one pixel, bool[H, W]; none if nobody stands by.

  Args:
    evidence: f32[6, F, 2, H, W].
  """
  lasting = np.median(evidence[:, :, 0], axis=1)
  silhouettes, weights = _bystanders()
  scores = np.einsum('chw,khw->kc', lasting, weights)
  best, colour = np.unravel_index(scores.argmax(), scores.shape)
  pixels = silhouettes[best]
  if lasting[colour][pixels].mean() < LEAST_BYSTANDER:
    return np.zeros_like(pixels)
  return grown(pixels[None])[0]


@functools.lru_cache
def _bystanders():
  """The pixels of all K shapes in all corners, bool[K, H, W], and weights f32[K, H, W].

  Pixels of other shapes in that corner weigh against a shape.
  """
  shapes, corners = ATTRIBUTES['shape'], CORNERS
  # Two colours whose outlines differ too show what the object covers.
  draw = lambda *bystander: render(Scene(bystander=Bystander(*bystander)), frames=2).background[-1]
  covered = np.array(
    [
      [np.abs(draw('white', *kind).astype(int) - draw('red', *kind)).max(-1) > 32 for kind in row]
      for row in [[(shape, corner) for shape in shapes] for corner in corners]
    ]
  )
  others = covered.any(1, keepdims=True) & ~covered
  flat = (-1, *covered.shape[2:])
  return covered.reshape(flat), (covered - 0.5 * others).reshape(flat).astype(np.float32)


def grown(masks):
  """Masks bool[N, H, W], one pixel wider in every direction: the soft edge of an object."""
  padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
  return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).any(axis=(-2, -1))
