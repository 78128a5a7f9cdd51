"""The clip as the model will see it, before it is edited, and all its frames to brush masks on."""

import hashlib
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.app.form import source_changes
from uniedit_jax.media import video
from uniedit_jax.pipeline.checked_edit import CheckedEdit
from uniedit_jax.pipeline.sources import choose_fit, read_source
from uniedit_jax.runtime import files
from uniedit_jax.runtime.faults import Faults

SHEET = 'jpg'


class Preview(NamedTuple):
  """A source before it is edited: paths of its mp4 and its sheet, and (frames, height, width)."""

  path: str
  sheet: str
  size: tuple[int, int, int]
  fps: float
  note: str


def preview(start, values, readers, folder):
  """Makes the `Preview` of the source that the page names, None where it is generated.

  Args:
    start: `form.Start`.
    values: {name in `form.FIELDS`: value}.
    readers: `check.Readers`.
    folder: where its files go, epath.Path.

  Raises:
    FaultsError: lists all faults of the source.
  """
  request = start.request.replace(source_changes(values))
  if request.generated:
    return None
  found, notes, size = readers.source(request, request.clip)
  Faults(found).stop('the source cannot be read')
  notes = [*notes]  # what is remembered of a source stays as it is
  fitted = choose_fit(request, request.clip, size, notes)
  clip = read_source(_edit_of(start, request, fitted))
  digest = hashlib.sha256(np.ascontiguousarray(clip.frames)).hexdigest()[:16]
  folder = folder / f'{digest}_{clip.fps:g}'
  path, (frames, height, width) = folder / 'source.mp4', clip.frames.shape[:3]
  if not path.exists():
    video.write_mp4(path, clip.frames, clip.fps)
  sheets = write_sheets(folder, {'source': clip.frames})
  note = f'as the model sees it: {frames} frames of {width} × {height} at {clip.fps:.3g} per second'
  note = '; '.join([note, *notes])
  return Preview(str(path), sheets['source'], (frames, height, width), clip.fps, note)


def write_sheets(folder, clips):
  """Writes what masks are brushed on: {side: path of a picture}.

  Args:
    folder: epath.Path.
    clips: dict {name: u8[F, H, W, 3]} of an edit.
  """
  names = {'source': ('source', 'reconstruction'), 'target': ('motion_reference',)}
  paths = {}
  for side, candidates in names.items():
    clip = next((clips[name] for name in candidates if name in clips), None)
    if clip is not None:
      paths[side] = str(folder / f'{side}.{SHEET}')
      with files.atomic_file(folder / f'{side}.{SHEET}') as name:
        Image.fromarray(lay_out(clip)).save(name, format='jpeg', quality=95, subsampling=0)
  return paths


def columns(frames):
  """Into how many columns `lay_out` puts that many frames."""
  return math.ceil(math.sqrt(frames))


def lay_out(clip):
  """u8[F, H, W, 3] as one picture, row by row; a strip would be longer than pictures may be."""
  frames, height, width, _ = clip.shape
  across = columns(frames)
  down = -(-frames // across)
  cells = np.pad(clip, ((0, across * down - frames), (0, 0), (0, 0), (0, 0)))
  cells = cells.reshape(down, across, height, width, 3).swapaxes(1, 2)
  return cells.reshape(down * height, across * width, 3)


def _edit_of(start, request, clip):
  """A `CheckedEdit` of which only the source is known."""
  return CheckedEdit(
    request=request,
    model_config=start.model_config,
    clip=clip,
    sampler=None,
    dtype='',
    prompts=[],
    tokenizer=None,
    parameters=None,
    window=None,
  )
