"""Foreground masks without a segmenter: where the frames' tokens attend to the words of a prompt.

Source and target are looked for in the latents of the reconstruction and of the motion reference,
which are sampled without masks first. The maps come from separate predictions: no result changes,
and nothing is paid when it is off.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method import windows
from uniedit_jax.method.plan import EditPlan
from uniedit_jax.method.sampling import sample_edit
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
  """The blocks of the finest grid of at most `MOST_TOKENS` tokens, of the (H, W) of all blocks."""
  sizes = [height * width for height, width in grids]
  finest = max((size for size in sizes if size <= MOST_TOKENS), default=min(sizes))
  return tuple(block for block, size in enumerate(sizes) if size == finest)


def differing_words(prompt, other):
  """The words of a prompt, in order, that the other lacks; all if that is the null prompt."""
  known = set(split_words(other))
  return list(dict.fromkeys(word for word in split_words(prompt) if word not in known))


@functools.partial(jax.jit, static_argnums=(0, 5))
def _read(apply, params, latents, timestep, text, taps, weights):
  """The mean attention f32[F, N] of a frame's tokens to the words that `weights` f32[T] picks."""
  tapped = apply({'params': params}, latents, timestep, text, None, None, taps)[1]
  return jnp.mean(jnp.stack([jnp.mean(tapped[name], axis=0) @ weights for name in taps]), axis=0)


def word_map(network, latents, text, positions, schedule, blocks, *, window=None, progress=iter):
  """The mean attention to some words over steps, blocks and heads.

  Args:
    network: `Network` of the plain UNet.
    latents: f32[S, F, H, W, C], a clip's latents before each of S denoising steps, noisiest first.
    text: f[T, E], the encoded prompt.
    positions: token positions of the words.
    schedule: `NoiseSchedule`.
    blocks: attention blocks, all of one grid of N tokens.
    window: (length, overlap) of the windows that the UNet sees of the clip, or None.
    progress: wraps the iterable of step indices.

  Returns:
    f32[F, N].
  """
  weights = np.zeros(len(text), np.float32)
  weights[positions] = 1 / len(positions)
  taps = tuple(f'{block}/text_map' for block in blocks)
  steps, count = latents.shape[:2]
  length, overlap = window or (count, 0)
  starts = windows.window_starts(count, length, overlap)
  shares = windows.window_weights(starts, length, count)
  timesteps, total = schedule.timesteps(steps), None
  for i in progress(range(steps)):
    for start, share in zip(starts, shares, strict=True):
      frames = slice(start, start + length)
      seen = latents[i, frames]
      found = _read(network.apply, network.params, seen, timesteps[i], text, taps, weights)
      found = np.asarray(found)
      total = np.zeros((count, found.shape[-1])) if total is None else total
      total[frames] += found * share[:, None] / steps
  return total


def to_mask(maps, height, width, options):
  """Maps f32[F, H, W] of a grid to bool[F, height, width]: smoothed, stretched to 0..1, cut."""
  from scipy import ndimage  # late: it takes a quarter of a second

  maps = ndimage.gaussian_filter(maps, (0, options.smoothing, options.smoothing), mode='nearest')
  factors = 1, height / maps.shape[1], width / maps.shape[2]
  maps = ndimage.zoom(maps, factors, order=1, mode='nearest', grid_mode=True)
  low, high = maps.min(), maps.max()
  return (maps - low) > options.threshold * (high - low)


class Search(NamedTuple):
  """Where masks come from.

  Attributes:
    plan: `EditPlan` of what is sampled first, without masks: the reconstruction, and in motion
      editing the motion reference; None where the stored trajectory of direct inversion is all that
      is looked at.
    words: dict {'source' or 'target': (text number, token positions)}: the prompt that a side's
      frames are shown, and the words looked for.
    options: `MapOptions`.
  """

  plan: EditPlan | None
  words: dict[str, tuple[int, list[int]]]
  options: MapOptions


def find_masks(network, plain, search, grids, sampler, conditioning, *, window, progress):
  """Finds the foreground of the source and of the motion reference.

  Args:
    network: `Network` that samples, windowed or not.
    plain: `Network` of the plain UNet, whose maps are read.
    search: `Search`.
    grids: the (H, W) of every block.
    sampler: `Sampler`.
    conditioning: `Conditioning` with the inversion's trajectory.
    window: (length, overlap) of the windows of the clip, or None.
    progress: label -> wrapper of an iterable.

  Returns:
    dict {side: f32[F, H, W]}, the maps of the sides that have words, for `to_mask`.
  """
  if search.plan is None:
    seen = {'reconstruction': conditioning.trajectory[:0:-1]}
  else:
    steps = []
    sample_edit(
      network,
      conditioning.trajectory[-1],
      search.plan,
      sampler,
      conditioning,
      visit=lambda _, latents: steps.append(latents[0]),
      progress=progress('look'),
    )
    seen = {b.kind: np.stack(steps)[:, k] for k, b in enumerate(search.plan.branches)}
  blocks = default_blocks(grids) if search.options.blocks is None else search.options.blocks
  maps = {}
  for side, (text, positions) in search.words.items():
    found = word_map(
      plain,
      seen[{'source': 'reconstruction', 'target': 'motion'}[side]],
      conditioning.texts[text],
      positions,
      sampler.schedule,
      blocks,
      window=window,
      progress=progress(f'{side} mask'),
    )
    maps[side] = found.reshape(-1, *grids[blocks[0]])
  return maps
