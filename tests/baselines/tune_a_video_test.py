"""Tune-A-Video: tuned parameters, frames that are read, and better prediction of the noise."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.plans import edit_of
from tests.helpers.setups import setup_of
from tests.helpers.tolerances import MODULE, UNET, agreement
from tests.helpers.trace import row_names, trace
from uniedit_jax.baselines.overrides import ComparisonOverride
from uniedit_jax.baselines.tune_a_video import (
  TuneAVideo,
  noise_loss,
  sparse_causal_frames,
  split,
  tune,
)
from uniedit_jax.method import sampling
from uniedit_jax.method.diffusion import NoiseSchedule, ddim_update
from uniedit_jax.method.inversion import ddim_invert
from uniedit_jax.method.overrides import AttentionOverride

SCHEDULE = NoiseSchedule()


@pytest.fixture(scope='module')
def clip():
  """z_0 and the texts null, source, target."""
  rng = np.random.default_rng(5)
  latents = rng.standard_normal((3, 4, 4, 4)).astype(np.float32)
  return latents, rng.standard_normal((3, 7, 16)).astype(np.float32)


@pytest.fixture(scope='module')
def denoise(tiny):
  """The tiny model on pairs (parameters, routes)."""
  return lambda state, *inputs: tiny.apply({'params': state[0]}, *inputs, state[1])[0]


def routes(frames=3, blocks=4, sparse_causal=True):
  return TuneAVideo(sparse_causal=sparse_causal).routes(setup_of(frames=frames, blocks=blocks))


@pytest.fixture(scope='module')
def tuned(tiny, clip, denoise):
  """The parameters after a few large updates, and the losses before them."""
  options = TuneAVideo(tuning_steps=8, learning_rate=3e-3)
  return tune(denoise, tiny.params, routes(), clip[0], clip[1][1], SCHEDULE, options, seed=0)


def test_frames_see_the_first_and_the_one_before():
  assert sparse_causal_frames(4).tolist() == [[0, 0], [0, 0], [0, 1], [0, 2]]
  setup = setup_of(steps=5, frames=4, blocks=16)
  plan = TuneAVideo().plan(setup)
  texts = ['null', 'source', 'target']
  assert trace(plan, texts) == {}  # no row reads another
  for i, step in enumerate(plan.steps):
    assert row_names(plan, texts, i) == ['main:null', 'main:target']
    (rows,) = step.passes
    assert rows.routes.comparison.frames.shape == (2, 16, 4, 2)  # all rows, all blocks
    assert (rows.routes.comparison.frames == sparse_causal_frames(4)).all()
  assert TuneAVideo(sparse_causal=False).plan(setup).steps[0].passes[0].routes is None


def test_cost():
  setup = setup_of(steps=50)
  assert sum(TuneAVideo().plan(setup).row_counts) == 100
  assert TuneAVideo().cost(setup) == {'inversion_rows': 50, 'tuning_steps': 500}


def test_what_is_tuned(tiny):
  tuned, frozen = split(tiny.params)
  assert len(tuned) + len(frozen) == len(jax.tree.leaves(tiny.params))
  names = {re.sub(r'.*/(attn\w*)/', r'\1/', '/'.join(path)) for path in tuned}
  assert names == {
    'attn1/to_q/kernel',
    'attn2/to_q/kernel',
    'attn_temp/to_q/kernel',
    'attn_temp/to_k/kernel',
    'attn_temp/to_v/kernel',
    'attn_temp/to_out_0/kernel',
    'attn_temp/to_out_0/bias',
    'attn_temp/time_rel_pos_bias/relative_attention_bias/embedding',
  }
  assert len(tuned) == 8 * tiny.config.blocks
  fixed = ('attentions_0', 'attn_temp', 'frame_positions')
  assert split({fixed[0]: {fixed[1]: {fixed[2]: np.ones(2)}}})[0] == {}


def test_tuning_changes_what_is_tuned_alone_and_lowers_the_loss(tiny, clip, denoise, tuned):
  params, losses = tuned
  assert len(losses) == 8
  before, after = (split(p) for p in (tiny.params, params))
  for path, leaf in before[1].items():
    np.testing.assert_array_equal(after[1][path], leaf)
  assert all(not np.array_equal(after[0][path], leaf) for path, leaf in before[0].items())
  levels = np.float32(SCHEDULE.train_levels)
  for seed in range(100, 104):  # noise that tuning has not seen
    loss = [
      noise_loss(denoise, *split(p), routes(), clip[0], clip[1][1], levels, jax.random.key(seed))
      for p in (tiny.params, params)
    ]
    assert loss[1] < loss[0]


def test_no_update_leaves_the_untuned_model(tiny, clip, denoise):
  inputs = routes(), clip[0], clip[1][1], SCHEDULE
  params, losses = tune(denoise, tiny.params, *inputs, TuneAVideo(tuning_steps=0), seed=0)
  assert params is tiny.params and losses == []
  # And the first update begins with its loss.
  _, losses = tune(denoise, tiny.params, *inputs, TuneAVideo(tuning_steps=1), seed=0)
  key = jax.random.fold_in(jax.random.key(0), 0)
  levels = np.float32(SCHEDULE.train_levels)
  expected = noise_loss(denoise, *split(tiny.params), *inputs[:3], levels, key)
  assert losses == [pytest.approx(float(expected), rel=1e-5)]


def test_the_noise_to_predict_is_under_the_scaled_signal(clip):
  """A model that subtracts the clip's share of the noisy latents has no loss."""
  schedule = NoiseSchedule('scaled_linear', 0.00085, 0.012, signal_end=0.7)
  levels = jnp.asarray(schedule.train_levels, jnp.float32)
  signal, noise = jnp.sqrt(levels).T

  def denoise(_, noisy, timestep, text):
    return (noisy - signal[timestep] * clip[0]) / noise[timestep]

  for seed in range(4):
    loss = noise_loss(denoise, {}, {}, None, clip[0], clip[1][1], levels, jax.random.key(seed))
    assert loss < 1e-9


def test_the_own_frame_twice_is_plain_attention(tiny, clip):
  z, texts = clip
  frames = np.broadcast_to(np.arange(3)[:, None], (4, 3, 2)).astype(np.int32)
  own = AttentionOverride(comparison=ComparisonOverride(frames=frames))
  run = jax.jit(
    lambda routes: tiny.apply({'params': tiny.params}, z, np.int32(501), texts[1], routes)[0]
  )
  assert agreement(run(own), run(None)) < 10 * MODULE
  # A single frame sees itself either way.
  one = jax.jit(
    lambda routes: tiny.apply({'params': tiny.params}, z[:1], np.int32(501), texts[1], routes)[0]
  )
  assert agreement(one(routes(frames=1)), one(None)) < 10 * MODULE
  assert agreement(run(routes()), run(None)) > 0.01


def test_sampling_is_that_of_the_model_with_these_frames(tiny, clip, denoise):
  z, texts = clip
  setup, method = setup_of(steps=3, frames=3, blocks=4), TuneAVideo()
  sampler, state = sampling.Sampler(SCHEDULE, 3, 1.0), (tiny.params, method.routes(setup))
  start = ddim_invert(denoise, state, z, texts[0], sampler)[-1]
  plan = method.plan(setup)
  sample = functools.partial(edit_of, tiny, start, texts, sampler=sampler)
  (found,) = sample(plan=plan).values()
  x = start
  one = jax.jit(denoise)
  for i, timestep in enumerate(SCHEDULE.timesteps(3)):
    epsilon = one((tiny.params, method.routes(setup)), x, timestep, texts[2])
    x = ddim_update(*SCHEDULE.levels(3)[i : i + 2])(x, x, epsilon)
  assert agreement(found, x) < UNET
  (plain,) = sample(plan=TuneAVideo(sparse_causal=False).plan(setup)).values()
  assert agreement(plain, found) > 0.01
