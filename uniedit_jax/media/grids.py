"""Pictures to look at: clips side by side under their labels, and contact sheets."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from uniedit_jax.media import video
from uniedit_jax.runtime import files

SMALL = 160  # pixels; narrower clips are enlarged without blur wherever they are shown


def side_by_side(clips):
  """Puts clips {label: uint8[F, H, W, 3]} next to each other under their labels: u8[F, H', W', 3].

  Clips narrower than `SMALL` are enlarged to at least that, so that the labels can be read.

  Raises:
    ValueError: no clips, or shapes differ.
  """
  shapes = {label: np.shape(clip) for label, clip in clips.items()}
  if len(set(shapes.values())) != 1:
    raise ValueError(f'clips have shapes {shapes}; accepted: at least one clip, all of one shape')
  panels = []
  for label, clip in clips.items():
    clip = video.checked(clip)
    times = -(-SMALL // clip.shape[2])
    clip = clip.repeat(times, axis=1).repeat(times, axis=2)
    strip = _label(label, clip.shape[2], max(14, clip.shape[1] // 12))
    panels.append(np.stack([np.concatenate([strip, frame]) for frame in clip]))
  gap = np.zeros((*panels[0].shape[:2], 4, 3), np.uint8)
  return np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=2)


def contact_sheet(frames, columns=4):
  """Lays uint8[F, H, W, 3] out row by row: a picture uint8[H', W', 3], black in unused cells."""
  frames = video.checked(frames)
  columns = min(columns, len(frames))
  rows = -(-len(frames) // columns)
  cells = np.pad(frames, ((0, rows * columns - len(frames)), (1, 1), (1, 1), (0, 0)))
  height, width = cells.shape[1:3]
  cells = cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
  return cells.reshape(rows * height, columns * width, 3)


def sheet(rows, columns):
  """Lays pictures out in rows, under the labels of the columns, each row under its own label.

  Args:
    rows: dict {label: sequence of u8[h, w, 3], one a column}; pictures may differ in size.
    columns: labels.

  Returns:
    u8[H, W, 3].
  """
  widths = [max(row[i].shape[1] for row in rows.values()) + 2 for i in range(len(columns))]
  heads = [_label(text, width, 16) for text, width in zip(columns, widths, strict=True)]
  parts = [np.concatenate(heads, axis=1)]
  for label, pictures in rows.items():
    height = max(len(picture) for picture in pictures)
    cells = [
      np.pad(picture, ((0, height - len(picture)), (0, width - picture.shape[1]), (0, 0)))
      for picture, width in zip(pictures, widths, strict=True)
    ]
    parts += [_label(label, sum(widths), 18), np.concatenate(cells, axis=1)]
  return np.concatenate(parts)


def write_png(path, picture):
  """Writes u8[H, W, 3]."""
  with files.atomic_file(path) as name:
    Image.fromarray(picture).save(name, format='png')


def _label(text, width, height):
  """A strip uint8[height, width, 3] with a line of text, shortened to fit."""
  font = ImageFont.load_default(0.7 * height)
  shown = text
  while shown and font.getlength(shown) > width - 8:
    shown = shown.removesuffix('…')[:-1] + '…' if len(shown) > 1 else ''
  strip = Image.new('RGB', (width, height), (24, 24, 24))
  ImageDraw.Draw(strip).text((4, height / 2), shown, fill=(235, 235, 235), font=font, anchor='lm')
  return np.asarray(strip)
