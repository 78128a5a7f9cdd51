"""Reads clips from video files or folders of frames, and writes files that every browser plays.

Frames are uint8[F, H, W, 3] in RGB everywhere (F frames, H W size in pixels). Decoding and encoding
use the ffmpeg that comes with imageio-ffmpeg, so no program has to be installed. Paths may be local
or remote; a killed process leaves the old file or the new one, never half of one.
"""

import os
import re
import subprocess
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from etils import epath
from PIL import Image, ImageOps

from uniedit_jax.media.frames import crop_middle, pictures_in, resize_bilinear, whole_number_faults
from uniedit_jax.runtime.files import atomic_file, exists, local_copy

FOLDER_FPS = 8.0
ACCEPTED = 'an mp4, gif, webm or mov file, or a folder of png or jpg frames'
# Otherwise ffmpeg doubles and drops frames to even out a variable frame rate. Needs ffmpeg >= 5.1.
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
  """Number of frames, size in pixels as displayed, and frames per second; from `probe`."""

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


def check_clip(path, *, frames, height, width, start=0, stride=1, fit='stretch'):
  """Lists the faults of a call of `read_clip` with these arguments, without converting a frame."""
  with local_copy(path or '') as name:
    return _inspect(path, name, frames, height, width, start, stride, fit)[0]


def read_clip(path, *, frames, height, width, start=0, stride=1, fit='stretch'):
  """Reads every `stride`-th frame from index `start` on, and resizes them to height x width.

  Args:
    path: an mp4, gif, webm or mov file, or a folder of png or jpg frames, which are taken in
      natural order (frame_9 before frame_10); local or remote.
    frames: number of frames F.
    height, width: size in pixels.
    start: index of the first frame.
    stride: distance of the frames in the source.
    fit: 'stretch' changes the aspect ratio; 'crop' first cuts out the middle with the right one.

  Returns:
    `Clip` with uint8[F, height, width, 3] and the rate of the source divided by `stride`.

  Raises:
    FileNotFoundError: `path` does not exist.
    ValueError: any other fault that `check_clip` lists; all of them are in the message.
  """
  with local_copy(path or '') as name:
    faults, info = _inspect(path, name, frames, height, width, start, stride, fit)
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
  return Clip(np.stack(out), info.fps / stride)


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
    done = _run_ffmpeg(*options, temporary, input=frames.tobytes())
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


def _run_ffmpeg(*options, **kwargs):
  command = [imageio_ffmpeg.get_ffmpeg_exe(), *options]
  return subprocess.run(command, capture_output=True, check=False, **kwargs)


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
  options = ['-nostdin', '-hide_banner', '-nostats', '-progress', 'pipe:1', '-i', name]
  done = _run_ffmpeg(*options, '-map', '0:v:0', *EVERY_FRAME, *stop, '-f', 'null', '-')
  log = done.stderr.decode(errors='replace')
  counts = re.findall(r'^frame=\s*(\d+)', done.stdout.decode(), re.MULTILINE)
  # The last stream line is that of the output, which ffmpeg has turned upright.
  sizes = re.findall(r'Video: .*?, (\d+)x(\d+)', log)
  if not counts or not sizes or int(counts[-1]) == 0:
    reason = (log.strip().splitlines() or ['no message'])[-1]
    fault = f'video is {path!r}, which ffmpeg cannot read ({reason}); accepted: {ACCEPTED}'
    raise ValueError(fault)
  width, height = map(int, sizes[-1])
  rate = re.search(r'Video: .*?([\d.]+)(k?) fps', log[: log.find('Output #')])
  fps = float(rate[1]) * (1000 if rate[2] else 1) if rate else FOLDER_FPS
  return VideoInfo(int(counts[-1]), height, width, fps or FOLDER_FPS)


def _inspect(path, name, frames, height, width, start, stride, fit):
  """The faults of a call of `read_clip`, and the `VideoInfo` if the file could be probed."""
  faults = whole_number_faults(frames=frames) + whole_number_faults(0, start=start)
  faults += whole_number_faults(stride=stride)
  needed = 1 if faults else start + (frames - 1) * stride + 1
  faults += whole_number_faults(height=height, width=width)
  if fit not in ('stretch', 'crop'):
    faults.append(f"fit is {fit!r}; accepted: 'stretch', 'crop'")
  try:
    info = _probe(path, name, needed)
  except (FileNotFoundError, ValueError) as fault:
    return [*faults, str(fault)], None
  if info.frames < needed:
    where, remedy = (f'start={start}, ', 'frames, start or') if start else ('', 'frames or')
    wish = f'{where}frames={frames} with stride={stride} needs {needed}'
    faults.append(f'video has {info.frames} frames, but {wish}; lower {remedy} stride')
  return faults, info


def _read_image(path):
  """A picture file as uint8[H, W, 3], turned upright."""
  try:
    with Image.open(path) as image:
      return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
  except OSError as error:
    fault = f'video has the frame {path}, which cannot be read ({error}); accepted: png, jpg'
    raise ValueError(fault) from error


def _decode(path, info, frames, start, stride):
  """Yields the wanted frames of a video file, uint8[H, W, 3] each; ffmpeg stops after the last."""
  # The explicit size also holds for streams whose size changes.
  select = f"select='gte(n,{start})*not(mod(n-{start},{stride}))'"
  filters = ['-vf', f'{select},scale={info.width}:{info.height}', *EVERY_FRAME]
  command = [imageio_ffmpeg.get_ffmpeg_exe(), '-nostdin', '-v', 'error', '-i', os.fspath(path)]
  command += ['-map', '0:v:0', *filters, '-frames:v', str(frames), '-f', 'rawvideo']
  command += ['-pix_fmt', 'rgb24', '-']
  size = info.height * info.width * 3
  with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ffmpeg:
    while len(raw := ffmpeg.stdout.read(size)) == size:
      yield np.frombuffer(raw, np.uint8).reshape(info.height, info.width, 3)
