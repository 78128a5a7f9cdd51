"""Measures on CLIP's features: by hand on given features, and on clips with a tiny random model."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiny_clip import NAME, TINY, make_clip_model
from uniedit_jax.metrics import clip_model, clip_scores
from uniedit_jax.models import clip_image


def at(*degrees):
  """Unit vectors f32[n, 2] at angles."""
  angles = np.deg2rad(degrees)
  return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  return clip_model.load(make_clip_model(tmp_path_factory.mktemp('clip') / 'model'))


@pytest.fixture
def clips():
  rng = np.random.default_rng(0)
  source, edit = rng.integers(0, 256, (2, 3, 24, 40, 3), np.uint8)
  return {'source': source, 'reconstruction': source, 'edit': edit, 'edit_2': source}


def test_frame_consistency():
  found = clip_scores.frame_consistency(at(0, 60, 60))
  assert found['clip_frame_consistency_allpairs'] == pytest.approx((0.5 + 0.5 + 1) / 3)
  assert found['clip_frame_consistency_consecutive'] == pytest.approx((0.5 + 1) / 2)
  assert clip_scores.frame_consistency(at(0)) == {}


def test_frame_accuracy():
  assert clip_scores.frame_accuracy(at(10, 80, 70, 85), *at(90, 0)) == 0.75


def test_directional_similarity():
  source, edit = at(0, 0, 0, 30), at(90, 0, 0, 30)
  assert clip_scores.directional_similarity(source, edit, *at(0, 90)) == pytest.approx(1 / 4)
  assert clip_scores.directional_similarity(edit[:1], source[:1], *at(0, 90)) == pytest.approx(-1)
  assert clip_scores.directional_similarity(source, edit, *at(45, 45)) == 0


def test_all_measures_of_two_edits(model, clips):
  measures = clip_scores.measure_clip_metrics(
    model, clips, 'a cat', {'edit': 'a fox', 'edit_2': 'a hen'}
  )
  kinds = {'text_alignment_framemean', 'frame_accuracy'}
  consistency = {'frame_consistency_allpairs', 'frame_consistency_consecutive'}
  against = {'source_similarity_framemean', 'directional_similarity_framemean'}
  named = lambda row, kinds: {f'{row}_clip_{kind}_{NAME}' for kind in kinds}
  of_edits = [named(row, kinds | consistency | against) for row in ('edit', 'edit_2')]
  of_sources = named('source', kinds | consistency) | named('source_2', kinds)
  assert set(measures) == set.union(*of_edits, of_sources)
  explained = (pathlib.Path(__file__).parents[2] / 'docs' / 'metrics.md').read_text()
  assert all(f'`clip_{kind}`' in explained for kind in kinds | consistency | against)
  of = lambda row, kind: measures[f'{row}_clip_{kind}_{NAME}']
  # The second edit is the source itself.
  assert of('edit_2', 'source_similarity_framemean') == pytest.approx(1)
  assert of('edit', 'source_similarity_framemean') < 0.999
  assert of('edit_2', 'directional_similarity_framemean') == 0
  assert of('edit', 'directional_similarity_framemean') != 0
  for kind in kinds:
    assert of('edit_2', kind) == of('source_2', kind)
  assert of('source', 'text_alignment_framemean') != of('source_2', 'text_alignment_framemean')
  frames = clip_model.image_features(model, clips['edit'])
  (text,) = clip_model.text_features(model, ['a fox'])
  alignment = np.exp(np.asarray(model.params['logit_scale'])) * np.mean(frames @ text)
  assert of('edit', 'text_alignment_framemean') == pytest.approx(alignment, abs=1e-5)


def test_what_inputs_do_not_allow_is_left_out(model, clips):
  without_prompt = clip_scores.measure_clip_metrics(model, clips, '', {'edit': 'a fox'})
  assert not [name for name in without_prompt if 'accuracy' in name or 'directional' in name]
  assert f'source_clip_text_alignment_framemean_{NAME}' in without_prompt
  same = clip_scores.measure_clip_metrics(model, clips, 'a fox', {'edit': 'a fox'})
  assert set(same) == set(without_prompt)
  generated = clip_scores.measure_clip_metrics(
    model, {'edit': clips['edit']}, 'a cat', {'edit': 'a fox'}
  )
  assert all(name.startswith('edit_') and 'source' not in name for name in generated)


def test_features_are_unit_vectors_whatever_the_batch(model):
  frames = np.random.default_rng(0).integers(0, 256, (clip_model.BATCH + 3, 16, 20, 3), np.uint8)
  features = clip_model.image_features(model, frames)
  assert features.shape == (clip_model.BATCH + 3, TINY.width)
  np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-6)
  alone = clip_model.image_features(model, frames[-1:])
  np.testing.assert_allclose(features[-1:], alone, atol=1e-6)


def test_preparation_is_of_the_middle():
  frames = np.zeros((1, 48, 96, 3), np.uint8)
  # Only the middle square is white.
  frames[:, :, 24:72] = 255
  pixels = clip_model.prepare(frames, 16)
  mean, deviation = np.array(clip_image.MEAN), np.array(clip_image.DEVIATION)
  white = (1 - mean) / deviation
  np.testing.assert_allclose(pixels[0, :, 2:-2], np.broadcast_to(white, (16, 12, 3)), atol=1e-5)
  picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
  resized = np.asarray(Image.fromarray(picture).resize((16, 16), Image.Resampling.BICUBIC)) / 255
  (pixels,) = clip_model.prepare(picture[None], 16)
  np.testing.assert_allclose(pixels, (resized - mean) / deviation, atol=1e-5)


def test_published_sizes_and_names():
  import jax

  for config, name, size in (
    (clip_image.VITB32, 'vitb32', 151_277_313),
    (clip_image.VITL14, 'vitl14', 427_616_513),
  ):
    assert config.name == name
    assert sum(x.size for x in jax.tree.leaves(clip_image.abstract_clip(config))) == size
  with pytest.raises(ValueError, match='multiples of patch=32'):
    clip_image.ImageConfig(size=100)


def test_faults(model, tmp_path):
  match = r'lacks config.json, manifest.json, clip; accepted: .*convert.clip'
  with pytest.raises(FileNotFoundError, match=match):
    clip_model.read_tokenizer(tmp_path)
  with pytest.raises(ValueError, match='accepted: at most 77'):
    clip_model.text_features(model, ['a' * 90])
  with pytest.raises(ValueError, match=r'accepted: \[B, 16, 16, 3\]'):
    clip_image.ImageFeatures(TINY).apply({'params': model.params}, np.zeros((1, 32, 32, 3)))
