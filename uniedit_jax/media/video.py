"""Reads clips from video files or folders of frames, and writes files that every browser plays.

Frames are uint8[F, H, W, 3] in RGB everywhere (F frames, H W size in pixels). Decoding and encoding
use the ffmpeg that comes with imageio-ffmpeg, so no program has to be installed. Paths may be local
or remote; a killed process leaves the old file or the new one, never half of one.
"""

import os
import re
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from uniedit_jax.media.decoding import VideoInfo, address, decode, probe_video, run_ffmpeg
from uniedit_jax.media.frames import (
  crop_middle,
  is_number,
  is_still,
  others_in,
  pictures_in,
  read_pictures,
  resize_bilinear,
  take_pictures,
  to_rgb,
  whole_number_faults,
)
from uniedit_jax.media.opening import opened
from uniedit_jax.runtime.faults import Faults, FaultsError
from uniedit_jax.runtime.files import atomic_file

FOLDER_FPS = 8.0
ACCEPTED = 'an mp4, gif, webm or mov file, or a folder of png or jpg frames'
UNREADABLE = 'the video cannot be read'


class Clip(NamedTuple):
  """A clip in memory.

  Attributes:
    frames: uint8[F, H, W, 3].
    fps: frames per second at which these frames play at the speed of the source.
  """

  frames: np.ndarray
  fps: float


class Selection(NamedTuple):
  """The frames that are taken from a video or a folder of frames, and how.

  Attributes:
    frames: number of frames F.
    height, width: size in pixels.
    start: index of the first frame.
    stride: distance of the frames in the source.
    fit: 'stretch' changes the aspect ratio; 'crop' first cuts out the middle with the right one.
    fps: frames per second of the source; None: what the file says, or 8 for a folder.
    damaged: 'refuse' or 'keep' videos some of whose frames cannot be decoded fully.
  """

  frames: int
  height: int
  width: int
  start: int = 0
  stride: int = 1
  fit: str = 'stretch'
  fps: float | None = None
  damaged: str = 'refuse'

  def faults(self):
    """Lists the fields whose values no source can have."""
    faults = Faults(whole_number_faults(frames=self.frames))
    faults += whole_number_faults(0, start=self.start)
    faults += whole_number_faults(stride=self.stride, height=self.height, width=self.width)
    known = {'fit': ('stretch', 'crop'), 'damaged': ('refuse', 'keep')}
    for field, accepted in known.items():
      value = getattr(self, field)
      faults.unless(
        value in accepted, f'{field} is {value!r}; accepted: {accepted[0]!r}, {accepted[1]!r}'
      )
    sound = self.fps is None or (is_number(self.fps) and self.fps > 0)
    faults.unless(sound, f'fps is {self.fps!r}; accepted: None, or a number above 0')
    return faults

  @property
  def needed(self):
    """How many frames the source must have."""
    return self.start + (self.frames - 1) * self.stride + 1

  def too_few(self, count, field):
    """The fault of a source that has `count` frames, or '' if they are enough."""
    if count >= self.needed:
      return ''
    where = f'start={self.start}, ' if self.start else ''
    wish = f'{where}frames={self.frames} with stride={self.stride} needs {self.needed}'
    remedy = 'frames, start or stride' if self.start else 'frames or stride'
    return f'{field} has {count} frames, but {wish}; lower {remedy}'


def probe(path, limit=None):
  """Counts the frames of a clip and finds its size as displayed and its frame rate.

  Args:
    path: a video file or a folder of frames, local or remote.
    limit: stop counting here; a long video is then not decoded to its end.

  Returns:
    `VideoInfo`; fps is 8 for a folder.

  Raises:
    FaultsError: it is no video and no folder of frames.
  """
  with opened(path, 'video', ACCEPTED) as name:
    if not os.path.isdir(name):
      return probe_video(name, limit)
    pictures = pictures_in(name)
    (first,) = read_pictures(pictures[:1])
    return VideoInfo(len(pictures[:limit]), *first.shape[:2], FOLDER_FPS)


def inspect_clip(path, selection):
  """Looks at all that `read_clip` needs of a `Selection`, without converting it.

  Returns:
    (list of faults, list of what is odd but allowed).
  """
  return look_at(path, selection)[:2]


def look_at(path, selection):
  """`inspect_clip`, and last the (height, width) of the frames, None where there are none."""
  faults, notes, info = selection.faults(), [], None
  try:
    with opened(path, 'video', ACCEPTED) as name:
      info = _inspect(path, name, selection, not faults)
  except FaultsError as error:
    faults += error.faults
  if info and info.hdr:
    notes.append(f'video is {info.hdr} (HDR) and is tone-mapped to BT.709')
  if info and info.plain:
    notes.append('video is plain white or grey in all frames; transparent frames are put on white')
  if info and info.hurt:
    notes.append(f"video has {info.hurt} damaged frames, kept as clip.damaged is 'keep'")
  return faults, notes, info and (info.height, info.width)


def check_clip(
  path, *, frames, height, width, start=0, stride=1, fit='stretch', fps=None, damaged='refuse'
):
  """Lists the faults of a call of `read_clip` with these arguments, without converting a frame."""
  selection = Selection(frames, height, width, start, stride, fit, fps, damaged)
  return inspect_clip(path, selection)[0]


def read_clip(
  path, *, frames, height, width, start=0, stride=1, fit='stretch', fps=None, damaged='refuse'
):
  """Reads every `stride`-th frame from index `start` on, and resizes them to height x width.

  Args:
    path: an mp4, gif, webm or mov file, or a folder of png or jpg frames, which are taken in
      natural order (frame_9 before frame_10); local or remote.
    frames, height, width, start, stride, fit, fps, damaged: fields of `Selection`.

  Returns:
    `Clip` with uint8[F, height, width, 3], on white where it is transparent, and the rate of the
    source divided by `stride`.

  Raises:
    FaultsError: the faults that `check_clip` lists.
  """
  selection = Selection(frames, height, width, start, stride, fit, fps, damaged)
  selection.faults().stop(UNREADABLE)
  with opened(path, 'video', ACCEPTED) as name:
    info = _inspect(path, name, selection)
    if os.path.isdir(name):
      pictures = read_pictures(take_pictures(name, frames, start, stride))
    else:
      pictures = map(to_rgb, decode(name, info, frames, start, stride))
    out = [
      resize_bilinear(crop_middle(p, height, width) if fit == 'crop' else p, height, width)
      for p in pictures
    ]
    if len(out) != frames:
      raise ValueError(f'only {len(out)} of {frames} frames could be decoded')
  return Clip(np.stack(out), (info.fps if fps is None else fps) / stride)


def to_model(frames):
  """uint8[F, H, W, 3] to f32[F, H, W, 3] in [-1, 1]."""
  return np.asarray(frames, np.float32) / np.float32(127.5) - 1


def from_model(frames):
  """f[F, H, W, 3], nominally in [-1, 1], to uint8[F, H, W, 3]; values outside are clamped.

  Raises ValueError if some values are not finite.
  """
  frames = np.asarray(frames).astype(np.float32)
  if not np.isfinite(frames).all():
    raise ValueError(
      f'{1 - np.isfinite(frames).mean():.1%} of the decoded frames are NaN or infinite'
    )
  return np.clip(np.floor((frames / 2 + 0.5) * 255 + 0.5), 0, 255).astype(np.uint8)


def write_mp4(path, frames, fps):
  """Writes uint8[F, H, W, 3] as H.264 (yuv420p, BT.709, index first), which every browser plays.

  4:2:0 colour needs even sides: an odd side is extended by its last row or column.

  Raises:
    ValueError: `frames` is not such an array.
    RuntimeError: ffmpeg failed, for example because the disk is full; its last message is given.
  """
  frames = checked(frames)
  odd_rows, odd_columns = frames.shape[1] % 2, frames.shape[2] % 2
  frames = np.pad(frames, ((0, 0), (0, odd_rows), (0, odd_columns), (0, 0)), 'edge')
  size = f'{frames.shape[2]}x{frames.shape[1]}'
  options = ['-v', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size]
  options += ['-framerate', str(float(fps)), '-i', '-', '-c:v', 'libx264', '-crf', '17']
  # Without these tags a player guesses the colour matrix from the size of the picture.
  options += ['-vf', 'scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int']
  options += ['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709']
  options += ['-color_range', 'tv', '-pix_fmt', 'yuv420p', '-movflags', '+faststart', '-f', 'mp4']
  with atomic_file(path) as temporary:
    done = run_ffmpeg(*options, address(temporary), data=frames.tobytes())
    if done.returncode:
      message = done.stderr.decode(errors='replace')[-500:]
      raise RuntimeError(f'ffmpeg could not write {path!s}: {message}')


def write_gif(path, frames, fps):
  """Writes uint8[F, H, W, 3] as a looping gif; one palette for all frames keeps colours steady."""
  frames = checked(frames)
  sample = frames[:, :: max(1, frames.shape[1] // 128), :: max(1, frames.shape[2] // 128)]
  palette = Image.fromarray(sample.reshape(-1, sample.shape[2], 3)).quantize(256)
  pictures = [
    Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in frames
  ]
  # A gif counts in hundredths of a second, and viewers slow down frames shorter than two of them.
  # Rounding the times and not the durations keeps the length of the clip.
  times = np.round(np.arange(len(frames) + 1) * max(2.0, 100 / fps)).astype(int)
  durations = [10 * int(d) for d in np.diff(times)]
  with atomic_file(path) as temporary:
    pictures[0].save(
      temporary, 'GIF', save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )


def write_frames(folder, frames):
  """Writes uint8[F, H, W, 3] as 000.png, 001.png, ... and removes higher numbers from before."""
  folder, frames = epath.Path(folder), checked(frames)
  for i, frame in enumerate(frames):
    with atomic_file(folder / f'{i:03d}.png') as temporary:
      Image.fromarray(frame).save(temporary, 'PNG')
  for stale in folder.iterdir():
    if re.fullmatch(r'\d{3,}\.png', stale.name) and int(stale.stem) >= len(frames):
      stale.unlink()


def checked(frames):
  """Frames as an array; raises ValueError unless they are uint8[F >= 1, H, W, 3]."""
  frames = np.asarray(frames)
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
    raise ValueError(
      f'frames are {frames.dtype}{list(frames.shape)}; accepted: uint8[F, H, W, 3], F >= 1'
    )
  return frames


def _inspect(path, name, selection, is_sound=True):
  """The `VideoInfo` of a clip whose local name is `name`, from which a `Selection` is taken.

  Raises:
    FaultsError, ValueError: it cannot be taken. Of a selection that is not sound itself, only the
      source is looked at.
  """
  shown, needed = f'video is {os.fspath(path)!r}', selection.needed if is_sound else 1
  if os.path.isdir(name):
    pictures = pictures_in(name)
    info = VideoInfo(len(pictures), selection.height, selection.width, FOLDER_FPS)
    if is_sound:
      taken = take_pictures(name, selection.frames, selection.start, selection.stride)
      colours = {level for p in read_pictures(taken) for level in (p.min(), p.max())}
      (first,) = read_pictures(taken[:1]) if taken else [np.zeros((1, 1))]
      height, width = first.shape[:2]
      info = info._replace(height=height, width=width, plain=len(colours) == 1)
  else:
    info = probe_video(name, needed)
  if info.hdr and not list(decode(name, info, 1)):
    raise ValueError(f'it is {info.hdr} (HDR), and this ffmpeg has no zscale to tone-map it')
  few, faults = is_sound and selection.too_few(info.frames, 'video'), Faults()
  if few and info.frames == 1 and is_still(name):
    few = f'{shown}, a picture; accepted: {ACCEPTED}; a picture is given as --config.image'
  elif few and os.path.isdir(name) and (others := others_in(name)):
    few += f'; the folder also holds {others}'
  faults.unless(not few, few)
  faults.unless(
    not info.hurt or selection.damaged == 'keep',
    f'{shown}, which has at least {info.hurt} damaged frames (ffmpeg: {info.error}); accepted: an '
    "undamaged file, or clip.damaged='keep'",
  )
  faults.stop(UNREADABLE)
  return info
