"""Video files by way of ffmpeg: what they hold, and their frames.

What a container says is taken from output that no title, comment or file name can shape: framecrc
lists the frames of one stream under its rate, size and pixel aspect ratio, and a small PNG of the
first frame has the transfer curve and, if the video is transparent, an alpha channel. ffmpeg's log
would say the same, among texts of the file. PyAV would too, but would bring a second ffmpeg, and
data that hangs or crashes it would take the process along.
"""

import contextlib
import os
import re
import subprocess
import tempfile
import threading
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np

from uniedit_jax.media.opening import PATIENCE

MOST_PIXELS = 178_956_970  # of a frame, as for Pillow's pictures
# Otherwise ffmpeg doubles and drops frames to even out a variable frame rate. Needs ffmpeg >= 5.1.
EVERY_FRAME = ('-fps_mode', 'passthrough')
# Transfer curves of HDR by their numbers in ITU-T H.273.
HDR = {16: 'PQ', 18: 'HLG'}
# Levels as dark as SDR's white stay as they are; brighter ones are rolled off.
TONE_MAP = (
  'zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=mobius,'
  'zscale=t=bt709:m=bt709:r=tv,'
)
DAMAGE = re.compile(r'.*\[dec:.*(corrupt decoded frame|Error submitting packet|Decoding error).*')
# The element AlphaMode = 1 of Matroska.
ALPHA_MODE = b'\x53\xc0\x81\x01'


class VideoInfo(NamedTuple):
  """What a video holds.

  Attributes:
    frames: how many.
    height, width: size in pixels as displayed: turned upright, and with square pixels.
    fps: frames per second.
    alpha: whether it is transparent.
    hdr: 'PQ', 'HLG' or ''; frames of such a video are tone-mapped to BT.709.
    primaries: number of the colour primaries in ITU-T H.273; 2: not said.
    hurt: how many frames the decoder found damaged, at least.
    error: its first message.
    stream: index of the stream; the capital letter of ffmpeg's V:0 leaves out attached pictures.
    plain: whether all frames of a folder are known to be one colour.
  """

  frames: int
  height: int
  width: int
  fps: float
  alpha: bool = False
  hdr: str = ''
  primaries: int = 2
  hurt: int = 0
  error: str = ''
  stream: int = 0
  plain: bool = False


def run_ffmpeg(*options, data=None):
  """Runs ffmpeg, with `data` as its standard input: `subprocess.CompletedProcess`.

  Raises:
    ValueError: it takes longer than `PATIENCE` seconds.
  """
  command = [imageio_ffmpeg.get_ffmpeg_exe(), *options]
  given = {'stdin': subprocess.DEVNULL} if data is None else {'input': data}
  try:
    return subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE, **given)
  except subprocess.TimeoutExpired as error:
    raise ValueError(f'ffmpeg takes more than {PATIENCE} seconds') from error


def address(name):
  """The address of a local file for ffmpeg, which takes a name with a colon for a protocol."""
  return f'file:{os.path.abspath(name)}'


def probe_video(name, limit=None):
  """The `VideoInfo` of a local video file, of which at most `limit` frames are counted.

  Raises:
    ValueError: ffmpeg cannot read it, or it has no pictures.
  """
  info = _probe_stream(name, limit, 0)
  if info.frames > 1 or limit == 1:
    return info
  # Some programs store the cover as a video before the video.
  with contextlib.suppress(ValueError):
    info = max(info, _probe_stream(name, limit, 1))
  return info


def _probe_stream(name, limit, stream):
  """`probe_video` of one of the video streams."""
  stop = [] if limit is None else ['-frames:v', str(min(limit, 2**31 - 1))]
  with tempfile.TemporaryDirectory() as folder:
    first = os.path.join(folder, 'first.png')
    pictures = ['-map', f'0:V:{stream}']
    options = ['-v', 'repeat+level+warning', *_input(name), *pictures, *EVERY_FRAME, *stop]
    options += ['-f', 'framecrc', '-', *pictures, '-frames:v', '1', '-vf', 'scale=16:16']
    done = run_ffmpeg(*options, '-f', 'image2', '-update', '1', '-c:v', 'png', address(first))
    log = done.stderr.decode(errors='replace').strip()
    table = done.stdout.decode()
    found = dict(re.findall(r'^#(tb|dimensions|sar) 0: (\S+)', table, re.MULTILINE))
    times = re.findall(r'^0,\s*\S+,\s*(-?\d+),\s*(\d+),', table, re.MULTILINE)
    errors = re.findall(r'^.*\[(?:error|fatal)\] (.*)', log, re.MULTILINE)
    if not times or not os.path.exists(first):
      if f"value '0:V:{stream}' for option 'map'" in log:
        raise ValueError('it has no moving pictures, only sound or a cover')
      raise ValueError(f'ffmpeg cannot read it: {(errors or ["no frames"])[0]}')
    with open(first, 'rb') as file:
      png = file.read()
  colours = png[at + 4 : at + 6] if (at := png.find(b'cICP')) > 0 else (2, 2)
  # Time is counted in frames of the rate that the container names. Where frames are further apart,
  # as in a screen recording, their own number per second is the rate.
  unit, rate = map(int, found['tb'].split('/'))
  first, last, length = int(times[0][0]), int(times[-1][0]), int(times[-1][1])
  if last - first > len(times) - 1:
    unit, rate = unit * (last - first + length), rate * len(times)
  width, height = map(int, found['dimensions'].split('x'))
  across, down = map(int, found['sar'].split('/'))
  if across > down > 0:
    width = round(width * across / down)
  elif down > across > 0:
    height = round(height * down / across)
  if height * width > MOST_PIXELS:
    raise ValueError(f'its frames are displayed with {width} x {height} pixels')
  damage = [line[0] for line in DAMAGE.finditer(log)]
  return VideoInfo(
    frames=len(times),
    height=height,
    width=width,
    fps=rate / unit,
    alpha=png[25] in (4, 6),
    hdr=HDR.get(colours[1], ''),
    primaries=colours[0],
    hurt=len(damage or errors),
    stream=stream,
    error=(errors or damage or [''])[0],
  )


def decode(name, info, frames, start=0, stride=1):
  """Yields every `stride`-th frame of a local video file: uint8[H, W, 3], or 4 with alpha.

  Args:
    name: local name.
    info: its `VideoInfo`.
    frames, start, stride: ffmpeg stops after so many.
  """
  channels = 4 if info.alpha else 3
  chain = f"select='gte(n,{start})*not(mod(n-{start},{stride}))',"
  if info.hdr:
    primaries = '' if info.primaries != 2 else 'color_primaries=bt2020:'
    chain += f'setparams={primaries}colorspace=bt2020nc,{TONE_MAP}'
  # The explicit size also holds for streams whose size changes.
  chain += f'scale={info.width}:{info.height}'
  command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', *_input(name), '-vf', chain]
  command += ['-map', f'0:V:{info.stream}', *EVERY_FRAME, '-frames:v', str(frames)]
  command += ['-f', 'rawvideo', '-pix_fmt', 'rgba' if info.alpha else 'rgb24', '-']
  shape = info.height, info.width, channels
  quiet = {'stdin': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
  with subprocess.Popen(command, stdout=subprocess.PIPE, **quiet) as ffmpeg:
    watch = threading.Timer(PATIENCE, ffmpeg.kill)
    watch.start()
    try:
      while len(raw := ffmpeg.stdout.read(np.prod(shape))) == np.prod(shape):
        yield np.frombuffer(raw, np.uint8).reshape(shape)
    finally:
      watch.cancel()


def _input(name):
  """The options that open a local video file."""
  decoder = []
  with open(name, 'rb') as file:
    head = file.read(2**16)
  # ffmpeg's decoders of VP8 and VP9 drop the alpha channel, libvpx's keep it.
  for codec, library in ((b'V_VP8', 'libvpx'), (b'V_VP9', 'libvpx-vp9')):
    if ALPHA_MODE in head and codec in head:
      decoder = ['-c:v', library]
  return ['-nostdin', '-max_pixels', str(MOST_PIXELS), *decoder, '-i', address(name)]
