"""Clips are written with ffmpeg, read back and compared."""

import functools
import http.server
import os
import subprocess
import threading

import imageio_ffmpeg
import numpy as np
import pytest
from etils import epath
from PIL import Image

from uniedit_jax.media import video
from uniedit_jax.media.decoding import decode
from uniedit_jax.media.frames import read_image, resize_bilinear
from uniedit_jax.runtime import files
from uniedit_jax.runtime.faults import FaultsError

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SIZE = {'height': 48, 'width': 64}


def smooth_clip(frames=10, height=48, width=64):
  """A colour gradient that moves; smooth, so that compression hardly hurts it."""
  t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing='ij')
  waves = [np.sin(x / 20 + t / 4), np.cos(y / 15 - t / 5), np.sin((x + y) / 25)]
  return (127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)


def grey_steps(frames=10, height=48, width=64):
  """Frame i is plain grey of level 20 i, so that `indices` can read i off it."""
  levels = 20 * np.arange(frames, dtype=np.uint8)
  return np.broadcast_to(levels[:, None, None, None], (frames, height, width, 3)).copy()


def indices(frames):
  return np.round(frames.mean(axis=(1, 2, 3)) / 20).astype(int).tolist()


def psnr(a, b):
  return -10 * np.log10(np.mean(np.square((a.astype(float) - b) / 255)))


def ffmpeg(*arguments):
  command = [FFMPEG, '-y', *map(str, arguments)]
  return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.fixture
def mp4(tmp_path):
  path = tmp_path / 'clip.mp4'
  video.write_mp4(path, smooth_clip(), 12.5)
  return path


def test_mp4_round_trip(mp4):
  clip = video.read_clip(mp4, frames=10, **SIZE)
  assert clip.frames.dtype == np.uint8
  assert clip.fps == 12.5
  assert psnr(clip.frames, smooth_clip()) > 30


def test_mp4_is_what_browsers_play(mp4):
  log = ffmpeg('-i', mp4)
  assert 'Video: h264' in log
  assert 'yuv420p(tv, bt709' in log
  data = mp4.read_bytes()
  # With the index first, playback starts before all is loaded.
  assert data.index(b'moov') < data.index(b'mdat')


def test_mp4_keeps_colours(tmp_path):
  patches = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 40]], np.uint8)
  frames = np.repeat(np.repeat(patches[None, None], 32, 1), 16, 2)
  video.write_mp4(tmp_path / 'c.mp4', np.repeat(frames, 3, 0), 8)
  out = video.read_clip(tmp_path / 'c.mp4', frames=3, height=32, width=64).frames[1, 16, 8::16]
  np.testing.assert_allclose(out.astype(int), patches, atol=6)


def test_mp4_pads_odd_sizes_with_the_edge(tmp_path):
  frames = smooth_clip(2, 41, 55)
  video.write_mp4(tmp_path / 'odd.mp4', frames, 8)
  info = video.probe(tmp_path / 'odd.mp4')
  assert info == video.VideoInfo(2, 42, 56, 8.0)
  out = np.stack(list(decode(tmp_path / 'odd.mp4', info, 2)))
  assert psnr(out[:, :41, :55], frames) > 30
  assert psnr(out[:, 41, :55], frames[:, 40]) > 28


@pytest.mark.parametrize('suffix', ['gif', 'webm', 'mov'])
def test_other_formats(tmp_path, suffix):
  frames = smooth_clip()
  video.write_mp4(tmp_path / 'a.mp4', frames, 10)
  ffmpeg('-i', tmp_path / 'a.mp4', tmp_path / f'b.{suffix}')
  clip = video.read_clip(tmp_path / f'b.{suffix}', frames=10, **SIZE)
  assert clip.fps == 10
  # ffmpeg's gif palette is coarse.
  assert psnr(clip.frames, frames) > 18


@pytest.mark.parametrize('kind', ['mp4', 'folder'])
def test_start_and_stride(tmp_path, kind):
  path = tmp_path / ('a.mp4' if kind == 'mp4' else 'frames')
  if kind == 'mp4':
    video.write_mp4(path, grey_steps(), 24)
  else:
    video.write_frames(path, grey_steps())
  clip = video.read_clip(path, frames=3, **SIZE, start=2, stride=3)
  assert indices(clip.frames) == [2, 5, 8]
  assert clip.fps == (8 if kind == 'mp4' else 8 / 3)


def test_variable_frame_rate_neither_doubles_nor_drops(tmp_path):
  video.write_mp4(tmp_path / 'a.mp4', grey_steps(), 10)
  options = ['-vf', 'setpts=N*N/TB/20', '-fps_mode', 'passthrough']
  ffmpeg('-i', tmp_path / 'a.mp4', *options, tmp_path / 'v.mp4')
  assert video.probe(tmp_path / 'v.mp4').frames == 10
  assert indices(video.read_clip(tmp_path / 'v.mp4', frames=10, **SIZE).frames) == list(range(10))


def test_rotation_metadata_is_applied(tmp_path):
  frames = grey_steps(2, 48, 64)
  frames[:, :, 32:] = 250
  video.write_mp4(tmp_path / 'a.mp4', frames, 8)
  ffmpeg('-display_rotation', '90', '-i', tmp_path / 'a.mp4', '-c', 'copy', tmp_path / 'turned.mp4')
  assert video.probe(tmp_path / 'turned.mp4')[:3] == (2, 64, 48)
  out = video.read_clip(tmp_path / 'turned.mp4', frames=2, height=64, width=48).frames
  # Turned counterclockwise: the bright right half is on top.
  assert out[0, :30].min() > 200
  assert out[0, 34:].max() < 60


def test_folder_is_in_natural_order(tmp_path):
  for i, frame in enumerate(grey_steps(12, 8, 8)):
    Image.fromarray(frame).save(tmp_path / f'frame_{i}.png')
  (tmp_path / '._frame_0.png').write_bytes(b'left by a file manager')
  (tmp_path / 'notes.txt').write_text('not a frame')
  clip = video.read_clip(tmp_path, frames=12, height=8, width=8)
  assert indices(clip.frames) == list(range(12))
  assert clip.fps == 8


TALK = 'Rec Output #2\nVideo: Sony A7, 16x16, 120 fps\n  Stream #0:0: Video: x, 16x16, 60 fps'


@pytest.mark.parametrize(
  'name', ['2024-01-01T12:30:05.mp4', '-y.mp4', 'Output #1.mp4', 'a%03d.mp4']
)
def test_rate_and_size_do_not_depend_on_what_names_and_metadata_say(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  video.write_mp4('a.mp4', grey_steps(), 24)
  tags = [part for key in ('title', 'comment') for part in ('-metadata', f'{key}={TALK}')]
  streams = ['-metadata:s:v', f'handler_name={TALK}', '-metadata:s:v', f'language={TALK}']
  ffmpeg('-i', 'a.mp4', '-c', 'copy', *tags, *streams, '-f', 'matroska', f'file:{name}')
  assert os.path.getsize(name) > 999
  assert video.probe(name) == video.VideoInfo(10, 48, 64, 24.0)
  assert indices(video.read_clip(name, frames=10, **SIZE).frames) == list(range(10))


def test_the_rate_of_frames_that_are_apart_is_their_number_per_second(tmp_path):
  pictures = [Image.fromarray(frame) for frame in smooth_clip(20)]
  times = {'duration': [20, 500] * 10, 'save_all': True}
  pictures[0].save(tmp_path / 'a.gif', append_images=pictures[1:], **times)
  assert video.probe(tmp_path / 'a.gif').fps == pytest.approx(20 / 5.2)
  # Every fourth frame is lost, as in a recording of a screen.
  video.write_mp4(tmp_path / 'a.mp4', smooth_clip(24), 24)
  drop = ['-vf', "select='mod(n,4)'", '-fps_mode', 'passthrough']
  ffmpeg('-i', tmp_path / 'a.mp4', *drop, tmp_path / 'b.mp4')
  assert video.probe(tmp_path / 'b.mp4')[0] == 18
  assert video.probe(tmp_path / 'b.mp4').fps == pytest.approx(18, rel=0.06)


@pytest.mark.parametrize('kind', ['mp4', 'folder'])
def test_the_rate_can_be_set(tmp_path, kind):
  path = tmp_path / 'a.mp4' if kind == 'mp4' else tmp_path
  (video.write_mp4 if kind == 'mp4' else lambda *a: video.write_frames(*a[:2]))(
    path, grey_steps(), 5
  )
  assert video.read_clip(path, frames=5, **SIZE, stride=2, fps=24).fps == 12


def hdr(transfer, path, colour):
  """A video of one colour, given in BT.709, in an HDR transfer curve."""
  to = f'zscale=tin=bt709:pin=bt709:min=bt709:t={transfer}:p=bt2020:m=bt2020nc,format=yuv420p10le'
  source = ['-f', 'lavfi', '-i', f'color={colour}:s=64x48:r=8:d=0.5,format=gbrp', '-vf', to]
  tags = ['-color_primaries', 'bt2020', '-color_trc', transfer, '-colorspace', 'bt2020nc']
  ffmpeg(*source, '-c:v', 'libx265', *tags, path)
  return path


@pytest.mark.parametrize('transfer, name', [('arib-std-b67', 'HLG'), ('smpte2084', 'PQ')])
def test_hdr_is_tone_mapped_and_said(tmp_path, transfer, name):
  path = hdr(transfer, tmp_path / 'grey.mov', '0x808080')
  frames = video.read_clip(path, frames=2, **SIZE).frames
  np.testing.assert_allclose(frames.astype(int), 128, atol=4)
  faults, notes = video.inspect_clip(path, video.Selection(2, **SIZE))
  assert faults == []
  assert notes == [f'video is {name} (HDR) and is tone-mapped to BT.709']
  red = video.read_clip(hdr(transfer, tmp_path / 'red.mov', '0xc83020'), frames=1, **SIZE).frames
  np.testing.assert_allclose(red[0, 20, 20].astype(int), [200, 48, 32], atol=24)


@pytest.mark.parametrize('fit', ['crop', 'stretch'])
@pytest.mark.parametrize('aspect, shown', [('2/1', (48, 128)), ('1/2', (96, 64))])
def test_pixels_that_are_not_square_are_displayed_as_such(tmp_path, fit, aspect, shown):
  video.write_mp4(tmp_path / 'a.mp4', smooth_clip(), 8)
  ffmpeg('-i', tmp_path / 'a.mp4', '-vf', f'setsar={aspect}', tmp_path / 'b.mp4')
  assert video.probe(tmp_path / 'b.mp4')[:3] == (10, *shown)
  height, width = shown
  out = video.read_clip(tmp_path / 'b.mp4', frames=10, height=height, width=width, fit=fit).frames
  assert psnr(out, resize_bilinear(smooth_clip(), height, width)) > 25


@pytest.mark.parametrize('disposition', ['attached_pic', 'default'])
@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'avi'])
def test_a_cover_is_not_the_video(tmp_path, suffix, disposition):
  video.write_mp4(tmp_path / 'a.mp4', grey_steps(), 8)
  Image.new('RGB', (32, 32)).save(tmp_path / 'cover.png')
  inputs = ['-i', tmp_path / 'cover.png', '-i', tmp_path / 'a.mp4', '-map', '0', '-map', '1']
  options = ['-c', 'copy', '-disposition:v:0', disposition]
  ffmpeg(*inputs, *options, path := tmp_path / f'b.{suffix}')
  assert video.probe(path)[:3] == (10, 48, 64)
  assert indices(video.read_clip(path, frames=10, **SIZE).frames) == list(range(10))


@pytest.mark.parametrize(
  'codec, form, name',
  [('qtrle', 'argb', 'b.mov'), ('libvpx-vp9', 'yuva420p', 'b.webm'), ('png', 'rgba', 'b.mov')],
)
def test_transparent_video_is_on_white(tmp_path, codec, form, name):
  rgba = np.zeros((2, 48, 64, 4), np.uint8)
  rgba[..., 0], rgba[:, :, 32:, 3] = 200, 255
  for i, frame in enumerate(rgba):
    Image.fromarray(frame).save(tmp_path / f'{i}.png')
  ffmpeg('-i', tmp_path / '%d.png', '-c:v', codec, '-pix_fmt', form, tmp_path / name)
  out = video.read_clip(tmp_path / name, frames=2, **SIZE).frames.astype(int)
  np.testing.assert_allclose(out[:, 24, 8], [[255] * 3] * 2, atol=4)
  np.testing.assert_allclose(out[:, 24, 56], [[200, 0, 0]] * 2, atol=8)


def test_frames_of_all_kinds_are_read_as_stills_are(tmp_path):
  grey = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) % 256
  colour = Image.fromarray(smooth_clip(1)[0])
  rgba = Image.fromarray(np.dstack([np.full((48, 64, 3), 255), grey * 0]).astype(np.uint8))
  kinds = {'a.png': Image.fromarray(grey * 257), 'b.jpg': colour.convert('CMYK')}
  kinds |= {'c.png': colour.quantize(8), 'd.png': rgba, 'e.png': colour.convert('LA')}
  for name, picture in kinds.items():
    folder = tmp_path / name[0]
    folder.mkdir()
    picture.save(folder / name)
    out = video.read_clip(folder, frames=1, **SIZE).frames[0]
    np.testing.assert_array_equal(out, read_image(folder / name))
  assert video.read_clip(tmp_path / 'a', frames=1, **SIZE).frames[0, 3, :4, 0].tolist() == [
    192, 193, 194, 195,
  ]  # fmt: skip
  _, notes = video.inspect_clip(tmp_path / 'd', video.Selection(1, **SIZE))
  assert notes == [
    'video is plain white or grey in all frames; transparent frames are put on white'
  ]


def test_damaged_frames_can_be_kept(tmp_path):
  video.write_mp4(tmp_path / 'a.mp4', smooth_clip(8), 8)
  data = bytearray((tmp_path / 'a.mp4').read_bytes())
  data[-len(data) // 5] ^= 255
  (tmp_path / 'a.mp4').write_bytes(data)
  (fault,) = video.check_clip(tmp_path / 'a.mp4', frames=8, **SIZE)
  assert 'which has at least ' in fault
  kept = video.Selection(8, **SIZE, damaged='keep')
  faults, (note,) = video.inspect_clip(tmp_path / 'a.mp4', kept)
  assert faults == []
  assert note.endswith("damaged frames, kept as clip.damaged is 'keep'")
  assert len(video.read_clip(tmp_path / 'a.mp4', frames=8, **SIZE, damaged='keep').frames) == 8


def test_paths_may_be_addresses_or_in_the_home_folder(tmp_path, monkeypatch):
  video.write_mp4(tmp_path / 'a b.mp4', grey_steps(), 8)
  video.write_frames(tmp_path / 'c d', grey_steps())
  serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
  monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *_: None)
  monkeypatch.setenv('HOME', str(tmp_path))
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), serve) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f'http://127.0.0.1:{server.server_port}'
    for path in (f'{root}/a%20b.mp4?x=1', '~/a b.mp4', f'file://{tmp_path}/c%20d'):
      assert indices(video.read_clip(path, frames=3, **SIZE).frames) == [0, 1, 2]
    for path, words in ((root, 'a web page'), (f'{root}/no.mp4', '404')):
      assert words in video.check_clip(path, frames=1, **SIZE)[0]
    server.shutdown()


def test_resize_by_hand():
  row = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
  # Centres of the new pixels in old coordinates: -0.25 (clamped), 0.25, 0.75, 1.25 (clamped).
  assert resize_bilinear(row, 1, 4).ravel().tolist() == [0, 25, 75, 100]
  # Without antialiasing, a third of the size reads only the middle of each three pixels.
  column = np.arange(0, 90, 10, np.uint8).reshape(9, 1, 1)
  assert resize_bilinear(column, 3, 1).ravel().tolist() == [10, 40, 70]
  # 3.5 is rounded up.
  assert resize_bilinear(np.array([3, 4], np.uint8).reshape(1, 2, 1), 1, 1).item() == 4


def test_crop_takes_the_middle(tmp_path):
  frames = np.zeros((1, 16, 48, 3), np.uint8)
  frames[:, :, 16:32] = 255
  video.write_frames(tmp_path, frames)
  assert video.read_clip(tmp_path, frames=1, height=16, width=16, fit='crop').frames.min() == 255
  assert video.read_clip(tmp_path, frames=1, height=16, width=16, fit='stretch').frames.min() == 0
  assert video.read_clip(tmp_path, frames=1, height=8, width=8, fit='crop').frames.min() == 255


def test_model_range():
  levels = np.arange(256, dtype=np.uint8)
  out = video.to_model(levels)
  assert out.dtype == np.float32
  assert (out[0], out[255]) == (-1, 1)
  np.testing.assert_array_equal(video.from_model(out), levels)
  assert video.from_model(np.array([-9, 9, 0.0])).tolist() == [0, 255, 128]
  with pytest.raises(ValueError, match=r'50.0% .* NaN'):
    video.from_model(np.array([np.nan, 0]))


def test_too_few_frames(mp4):
  fault = 'video has 10 frames, but frames=16 with stride=1 needs 16; lower frames or stride'
  assert video.check_clip(mp4, frames=16, **SIZE) == [fault]
  match = 'video has 10 frames, but start=4, frames=4 with stride=2 needs 11'
  with pytest.raises(ValueError, match=match):
    video.read_clip(mp4, frames=4, **SIZE, start=4, stride=2)
  # These are exactly the frames up to the last one.
  assert video.check_clip(mp4, frames=4, start=3, stride=2, **SIZE) == []


def test_all_faults_are_listed_together(tmp_path):
  missing = tmp_path / 'no.mp4'
  sizes = {'frames': 0, 'height': -32, 'width': 'x'}
  faults = video.check_clip(missing, **sizes, start=-1, stride=0, fit='squash')
  fields = ['frames is 0', 'start is -1', 'stride is 0', 'height is -32', "width is 'x'"]
  fields += ["fit is 'squash'", 'video is ']
  for fault, field in zip(faults, fields, strict=True):
    assert fault.startswith(field)
    assert 'accepted: ' in fault
  assert "video is ''" in video.check_clip(None, frames=1, **SIZE)[0]
  fault = 'frames is 1.5; accepted: a whole number >= 1'
  assert video.check_clip(None, frames=1.5, **SIZE)[0] == fault
  with pytest.raises(FaultsError, match='height is 0'):
    video.read_clip(missing, frames=1, height=0, width=64)


@pytest.mark.parametrize('side', [36, 7])
def test_any_positive_size_is_read(mp4, side):
  assert video.check_clip(mp4, frames=2, height=side, width=36) == []
  assert video.read_clip(mp4, frames=2, height=side, width=36).frames.shape == (2, side, 36, 3)


def test_unreadable_videos(tmp_path):
  (tmp_path / 'text.mp4').write_text('not a video')
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'broken').mkdir()
  (tmp_path / 'broken' / '0.png').write_bytes(b'not a png')
  reasons = {
    'text.mp4': 'ffmpeg cannot read',
    'empty': 'no png or jpg pictures, but nothing',
    'broken': 'cannot be read',
  }
  for name, reason in reasons.items():
    (fault,) = video.check_clip(tmp_path / name, frames=1, **SIZE)
    assert reason in fault
    with pytest.raises(ValueError, match=reason):
      video.read_clip(tmp_path / name, frames=1, **SIZE)


def test_gif(tmp_path):
  frames = smooth_clip()
  video.write_gif(tmp_path / 'a.gif', frames, 8)
  with Image.open(tmp_path / 'a.gif') as image:
    assert (image.n_frames, image.info['loop']) == (10, 0)
    durations = []
    for i in range(10):
      image.seek(i)
      durations.append(image.info['duration'])
  # The clip has 8 frames per second, though 12.5 hundredths cannot be written.
  assert abs(sum(durations) - 1250) <= 10
  assert psnr(video.read_clip(tmp_path / 'a.gif', frames=10, **SIZE).frames, frames) > 25


def test_frames_folder(tmp_path):
  video.write_frames(tmp_path, grey_steps(6, 8, 8))
  (tmp_path / 'mine.png').write_bytes(b'')
  video.write_frames(epath.Path(tmp_path), grey_steps(3, 8, 8))
  assert sorted(os.listdir(tmp_path)) == ['000.png', '001.png', '002.png', 'mine.png']


def test_writing_is_atomic(mp4, tmp_path):
  before = mp4.read_bytes()
  with pytest.raises(RuntimeError, match='half way'), files.atomic_file(mp4) as temporary:
    with open(temporary, 'wb') as file:
      file.write(b'half')
    assert mp4.read_bytes() == before
    raise RuntimeError('half way')
  with pytest.raises(RuntimeError, match='ffmpeg could not write'):
    video.write_mp4(mp4, smooth_clip(), -1)
  assert mp4.read_bytes() == before
  assert os.listdir(tmp_path) == ['clip.mp4']


def test_remote_files_are_written_locally_and_copied(tmp_path):
  copied = {}

  def copy(original, source, target, overwrite):
    assert overwrite
    with open(source, 'rb') as file:
      copied[os.fspath(target)] = file.read()

  with epath.testing.mock_epath(copy=copy, makedirs=lambda *_, **__: None):
    video.write_gif('gs://bucket/run/a.gif', smooth_clip(2, 8, 8), 8)
  assert copied['gs://bucket/run/a.gif'].startswith(b'GIF89a')


@pytest.mark.parametrize(
  'frames',
  [np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)],
)
def test_writers_refuse_other_arrays(tmp_path, frames):
  with pytest.raises(ValueError, match=r'accepted: uint8\[F, H, W, 3\]'):
    video.write_mp4(tmp_path / 'a.mp4', frames, 8)
  assert os.listdir(tmp_path) == []
