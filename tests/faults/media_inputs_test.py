"""Malformed videos, stills and masks: each is refused in words that say what was found."""

import os
import time
import zipfile

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tests.media.video_test import ffmpeg, grey_steps, smooth_clip
from uniedit_jax.media import camera, decoding, masks, opening, video
from uniedit_jax.media.camera import CameraMove
from uniedit_jax.pipeline import sources
from uniedit_jax.pipeline.request import ClipOptions, EditRequest, MaskOptions
from uniedit_jax.runtime.faults import Faults, FaultsError

SIZE = {'frames': 4, 'height': 32, 'width': 48}
SQUARE = np.pad(np.full((4, 16, 16), True), ((0, 0), (8, 8), (16, 16)))


def write(path, data):
  path.write_bytes(data)
  return path


def pictures(folder, arrays, name='{}.png', **options):
  folder.mkdir(exist_ok=True)
  for i, array in enumerate(arrays):
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(folder / name.format(i), **options)
  return folder


def pipe(path):
  os.mkfifo(path)
  return path


def bomb(path):
  """A png of which only the header is there."""
  Image.new('1', (8, 8)).save(path)
  data = bytearray(path.read_bytes())
  data[16:24] = (60000).to_bytes(4) * 2
  # The check sum of the header.
  data[29:33] = zipfile.crc32(data[12:29]).to_bytes(4)
  return write(path, data)


def flipped(path, codec='libx264'):
  """A video with damaged data in its second half."""
  video.write_mp4(path.with_suffix('.mp4'), smooth_clip(8), 8)
  ffmpeg('-i', path.with_suffix('.mp4'), '-c:v', codec, path)
  data = bytearray(path.read_bytes())
  for place in range(len(data) // 3, len(data) // 2, 40):
    data[place] ^= 16
  return write(path, data)


def frames_with(folder, name, picture):
  pictures(folder, grey_steps(4, 32, 48), 'frame_{}.png')
  picture.save(folder / name)
  return folder


def cut_frame(folder):
  rng = np.random.default_rng(0)
  pictures(folder, rng.integers(0, 255, (4, 32, 48, 3), np.uint8))
  return write(folder / '2.png', (folder / '2.png').read_bytes()[:900]).parent


def sub_folder(folder):
  folder.mkdir()
  pictures(folder / 'left', grey_steps(4, 8, 8))
  (folder / 'notes.txt').write_text('')
  return folder


def folder_pipe(folder):
  folder.mkdir()
  return pipe(folder / '0.png').parent


def sound(path, *cover):
  path.with_suffix('.png').unlink(missing_ok=True)
  Image.new('RGB', (8, 8)).save(path.with_suffix('.png'))
  source = ['-f', 'lavfi', '-i', 'sine=d=0.2']
  ffmpeg(*source, *(['-i', path.with_suffix('.png'), *cover] if cover else []), path)
  return path


def array(path, value):
  np.save(path, value)
  return path


def archive(path, **members):
  with zipfile.ZipFile(path, 'w') as file:
    for name, data in members.items():
      file.writestr(name, data)
  return path


def broken_archive(path):
  np.savez_compressed(path, SQUARE)
  data = bytearray(path.read_bytes())
  data[60:80] = b'\xff' * 20
  return write(path, data)


def claims_terabytes(path):
  header = b"{'descr': '|b1', 'fortran_order': False, 'shape': (10000000, 1000, 1000), }"
  header = header.ljust(117) + b'\n'
  return archive(path, masks=b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header)


COVER = '-map', '0:a', '-map', '1:v', '-c:v', 'png', '-disposition:v', 'attached_pic'
VIDEOS = {
  'missing': (lambda p: p / 'no.mp4', 'does not exist here'),
  'home': (lambda p: '~/no.mp4', "'~/no.mp4', which does not exist here"),
  'null byte': (lambda p: 'a\0b', 'does not exist here'),
  'pipe': (lambda p: pipe(p / 'x.mp4'), 'which is no regular file'),
  'device': (lambda p: '/dev/zero', 'which is no regular file'),
  'pipe as frame': (lambda p: folder_pipe(p / 'x'), '0.png: it is a folder or no regular file'),
  'text': (lambda p: write(p / 'x.mp4', b'not a video'), 'ffmpeg cannot read it: '),
  'empty': (lambda p: write(p / 'x.mp4', b''), 'ffmpeg cannot read it: '),
  'scheme': (lambda p: 'htps://a/x.mp4', 'htps:// is none of file, http, https, gs, s3'),
  'no server': (lambda p: 'http://127.0.0.1:1/x.mp4', 'refused'),
  'sound': (lambda p: sound(p / 'x.m4a'), 'no moving pictures, only sound or a cover'),
  'cover': (lambda p: sound(p / 'x.m4a', *COVER), 'no moving pictures, only sound or a cover'),
  'picture': (lambda p: bomb(p / 'x.png'), 'ffmpeg cannot read it: Picture size 60000x60000'),
  'still': (
    lambda p: pictures(p, grey_steps(1)) / '0.png',
    'a picture; accepted: .* --config.image',
  ),
  'h264': (lambda p: flipped(p / 'x.mov'), r'at least \d+ damaged frames .*clip.damaged=.keep'),
  'mpeg4': (lambda p: flipped(p / 'x.mkv', 'mpeg4'), r'at least \d+ damaged frames'),
  'gif': (lambda p: flipped(p / 'x.gif', 'gif'), r'at least \d+ damaged frames'),
  'cut frame': (lambda p: cut_frame(p / 'x'), '2.png: .*truncated'),
  'large frame': (lambda p: bomb(p / '0.png').parent, '0.png: it has more than 178 million pixels'),
  'webp': (lambda p: pictures(p, grey_steps(4), '{}.webp'), 'no png or jpg pictures, but 4 .webp'),
  'sub-folder': (lambda p: sub_folder(p / 'x'), 'but 1 .txt, 1 the folder left'),
  'thumbnail': (
    lambda p: frames_with(p / 'x', 'cover.png', Image.new('RGB', (48, 32))),
    'cover.png would be taken for frames, which are named frame_#.png',
  ),
  'other size': (
    lambda p: frames_with(p / 'x', 'frame_2.png', Image.new('RGB', (9, 8))),
    'frame_2.png: its size is 9 x 8, that of others 48 x 32',
  ),
  'few frames': (
    lambda p: pictures(sub_folder(p / 'x'), grey_steps(3)),
    '3 frames.* the folder also holds 1 .txt, 1 the folder left',
  ),
}
IMAGES = {
  'pipe': (lambda p: pipe(p / 'x.png'), 'which is no regular file'),
  'large': (lambda p: bomb(p / 'x.png'), 'it has more than 178 million pixels; scale it down'),
  'web page': (lambda p: 'ftp://a/x.png', 'ftp:// is none of'),
}
MASKS = {
  'missing': (lambda p: p / 'no', 'masks is .* does not exist here'),
  'pipe': (lambda p: pipe(p / 'x.npz'), 'which is no regular file'),
  'text': (lambda p: write(p / 'x.npz', b'text'), 'it is no archive of arrays'),
  'cut': (lambda p: write(p / 'x.npz', b'PK\3\4' + bytes(30)), 'it is no archive of arrays'),
  'no arrays': (lambda p: archive(p / 'x.npz'), 'it holds no arrays'),
  'bits': (lambda p: broken_archive(p / 'x.npz'), 'cannot be read'),
  'no array': (lambda p: archive(p / 'x.npz', masks=b'abc'), 'cannot be read'),
  'terabytes': (lambda p: claims_terabytes(p / 'x.npz'), 'cannot be read'),
  'text as npy': (lambda p: write(p / 'x.npy', b'text'), 'cannot be read'),
  'objects': (lambda p: array(p / 'x.npy', np.array([{}])), 'cannot be read'),
  'one mask': (lambda p: array(p / 'x.npy', SQUARE[0]), r'bool\[32, 48\], not .* \[F, H, W\]'),
  'channels': (
    lambda p: array(p / 'x.npy', np.zeros((4, 3, 8, 8))),
    r'3, 8, 8\], not numbers',
  ),
  'axes': (lambda p: array(p / 'x.npy', SQUARE.transpose(1, 2, 0)), 'another axis than the first'),
  'complex': (lambda p: array(p / 'x.npy', SQUARE * 1j), 'complex128.* not numbers'),
  'nan': (
    lambda p: array(p / 'x.npy', np.where(SQUARE, np.nan, 0.5)),
    '1024 of its values are NaN or infinite',
  ),
  'logits': (lambda p: array(p / 'x.npy', SQUARE * 5.5 - 5.25), 'go from -5.25 to 0.25'),
  'ignored': (lambda p: array(p / 'x.npy', SQUARE * 2 - 1), 'go from -1 to 1'),
  'fractions': (lambda p: array(p / 'x.npy', SQUARE * 1.5), 'from 0.0 to 1.5, fractions'),
  'background': (lambda p: array(p / 'x.npy', SQUARE & False), 'all background'),
  'dark': (lambda p: pictures(p, SQUARE * np.uint8(90), '{}.jpg'), 'all background.* 0 to 9'),
  'void': (
    lambda p: array(p / 'x.npy', np.where(SQUARE, 1, 0) + 254 * np.eye(32, 48, dtype=int)),
    'its values are 0, 1, 254, 255: labels are chosen by mask.labels',
  ),
  'red on white': (
    lambda p: pictures(p, np.where(SQUARE[..., None], [255, 0, 0], 255).astype(np.uint8)),
    r'colours \(255, 255, 255\), \(255, 0, 0\), not flat colours on black',
  ),
  'a photo': (
    lambda p: pictures(p, smooth_clip(4)),
    'over 256 colours, not flat colours on black',
  ),
  'few': (lambda p: array(p / 'x.npy', SQUARE[:3]), 'masks has 3 masks, but frames=4'),
  'damaged': (lambda p: flipped(p / 'x.mov'), r'at least \d+ damaged frames'),
}


@pytest.mark.parametrize('row', VIDEOS.values(), ids=VIDEOS)
def test_videos_are_refused_before_anything_is_loaded(tmp_path, row):
  make, words = row
  request = EditRequest(video=make(tmp_path))
  faults, *_ = sources.check_source(request, ClipOptions(**SIZE))
  assert len(faults) in (1, 2)
  with pytest.raises(FaultsError, match=f'video (is|has) .*{words}'):
    raise FaultsError([' '.join(faults)])
  with pytest.raises(FaultsError):
    video.read_clip(request.video, **SIZE)


@pytest.mark.parametrize('row', IMAGES.values(), ids=IMAGES)
def test_stills_are_refused(tmp_path, row):
  make, words = row
  with pytest.raises(FaultsError, match=f'image is .*{words}'):
    camera.film_image(make(tmp_path), CameraMove(), 4, 8, 8)


@pytest.mark.parametrize('row', MASKS.values(), ids=MASKS)
def test_masks_are_refused_and_the_field_is_named(tmp_path, row):
  make, words = row
  mask = MaskOptions(source=make(tmp_path))
  faults = Faults()
  assert sources.read_masks(EditRequest(mask=mask), ClipOptions(**SIZE), faults, []) == {
    'source': None
  }
  with pytest.raises(FaultsError, match=f'mask.source: .*{words}'):
    faults.stop()


@pytest.mark.parametrize('scheme, extra', [('gs', 'gcs'), ('s3', 's3')])
def test_buckets_name_the_extra_that_is_missing(monkeypatch, scheme, extra):
  def missing(path):
    raise ImportError('Install it')

  monkeypatch.setattr(opening, 'local_copy', missing)
  (fault,) = video.check_clip(f'{scheme}://b/x.mp4', **SIZE)
  assert f"(Install it: pip install -e '.[{extra}]')" in fault


@pytest.mark.parametrize('labels', [(3,), (1, 3), ('a',), ((1,),)])
def test_labels_that_the_masks_lack_are_named(tmp_path, labels):
  path = array(tmp_path / 'x.npy', SQUARE * 2)
  with pytest.raises(FaultsError, match=r'labels is .*; accepted: values of the masks, 0, 2'):
    masks.read_masks(path, 4, 32, 48, labels=labels)


@pytest.mark.parametrize(
  'field, value', [('fps', 0), ('fps', float('nan')), ('fps', '24'), ('damaged', 'no')]
)
def test_fields_of_clips_are_checked(tmp_path, field, value):
  path = pictures(tmp_path, grey_steps(4))
  with pytest.raises(FaultsError, match=f'{field} is .*accepted: '):
    video.read_clip(path, **SIZE, **{field: value})


def test_programs_that_hang_are_ended(tmp_path, monkeypatch):
  program = tmp_path / 'ffmpeg'
  program.write_text('#!/bin/sh\nexec sleep 60\n')
  program.chmod(0o755)
  path = write(tmp_path / 'x.mp4', b'')
  monkeypatch.setattr(imageio_ffmpeg, 'get_ffmpeg_exe', lambda: str(program))
  monkeypatch.setattr(decoding, 'PATIENCE', 0.2)
  began = time.monotonic()
  (fault,) = video.check_clip(path, **SIZE)
  assert 'ffmpeg takes more than 0.2 seconds' in fault
  assert list(decoding.decode(path, video.VideoInfo(1, 8, 8, 8.0), 1)) == []
  assert time.monotonic() - began < 30


def test_whatever_fails_in_reading_is_a_fault(tmp_path):
  for error in (MemoryError(), EOFError(), RecursionError('deep'), KeyError('x')):
    with (
      pytest.raises(FaultsError, match=r'x is .*, which cannot be read .*; accepted: y'),
      opening.opened(tmp_path, 'x', 'y'),
    ):
      raise error
