"""Clips in and out: video files or folders of frames to uint8 arrays, and arrays to files a browser
plays.

Frames are uint8[F, H, W, 3] in RGB everywhere (F frames, H W size in pixels). Decoding and encoding
use the ffmpeg that comes with imageio-ffmpeg, so no program has to be installed. What is read may
be remote, and so may what is written; a kill leaves the old file or the new one, never half of one.
"""

import os
import re
import subprocess
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from etils import epath
from PIL import Image, ImageOps

from uniedit_jax.media.frames import crop_middle, pictures_in, resize_bilinear
from uniedit_jax.runtime.files import atomic_file, exists, local_copy

FOLDER_FPS = 8.0
ACCEPTED = 'an mp4, gif, webm or mov file, or a folder of png or jpg frames'
# Otherwise ffmpeg doubles and drops frames to make a variable frame rate even. Needs ffmpeg 5.1 or
# later.
EVERY_FRAME = ('-fps_mode', 'passthrough')


class Clip(NamedTuple):
  """A clip in memory.

  Attributes:
    frames: uint8[F, H, W, 3].
    fps: frames per second at which these frames play at the speed of the source.
  """

  frames: np.ndarray
  fps: float


class VideoInfo(NamedTuple):
  """What `probe` finds: the number of frames, the size as displayed in pixels, and frames per
  second.
  """

  frames: int
  height: int
  width: int
  fps: float


def probe(path, limit=None):
  """Counts the frames of a clip and finds its size (after rotation metadata) and frame rate.

  Args:
    path: a video file or a folder of frames, local or remote.
    limit: stop counting here; a long video is then not decoded to its end.

  Returns:
    `VideoInfo`; fps is 8 for a folder and for a file that does not say.

  Raises:
    FileNotFoundError: nothing is there.
    ValueError: it is no video and no folder of frames.
  """
  with local_copy(path or '') as name:
    return _probe(path, name, limit)


def check_clip(path, frames=16, height=320, width=512, start=0, stride=1, fit='stretch', fps=None):
  """Lists what is wrong with a request to `read_clip` (same arguments), cheaply: no frame is
  converted.

  Returns:
    list of str, empty if all is well. Each fault names the field, what was given and what is
    accepted.
  """
  with local_copy(path or '') as name:
    return _inspect(path, name, frames, height, width, start, stride, fit, fps)[0]


def read_clip(path, frames=16, height=320, width=512, start=0, stride=1, fit='stretch', fps=None):
  """Reads `frames` frames, every `stride`-th from index `start`, and resizes them to height x
  width.

  Args:
    path: an mp4, gif, webm or mov file, or a folder of png or jpg frames, which are taken in
      natural order (frame_9 before frame_10); local or remote.
    frames: number of frames F.
    height, width: size in pixels, multiples of 8.
    start: index of the first frame.
    stride: distance of the frames in the source.
    fit: 'stretch' resizes both sides freely; 'crop' cuts out the middle with the right aspect ratio
      first.
    fps: frame rate of the source; None takes the file's own, and 8 for a folder.

  Returns:
    `Clip` with uint8[F, height, width, 3] and the rate of the source divided by `stride`.

  Raises:
    FileNotFoundError: `path` does not exist.
    ValueError: any other fault that `check_clip` lists; all of them are in the message.
  """
  with local_copy(path or '') as name:
    faults, info = _inspect(path, name, frames, height, width, start, stride, fit, fps)
    if faults:
      raise (ValueError if exists(path) else FileNotFoundError)('; '.join(faults))
    if os.path.isdir(name):
      pictures = map(_read_image, pictures_in(name)[start::stride][:frames])
    else:
      pictures = _decode(name, info, frames, start, stride)
    out = [
      resize_bilinear(crop_middle(p, height, width) if fit == 'crop' else p, height, width)
      for p in pictures
    ]
  if len(out) != frames:
    raise ValueError(
      f'video is {os.fspath(path)!r}, of which only {len(out)} of {frames} frames could be decoded'
    )
  return Clip(np.stack(out), (info.fps if fps is None else float(fps)) / stride)


def to_model(frames):
  """uint8[F, H, W, 3] to f32[F, H, W, 3] in [-1, 1]."""
  return np.asarray(frames, np.float32) / np.float32(127.5) - 1


def from_model(frames):
  """f[F, H, W, 3], nominally in [-1, 1], to uint8[F, H, W, 3]; values outside are clamped.

  Raises:
    ValueError: some values are not finite, so there is no picture to show.
  """
  frames = np.asarray(frames).astype(np.float32)
  if not np.isfinite(frames).all():
    raise ValueError(
      f'{1 - np.isfinite(frames).mean():.1%} of the decoded frames are NaN or infinite'
    )
  return np.clip(np.floor((frames / 2 + 0.5) * 255 + 0.5), 0, 255).astype(np.uint8)


def write_mp4(path, frames, fps):
  """Writes uint8[F, H, W, 3] as H.264 (yuv420p, BT.709, index at the front), which every browser
  plays.

  4:2:0 colour needs even sides: an odd side is extended by its last row or column.

  Raises:
    ValueError: `frames` is not such an array.
    RuntimeError: ffmpeg failed (a full disk, say); its last message is given.
  """
  frames = checked(frames)
  frames = np.pad(
    frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), 'edge'
  )
  size = f'{frames.shape[2]}x{frames.shape[1]}'
  command = [
    imageio_ffmpeg.get_ffmpeg_exe(),
    '-v',
    'error',
    '-y',
    '-f',
    'rawvideo',
    '-pix_fmt',
    'rgb24',
  ]
  command += ['-s', size, '-framerate', str(float(fps)), '-i', '-', '-c:v', 'libx264', '-crf', '17']
  # Without these tags a player guesses the colour matrix from the size of the picture.
  command += ['-vf', 'scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int']
  command += [
    '-colorspace',
    'bt709',
    '-color_primaries',
    'bt709',
    '-color_trc',
    'bt709',
    '-color_range',
    'tv',
  ]
  command += ['-pix_fmt', 'yuv420p', '-movflags', '+faststart', '-f', 'mp4']
  with atomic_file(path) as temporary:
    done = subprocess.run(
      [*command, temporary], input=frames.tobytes(), capture_output=True, check=False
    )
    if done.returncode:
      raise RuntimeError(
        f'ffmpeg could not write {path!s}: {done.stderr.decode(errors="replace")[-500:]}'
      )


def write_gif(path, frames, fps):
  """Writes uint8[F, H, W, 3] as a looping gif; one palette for all frames, so that colours do not
  flicker.
  """
  frames = checked(frames)
  sample = frames[:, :: max(1, frames.shape[1] // 128), :: max(1, frames.shape[2] // 128)]
  palette = Image.fromarray(sample.reshape(-1, sample.shape[2], 3)).quantize(256)
  pictures = [
    Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in frames
  ]
  # A gif counts in hundredths of a second, and viewers slow down what is shorter than two of them.
  # Rounding the times and not the durations keeps the clip in time.
  times = np.round(np.arange(len(frames) + 1) * max(2.0, 100 / fps)).astype(int)
  durations = [10 * int(d) for d in np.diff(times)]
  with atomic_file(path) as temporary:
    pictures[0].save(
      temporary, 'GIF', save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )


def write_frames(folder, frames):
  """Writes uint8[F, H, W, 3] as 000.png, 001.png, ...; higher numbers of an earlier, longer clip go
  away.
  """
  folder, frames = epath.Path(folder), checked(frames)
  for i, frame in enumerate(frames):
    with atomic_file(folder / f'{i:03d}.png') as temporary:
      Image.fromarray(frame).save(temporary, 'PNG')
  for stale in folder.iterdir():
    if re.fullmatch(r'\d{3,}\.png', stale.name) and int(stale.stem) >= len(frames):
      stale.unlink()


def _probe(path, name, limit):
  """`probe` of a clip whose local name is `name`."""
  path = os.fspath(path or '')
  if not os.path.exists(name):
    raise FileNotFoundError(f'video is {path!r}, which does not exist here; accepted: {ACCEPTED}')
  if os.path.isdir(name):
    pictures = pictures_in(name)
    if not pictures:
      raise ValueError(f'video is the folder {path!r}, which holds no frames; accepted: {ACCEPTED}')
    height, width = _read_image(pictures[0]).shape[:2]
    return VideoInfo(len(pictures[:limit]), height, width, FOLDER_FPS)
  stop = [] if limit is None else ['-frames:v', str(limit)]
  command = [
    imageio_ffmpeg.get_ffmpeg_exe(),
    '-nostdin',
    '-hide_banner',
    '-nostats',
    '-progress',
    'pipe:1',
  ]
  command += ['-i', name, '-map', '0:v:0', *EVERY_FRAME, *stop, '-f', 'null', '-']
  done = subprocess.run(command, capture_output=True, check=False)
  log = done.stderr.decode(errors='replace')
  counts = re.findall(r'^frame=\s*(\d+)', done.stdout.decode(), re.MULTILINE)
  # The last stream line is that of the output, which ffmpeg has turned upright.
  sizes = re.findall(r'Video: .*?, (\d+)x(\d+)', log)
  if not counts or not sizes or int(counts[-1]) == 0:
    reason = (log.strip().splitlines() or ['no message'])[-1]
    raise ValueError(
      f'video is {path!r}, which ffmpeg cannot read ({reason}); accepted: {ACCEPTED}'
    )
  width, height = map(int, sizes[-1])
  rate = re.search(r'Video: .*?([\d.]+)(k?) fps', log[: log.find('Output #')])
  fps = float(rate[1]) * (1000 if rate[2] else 1) if rate else FOLDER_FPS
  return VideoInfo(int(counts[-1]), height, width, fps or FOLDER_FPS)


def _inspect(path, name, frames, height, width, start, stride, fit, fps):
  """The faults of a request to `read_clip`, and the `VideoInfo` if the file could be probed."""
  faults = []
  for field, value, least in (('frames', frames, 1), ('start', start, 0), ('stride', stride, 1)):
    if not isinstance(value, (int, np.integer)) or value < least:
      faults.append(f'{field} is {value!r}; accepted: a whole number >= {least}')
  needed = 1 if faults else start + (frames - 1) * stride + 1
  for field, value in (('height', height), ('width', width)):
    if not isinstance(value, (int, np.integer)) or value < 8 or value % 8:
      faults.append(f'{field} is {value!r}; accepted: a positive multiple of 8')
  if fit not in ('stretch', 'crop'):
    faults.append(f"fit is {fit!r}; accepted: 'stretch', 'crop'")
  if fps is not None and not fps > 0:
    faults.append(f'fps is {fps!r}; accepted: None or a number > 0')
  try:
    info = _probe(path, name, needed)
  except (FileNotFoundError, ValueError) as fault:
    return [*faults, str(fault)], None
  if info.frames < needed:
    where, remedy = (
      (f'start={start}, ', 'frames, start or stride') if start else ('', 'frames or stride')
    )
    wish = f'{where}frames={frames} with stride={stride}'
    faults.append(f'video has {info.frames} frames, but {wish} needs {needed}; lower {remedy}')
  return faults, info


def _read_image(path):
  """A picture file as uint8[H, W, 3], turned upright."""
  try:
    with Image.open(path) as image:
      return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
  except OSError as error:
    raise ValueError(
      f'video has the frame {path}, which cannot be read ({error}); accepted: png, jpg'
    ) from error


def _decode(path, info, frames, start, stride):
  """Yields the wanted frames of a video file one by one, uint8[H, W, 3]; ffmpeg stops after the
  last.
  """
  select = f"select='gte(n,{start})*not(mod(n-{start},{stride}))'"
  # The explicit size also holds for streams that change theirs on the way.
  command = [
    imageio_ffmpeg.get_ffmpeg_exe(),
    '-nostdin',
    '-v',
    'error',
    '-i',
    os.fspath(path),
    '-map',
    '0:v:0',
  ]
  command += [
    '-vf',
    f'{select},scale={info.width}:{info.height}',
    *EVERY_FRAME,
    '-frames:v',
    str(frames),
  ]
  size = info.height * info.width * 3
  with subprocess.Popen(
    [*command, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
  ) as ffmpeg:
    while len(raw := ffmpeg.stdout.read(size)) == size:
      yield np.frombuffer(raw, np.uint8).reshape(info.height, info.width, 3)


def checked(frames):
  """Frames to be written, as an array; raises ValueError if they are not uint8[F >= 1, H, W, 3]."""
  frames = np.asarray(frames)
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
    raise ValueError(
      f'frames are {frames.dtype}{list(frames.shape)}; accepted: uint8[F, H, W, 3], F >= 1'
    )
  return frames
