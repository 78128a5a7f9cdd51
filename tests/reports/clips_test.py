"""Measures of a run, when they say not to trust it, and options of inversions."""

import pathlib

import numpy as np
import pytest

from uniedit_jax.metrics.measures import distrust, measure_clips
from uniedit_jax.pipeline.invert import InversionOptions

DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'metrics.md'


@pytest.mark.parametrize(
  'method, knob', [('ddim', 'inversion.method=fixed_point or obelm'), ('obelm', 'more steps')]
)
def test_a_reconstruction_far_below_the_floor_is_not_trusted(method, knob):
  measures = {'vae_round_trip_psnr_db': 33.0, 'reconstruction_psnr_db': 22.9}
  assert f'the reconstruction by {method} inversion has 22.9 dB' in distrust(measures, method)
  assert knob in distrust(measures, method)
  # With direct inversion, the stored reconstruction is as good as the VAE; the free one shows what
  # the main branch does.
  free = {'free_running_reconstruction_psnr_db': 22.9}
  assert '22.9 dB' in distrust({**measures, 'reconstruction_psnr_db': 33.0, **free}, 'direct')


@pytest.mark.parametrize('reconstruction', [23.1, 33.0, None])
def test_others_are(reconstruction):
  measures = {'vae_round_trip_psnr_db': 33.0, 'reconstruction_psnr_db': reconstruction}
  assert distrust(measures, 'ddim') is None
  assert distrust({'edit_frame_difference': 1.0}, 'ddim') is None  # a generated source


def test_inversion_options():
  methods = 'ddim', 'fixed_point', 'null_text'
  assert [InversionOptions(method).repetitions for method in methods] == [0, 2, 10]
  assert InversionOptions('fixed_point', inner_steps=5).repetitions == 5
  assert [InversionOptions(m).stored(20) for m in ('ddim', 'direct', 'obelm')] == [0, 20, 1]
  assert not InversionOptions('fixed_point', inner_steps=1).faults()
  for method, wrong in (('obelm', 2), ('null_text', 0)):
    faults = InversionOptions(method, inner_steps=wrong).faults()
    assert 'accepted: at least 1, with fixed_point or null_text' in faults[0]


def test_measures_of_an_edit_and_of_the_source():
  rng = np.random.default_rng(0)
  ground = rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(6, axis=0).repeat(6, axis=1)
  source = np.stack([np.roll(ground, 2 * i, axis=1) for i in range(4)])
  edits = {'edit': source[:, ::-1, ::-1], 'edit_2': source}
  mask = np.zeros(source.shape[:3], bool)
  mask[:, :24] = True
  measures = measure_clips({'source': source, **edits}, mask=mask)
  of = lambda name: {key.removeprefix(f'{name}_') for key in measures if key.startswith(f'{name}_')}
  alone = {'frame_difference', 'flicker', 'warp_error', 'warp_share', 'motion_magnitude'}
  assert of('source') == alone and of('edit_2') < of('edit')
  with_source = {
    'source_psnr_db',
    'source_ssim',
    'source_warp_error',
    'source_motion_direction',
    'source_background_psnr_db',
    'source_background_ssim',
  }
  assert of('edit_2') == alone | with_source
  assert measures['edit_2_source_psnr_db'] == float('inf')
  assert measures['edit_2_source_background_ssim'] == 1
  turned, same = (measures[f'{name}_source_motion_direction'] for name in edits)
  assert turned < -0.5 < 0.99 < same
  turned, same = (measures[f'{name}_source_warp_error'] for name in edits)
  assert same == measures['source_warp_error'] < turned
  explained = DOCS.read_text()
  assert all(f'`{name}`' in explained for name in alone | with_source)
  plain = measure_clips({'source': source, **edits, 'plain_2': source}, mask=mask)
  assert {key for key in plain if key not in measures} == {
    f'plain_2_{name}' for name in alone | with_source
  }
  generated = measure_clips({'reconstruction': source, 'edit': edits['edit']})
  assert {key.removeprefix('edit_') for key in generated} == alone
  still = measure_clips({'source': source[:1], 'edit': source[:1]})
  assert still['edit_flicker'] is None and still['edit_source_ssim'] == 1
  assert 'edit_warp_error' not in still
