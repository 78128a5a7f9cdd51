"""Which part of a source whose frames have another shape than the model's is edited."""

import dataclasses

import numpy as np
import pytest

from uniedit_jax.pipeline import sources
from uniedit_jax.pipeline.check import check_edit, check_generation
from uniedit_jax.pipeline.request import ClipOptions, EditRequest

REQUEST = EditRequest(checkpoint='sprites', target_prompt='a big red square', steps=2)
CLIP = ClipOptions(frames=16, height=320, width=512)


def fit_of(size, **changes):
  """(the chosen fit, the warnings) for a source of some size."""
  warnings, clip = [], dataclasses.replace(CLIP, fit=changes.pop('fit', None))
  request = dataclasses.replace(REQUEST, **changes)
  return sources.choose_fit(request, clip, size, warnings).fit, warnings


@pytest.mark.parametrize(
  'size, fit',
  [
    ((320, 512), 'stretch'),
    ((640, 1024), 'stretch'),
    ((320, 522), 'stretch'),  # 1.95 % wider
    ((320, 523), 'crop'),  # 2.15 %
    ((326, 512), 'stretch'),
    ((327, 512), 'crop'),
    ((720, 1280), 'crop'),
    ((1920, 1080), 'crop'),
    (None, 'stretch'),
  ],
)
def test_frames_are_cropped_where_their_shape_differs_by_more_than_two_percent(size, fit):
  assert fit_of(size)[0] == fit
  assert bool(fit_of(size)[1]) == (fit == 'crop')


def test_a_line_says_what_is_left_out_and_how_to_keep_it():
  _, (line,) = fit_of((720, 1280))
  assert line == (
    'video is 1280 x 720 and is cropped to the aspect ratio of 512 x 320: 10% of every frame is '
    'left out; clip.fit=stretch keeps all of it, distorted'
  )


def test_the_release_stretches_and_a_chosen_fit_holds():
  for fit, changes in (
    ('stretch', {'preset': 'release'}),
    ('stretch', {'fit': 'stretch'}),
    ('crop', {'fit': 'crop', 'preset': 'release'}),
  ):
    assert fit_of((720, 1280), **changes) == (fit, [])


@pytest.mark.parametrize('kind', ['frames', 'folder', 'file'])
def test_an_edit_of_a_wide_clip_takes_its_middle_and_says_so(tmp_path, kind):
  from uniedit_jax.media import video

  frames = np.zeros((16, 32, 64, 3), np.uint8)
  frames[:, :, 16:48] = 255
  if kind == 'folder':
    video.write_frames(tmp_path / 'x', frames)
  elif kind == 'file':
    video.write_mp4(tmp_path / 'x', frames, 8)
  masks = np.zeros((16, 32, 64), bool)
  masks[:, :, 16:32] = True
  given = frames if kind == 'frames' else str(tmp_path / 'x')
  request = REQUEST.replace({'video': given, 'mask.source': masks, 'mask.target': masks})
  edit = check_edit(request)
  assert edit.clip.fit == edit.as_tree()['clip']['fit'] == 'crop'
  assert 'video is 64 x 32 and is cropped' in ' '.join(edit.warnings)
  clip = sources.read_source(edit).frames
  assert clip.shape == (16, 32, 32, 3) and clip.min() > 200
  assert edit.masks['source'][:, :, :16].all() and not edit.masks['source'][:, :, 16:].any()
  stretched = check_edit(request.replace({'clip.fit': 'stretch'}))
  assert sources.read_source(stretched).frames.min() < 50
  assert not any('cropped' in line for line in stretched.warnings)


def test_masks_that_are_cropped_already_are_named(tmp_path):
  frames, masks = np.zeros((16, 32, 64, 3), np.uint8), np.zeros((16, 32, 32), bool)
  masks[:, :, :16] = True
  np.savez(tmp_path / 'masks.npz', masks=masks)
  paths = {f'mask.{side}': str(tmp_path / 'masks.npz') for side in ('source', 'target')}
  edit = check_edit(REQUEST.replace({'video': frames, **paths}))
  assert 'mask.source is 32 x 32, of the aspect ratio of the clip: ' in ' '.join(edit.warnings)
  assert edit.masks['source'][:, :, :16].all()


def test_nothing_is_left_to_choose_where_there_is_no_video():
  request = REQUEST.replace({'generated': True, 'source_prompt': 'a big red square'})
  assert check_edit(request).clip.fit == check_generation(request).clip.fit == 'stretch'
