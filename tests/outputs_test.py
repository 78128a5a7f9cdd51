"""What a run says of itself."""

import pytest

from uniedit_jax import outputs
from uniedit_jax.clip_inversion import InversionOptions


@pytest.mark.parametrize('method, knob', [('ddim', 'inversion.method=fixed_point or obelm'), ('obelm', 'more steps')])
def test_a_reconstruction_far_below_the_floor_is_not_trusted(method, knob):
  measures = {'vae_round_trip_psnr_db': 33.0, 'reconstruction_psnr_db': 22.9}
  assert f'the reconstruction by {method} inversion has 22.9 dB' in outputs.distrust(measures, method)
  assert knob in outputs.distrust(measures, method)
  # Of direct inversion, the stored reconstruction is as good as the floor; what main does is seen in the free one.
  free = {'free_running_reconstruction_psnr_db': 22.9}
  assert '22.9 dB' in outputs.distrust({**measures, 'reconstruction_psnr_db': 33.0, **free}, 'direct')


@pytest.mark.parametrize('reconstruction', [23.1, 33.0, None])
def test_others_are(reconstruction):
  measures = {'vae_round_trip_psnr_db': 33.0, 'reconstruction_psnr_db': reconstruction}
  assert outputs.distrust(measures, 'ddim') is None
  assert outputs.distrust({'edit_frame_difference': 1.0}, 'ddim') is None  # a generated source


def test_inversion_options():
  assert [InversionOptions(m).repetitions for m in ('ddim', 'fixed_point', 'null_text')] == [0, 2, 10]
  assert InversionOptions('fixed_point', inner_steps=5).repetitions == 5
  assert [InversionOptions(m).stored(20) for m in ('ddim', 'direct', 'obelm')] == [0, 20, 1]
  assert not InversionOptions('fixed_point', inner_steps=1).faults()
  for wrong in (InversionOptions('obelm', inner_steps=2), InversionOptions('null_text', inner_steps=0)):
    assert 'accepted: at least 1, with fixed_point or null_text' in wrong.faults()[0]
