"""Foreground masks without a segmenter: where the tokens of the frames attend to the words of a
prompt.

Source and target are looked for in the latents of the reconstruction and of the motion reference,
which are sampled without masks first. The maps come from predictions beside them: no result
changes, and nothing is paid when it is off.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method import sampling, windows
from uniedit_jax.method.plan import EditPlan
from uniedit_jax.models.tokenizers import split_words

# of the grid whose blocks are read by default: 10 x 16 for LaVie's 40 x 64, 8 x 8 for sprites
MOST_TOKENS = 256


@dataclasses.dataclass(frozen=True)
class MapOptions:
  """How maps become masks; fields of `config.mask`.

  Attributes:
    blocks: attention blocks whose maps are averaged, all of one grid; None: `default_blocks`.
    threshold: what is foreground, of the range 0..1 that a clip's maps are stretched to.
    smoothing: standard deviation of a Gaussian over the grid, in tokens.
  """

  blocks: tuple[int, ...] | None = None
  threshold: float = 0.4
  smoothing: float = 0.5

  def faults(self, grids):
    """What is wrong with the options for block grids (H, W), as a list of sentences."""
    faults = []
    chosen = () if self.blocks is None else self.blocks
    if self.blocks is not None and not (chosen and set(chosen) <= set(range(len(grids)))):
      faults.append(f'mask.blocks is {self.blocks}; accepted: some of 0 to {len(grids) - 1}')
    elif len(sizes := {grids[block] for block in chosen}) > 1:
      faults.append(
        f'mask.blocks is {self.blocks}, of the grids {sorted(sizes)}; accepted: blocks of one grid'
      )
    if not 0 < self.threshold < 1:
      faults.append(f'mask.threshold is {self.threshold}; accepted: between 0 and 1')
    if not self.smoothing >= 0:
      faults.append(f'mask.smoothing is {self.smoothing}; accepted: 0 or more')
    return faults


def default_blocks(grids):
  """The blocks of the finest grid of at most `MOST_TOKENS` tokens, of the grids (H, W) of all
  blocks.
  """
  sizes = [height * width for height, width in grids]
  finest = max((size for size in sizes if size <= MOST_TOKENS), default=min(sizes))
  return tuple(block for block, size in enumerate(sizes) if size == finest)


def differing_words(prompt, other):
  """The words of a prompt that another prompt lacks, in order; all of them where the other is the
  null prompt.
  """
  known = set(split_words(other))
  return list(dict.fromkeys(word for word in split_words(prompt) if word not in known))


@functools.partial(jax.jit, static_argnums=(0, 5))
def _read(apply, params, latents, timestep, text, taps, weights):
  """The mean attention f32[F, N] of a frame's tokens to the words that `weights` f32[T] picks."""
  tapped = apply({'params': params}, latents, timestep, text, None, None, taps)[1]
  return jnp.mean(jnp.stack([jnp.mean(tapped[name], axis=0) @ weights for name in taps]), axis=0)


def word_map(
  apply, params, latents, text, positions, schedule, blocks, grid, window=None, progress=iter
):
  """The mean attention to some words over steps, blocks and heads.

  Args:
    apply: `unet.apply`.
    params: its parameters.
    latents: f32[S, F, H, W, C], a clip's latents before each of S denoising steps, noisiest first.
    text: f[T, E], the encoded prompt.
    positions: token positions of the words.
    schedule: `NoiseSchedule`.
    blocks: attention blocks, all of the grid (H, W) `grid`.
    window: (length, overlap) of the windows that the UNet sees of the clip, or None.
    progress: wraps the iterable of step indices.

  Returns:
    f32[F, H, W] on the grid of the blocks.
  """
  weights = np.zeros(len(text), np.float32)
  weights[positions] = 1 / len(positions)
  taps = tuple(f'{block}/text_map' for block in blocks)
  steps, frames = latents.shape[:2]
  length, overlap = window or (frames, 0)
  starts = windows.window_starts(frames, length, overlap)
  shares = windows.window_weights(starts, length, frames)
  timesteps, total = schedule.timesteps(steps), np.zeros((frames, grid[0] * grid[1]))
  for i in progress(range(steps)):
    for start, share in zip(starts, shares, strict=True):
      frames = slice(start, start + length)
      found = _read(apply, params, latents[i, frames], timesteps[i], text, taps, weights)
      total[frames] += np.asarray(found) * share[:, None] / steps
  return total.reshape(-1, *grid)


def to_mask(maps, height, width, options):
  """Maps f32[F, H, W] of a grid to a mask bool[F, height, width]: smoothed, stretched to 0..1 over
  the clip, cut.
  """
  from scipy import ndimage  # late: it takes a quarter of a second

  maps = ndimage.gaussian_filter(maps, (0, options.smoothing, options.smoothing), mode='nearest')
  factors = 1, height / maps.shape[1], width / maps.shape[2]
  maps = ndimage.zoom(maps, factors, order=1, mode='nearest', grid_mode=True)
  low, high = maps.min(), maps.max()
  return (maps - low) > options.threshold * (high - low)


class Search(NamedTuple):
  """Where masks come from.

  Attributes:
    layout: `EditPlan` of what is sampled first, without masks: the reconstruction, and in motion
      editing the motion reference; None where the stored trajectory of direct inversion is all that
      is looked at.
    words: dict {'source' or 'target': (text number, token positions)}: the prompt that a side's
      frames are shown, and the words looked for.
    options: `MapOptions`.
  """

  layout: EditPlan | None
  words: dict[str, tuple[int, list[int]]]
  options: MapOptions


def layout_to_search(sides, stored, lay_out):
  """What must be sampled before masks can be looked for.

  Args:
    sides: those to find, of 'source' and 'target'.
    stored: whether the reconstruction is a stored trajectory after every step.
    lay_out: kinds of wanted branches -> `EditPlan` without masks.

  Returns:
    `Search.layout`.
  """
  if 'target' in sides:
    return lay_out(('reconstruction', 'motion'))
  return None if stored else lay_out(('reconstruction',))


def find_masks(
  apply,
  params,
  start,
  texts,
  search,
  grids,
  size,
  schedule,
  guidance,
  *,
  progress,
  read=None,
  window=None,
  **options,
):
  """Finds the foreground of the source and of the motion reference.

  Args:
    apply: `unet.apply`, windowed or not; params: its parameters.
    start: f32[F, H, W, C], the start latents.
    texts: f[P, T, E], all encoded prompts.
    search: `Search`.
    grids: the (H, W) of every block.
    size: (height, width) of the masks in pixels.
    schedule, guidance: as in `sampling.sample`.
    progress: label -> wrapper of an iterable.
    read, window: where `apply` is windowed, the plain `unet.apply` and its windows (length,
      overlap).
    **options: `trajectory` and `sampler` of `sampling.edit`.

  Returns:
    dict {side: bool[F, height, width]} of the sides that have words.
  """
  if search.layout is None:
    seen = {'reconstruction': options['trajectory'][:0:-1]}
  else:
    steps = []
    visit = lambda _, latents: steps.append(np.asarray(latents))
    sampling.edit(
      *(apply, params, start, texts, search.layout, schedule, guidance),
      **dict(visit=visit, progress=progress('look'), **options),
    )
    seen = {branch.kind: np.stack(steps)[:, k] for k, branch in enumerate(search.layout.branches)}
  blocks = default_blocks(grids) if search.options.blocks is None else search.options.blocks
  found = {}
  for side, (text, positions) in search.words.items():
    latents = seen[{'source': 'reconstruction', 'target': 'motion'}[side]]
    maps = word_map(
      *(read or apply, params, latents, texts[text], positions, schedule, blocks, grids[blocks[0]]),
      *(window, progress(f'{side} mask')),
    )
    found[side] = to_mask(maps, *size, search.options)
  return found
