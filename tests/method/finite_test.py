"""Latents that are not finite are found after the step that made them, in their branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uniedit_jax.method import sampling
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.finite import NotFiniteError
from uniedit_jax.method.injection import Injections
from uniedit_jax.method.plan import BranchInputs, plan_edit

SHAPE = 2, 2, 2, 1


def apply(variables, latents, timestep, text, routes, masks):
  """Predicts NaN from a prompt of NaN, at timesteps below 500."""
  bad = jnp.where(timestep < 500, text.sum(), 0.0)
  return 0.1 * latents + bad * variables['params']['w'], {}


def sample(prompts, start=1.0, checked=True, steps=4):
  """Samples edits with these values of their target prompts."""
  plan = plan_edit('appearance', [Injections()], steps, BranchInputs(), wanted=['main'], blocks=1)
  network = sampling.Network(apply, {'w': np.float32(1)}, checked)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[: len(prompts)]), ('data',))
  texts = [np.float32([0, value])[:, None, None] for value in prompts]
  seen = []

  def progress(indices):
    for i in indices:
      seen.append(i)
      yield i

  return seen, sampling.sample_edits(
    network,
    [np.full(SHAPE, start, np.float32)] * len(prompts),
    [plan] * len(prompts),
    [sampling.Sampler(NoiseSchedule(), steps)] * len(prompts),
    [sampling.Conditioning(text) for text in texts],
    mesh=mesh,
    progress=progress,
  )


def test_the_step_the_branch_and_what_may_help_are_named():
  seen, (error,) = sample([np.nan])
  assert isinstance(error, FloatingPointError)
  for words in ('after step 3 of 4 in main', 'accepted: dtype=float32', 'guidance', 'weights'):
    assert words in str(error)
  assert seen == [0, 1, 2, 3]  # found before the fourth is sampled


def test_a_start_that_is_not_finite_is_not_sampled():
  seen, (error,) = sample([0.0], start=np.nan)
  assert 'before the first step in reconstruction, main' in str(error) and seen == [0]


def test_the_other_edits_are_made():
  seen, (one, other) = sample([0.0, np.nan])
  (alone,) = sample([0.0])[1]
  assert 'after step 3 of 4' in str(other) and seen == [0, 1, 2, 3]
  for branch, latents in one.items():
    np.testing.assert_allclose(latents, alone[branch], rtol=1e-6)


def test_the_check_changes_neither_results_nor_programs():
  (checked,) = sample([1.0])[1]
  programs = sampling.step._cache_size()
  (unchecked,) = sample([1.0], checked=False)[1]
  assert sampling.step._cache_size() == programs
  jax.tree.map(np.testing.assert_array_equal, list(checked.values()), list(unchecked.values()))
  (bad,) = sample([np.nan], checked=False)[1]
  assert np.isnan(next(iter(bad.values()))).all()


def test_a_single_edit_raises():
  plan = plan_edit('appearance', [Injections()], 2, BranchInputs(), wanted=['main'], blocks=1)
  given = sampling.Conditioning(np.full((2, 1, 1), np.nan, np.float32))
  network, sampler = (
    sampling.Network(apply, {'w': np.float32(1)}),
    sampling.Sampler(NoiseSchedule(), 2),
  )
  with pytest.raises(FloatingPointError, match='after step 2 of 2'):
    sampling.sample_edit(network, np.ones(SHAPE, np.float32), plan, sampler, given)
  with pytest.raises(NotFiniteError, match='after step 2 of 2'):
    sampling.sample(network, np.ones((1, 2, *SHAPE)), [plan], [sampler], [given])
