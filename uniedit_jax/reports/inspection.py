"""Pictures of an edit's inside: a sheet of frames for every step, block and kind of map."""

import numpy as np
from etils import epath

from uniedit_jax.media.grids import sheet, write_png

COLUMNS = 8  # frames of a clip that are shown, evenly spread
CELL = 96  # height of a picture in a sheet, pixels


class Sheets:
  """Writes the sheets of a run as it goes; `pipeline.inspection.visitor` calls `show`."""

  def __init__(self, folder, name_of, decode, grids, words):
    """Keeps where and how to draw.

    Args:
      folder: path of the PNGs.
      name_of: branch -> str.
      decode: latents f32[F, H, W, C] -> u8[F, H, W, 3].
      grids: the (H, W) of every block.
      words: {branch: {word: token positions} of its prompt}; empty for the null prompt.
    """
    self._folder, self._name_of, self._decode = epath.Path(folder), name_of, decode
    self._grids, self._words, self._predicted = grids, words, {}

  def show(self, step, look):
    """Writes the sheets of one step, and rewrites those of predicted clips with this step added."""
    for branch, latents in look.predicted.items():
      steps = self._predicted.setdefault(branch, {})
      steps[f'step {step}'] = select_frames(self._decode(latents))
      self._write(f'predicted_{self._name_of(branch)}', steps, frame_labels(len(latents)))
    for block, maps in look.maps.items():
      at, grid = f'step_{step:03d}_block_{block:02d}', self._grids[block]
      for name, draw in (('spatial_q', draw_queries), ('temporal_map', draw_temporal_maps)):
        by_name = {self._name_of(branch): x for branch, x in maps[name].items()}
        self._write(f'{name}_{at}', *draw(by_name, grid))
      for branch, attention in maps['text_map'].items():
        if words := self._words[branch]:
          name = f'text_map_{at}_{self._name_of(branch)}'
          self._write(name, *draw_text_map(attention, words, grid))

  def _write(self, name, rows, columns):
    write_sheet(self._folder / f'{name}.png', rows, columns)


def write_sheet(path, rows, columns):
  """Writes small pictures, enlarged to a height of about `CELL`, as a `grids.sheet`."""
  enlarged = {label: [_enlarge(picture) for picture in row] for label, row in rows.items()}
  write_png(path, sheet(enlarged, columns))


def shown_frames(frames):
  """The indices of the frames in a sheet."""
  return np.unique(np.linspace(0, frames - 1, min(frames, COLUMNS)).round().astype(int))


def frame_labels(frames):
  """The labels of the frames in a sheet."""
  return [f'frame {i}' for i in shown_frames(frames)]


def select_frames(frames):
  """The frames [F, ...] of a sheet."""
  return np.asarray(frames)[shown_frames(len(frames))]


def draw_queries(by_name, grid):
  """Draws the queries of SA-S in colours: three principal components, the same for all branches.

  Args:
    by_name: {branch's name: f32[F, N, C]}.
    grid: (H, W) of the block.

  Returns:
    (rows {name: u8[n, H, W, 3]}, labels of the n columns).
  """
  stacked = np.stack(list(by_name.values()))  # [branches, F, N, C]
  flat = stacked.reshape(-1, stacked.shape[-1])
  centred = flat - flat.mean(axis=0)
  _, directions = np.linalg.eigh(centred.T @ centred)
  components = centred @ directions[:, :-4:-1]
  low, high = np.quantile(components, (0.02, 0.98), axis=0)
  colours = np.clip((components - low) / np.maximum(high - low, 1e-12), 0, 1)
  pictures = np.uint8(255 * colours).reshape(*stacked.shape[:2], *grid, 3)
  rows = {name: select_frames(frames) for name, frames in zip(by_name, pictures, strict=True)}
  return rows, frame_labels(stacked.shape[1])


def draw_temporal_maps(by_name, grid):
  """Draws the mean map [query frame, key frame], and each place's attention to the next frame.

  Maps are {branch's name: f32[N, F, F]}; returns as `draw_queries`, pictures may differ in size.
  """
  rows, labels = {}, []
  for name, maps in by_name.items():
    frames = shown_frames(maps.shape[1] - 1)
    following = maps[:, frames, frames + 1].T.reshape(-1, *grid)
    rows[name] = [_heat(maps.mean(axis=0)), *_heat(following)]
    labels = ['all places', *(f'{i} to {i + 1}' for i in frames)]
  return rows, labels


def draw_text_map(attention, words, grid):
  """Draws the attention f32[F, N, T] of every place to each word; `words`: {word: token positions}.

  Returns as `draw_queries`, with a row a word.
  """
  shown = select_frames(attention)
  rows = {
    word: _heat(shown[..., at].mean(axis=-1).reshape(-1, *grid)) for word, at in words.items()
  }
  return rows, frame_labels(len(attention))


def _heat(values):
  """Draws f[..., H, W] as colours u8[..., H, W, 3], stretched from the least to the most of all."""
  # Matplotlib is imported late: it takes seconds.
  import matplotlib as mpl

  stretched = (values - values.min()) / max(np.ptp(values), 1e-12)
  return np.uint8(255 * mpl.colormaps['magma'](stretched)[..., :3])


def _enlarge(picture):
  times = max(1, round(CELL / len(picture)))
  return picture.repeat(times, axis=0).repeat(times, axis=1)
