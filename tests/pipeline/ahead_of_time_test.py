"""Programs compiled from shapes: what they cost, what they need, and that no device waits for
another.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import reference
from tests.helpers.plans import plan_of
from tests.helpers.tiny_run import TINY
from uniedit_jax.method import injection, sampling
from uniedit_jax.method.token_masks import token_masks
from uniedit_jax.pipeline import ahead_of_time
from uniedit_jax.pipeline.model import latent_shape, unet_apply
from uniedit_jax.runtime import cost
from uniedit_jax.runtime.sharding import data_mesh

CLIP = TINY.frames, TINY.height, TINY.width


def lay(stored=0, **options):
  settings = [
    injection.preset('paper', 'motion', options.get('masked', False), 4, TINY.unet.blocks)
  ]
  return plan_of(
    'motion', settings, 4, source=1, targets=[2], stored=stored, blocks=TINY.unet.blocks, **options
  )


@pytest.mark.parametrize('options', [{'stored': 4}, {'rows_per_pass': 3, 'masked': True}])
def test_eight_devices_exchange_nothing(options):
  mesh, grids = data_mesh(), TINY.unet.grids(TINY.height // 8, TINY.width // 8)
  assert mesh.size == 8
  half = np.zeros(CLIP, bool)
  half[:, 32:] = True
  masks = (
    token_masks({'source': half, 'target': half}, grids, False) if 'masked' in options else None
  )
  compiled = ahead_of_time.lower_step(
    TINY, lay(**options), 2, CLIP, mesh, 'float32', masks=masks
  ).compile()
  assert 'num_partitions=8' in compiled.as_text()
  facts = ahead_of_time.facts(compiled)
  assert facts['collectives'] == {}
  shape, params = (
    (3, *latent_shape(TINY, *CLIP)),
    jax.tree.leaves(ahead_of_time.abstract_part(TINY, 'unet', 'float32')),
  )
  assert facts['arguments'] > 4 * (sum(leaf.size for leaf in params) + 2 * np.prod(shape))
  assert facts['memory'] == sum(
    facts[name] for name in ('arguments', 'results', 'temporaries', 'program')
  )


def test_collectives_are_seen():
  mesh = data_mesh()
  summed = jax.shard_map(
    lambda x: jax.lax.psum(x, 'data'),
    mesh=mesh,
    in_specs=jax.P('data'),
    out_specs=jax.P(),
    check_vma=False,
  )
  compiled = jax.jit(summed).lower(jnp.ones(8)).compile()
  assert ahead_of_time.collectives(compiled) == {'all-reduce': 1}


def test_it_is_the_program_that_a_batch_runs():
  """What is lowered here and what `sampling.sample` lowers are the same text."""
  mesh, plan = data_mesh(), lay(stored=4)
  shape = len(plan.branches), *latent_shape(TINY, *CLIP)
  stack = lambda tree: jax.tree.map(lambda leaf: np.stack([leaf] * 8), tree)
  trajectory = np.zeros((5, *shape[1:]), np.float32)
  sampler = sampling.Sampler(TINY.schedule, 4)
  conditioning = sampling.Conditioning(None, trajectory=trajectory)
  inputs = sampling.inputs_of(plan, sampler, conditioning, shape)
  latents = np.zeros((8, *shape), np.float32)
  texts = np.zeros((8, 3, 77, TINY.text.width), np.float32)
  params = reference.random_params(TINY.unet, salt=1)
  rows = stack(plan.steps[2].passes[0])
  given = params, latents, latents, texts, rows, stack(inputs[2]), None, []
  ran = sampling.step.lower(unet_apply(TINY, 'float32'), mesh, *given)
  lowered = ahead_of_time.lower_step(TINY, plan, 2, CLIP, mesh, 'float32')

  def body(text):
    lines = (line for line in text.splitlines() if 'stablehlo.dot_general' in line)
    return [line.split(' loc(')[0] for line in lines]

  assert body(ran.as_text()) == body(lowered.as_text()) != []


def test_products_are_counted():
  x, w = jnp.ones((4, 6)), jnp.ones((6, 5))
  (one,) = cost.products(jnp.dot, x, w)
  assert one == cost.Product(flops=2 * 4 * 6 * 5, bytes=4 * (24 + 30 + 20), times=1)
  looped = lambda x: jax.lax.scan(
    lambda c, _: (jax.checkpoint(jnp.dot)(c, jnp.eye(6)), None), x, length=7
  )[0]
  assert cost.flops(cost.products(looped, x)) == 7 * 2 * 4 * 6 * 6
  image, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 10))
  convolve = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=(2, 2),
    padding='SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  assert cost.flops(cost.products(convolve, image, kernel)) == 2 * (2 * 4 * 4 * 10) * (3 * 3 * 3)
  with pytest.raises(ValueError, match='the function has a while'):
    cost.products(
      lambda x: jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ c, x), jnp.ones((2, 2))
    )


def test_the_slower_of_arithmetic_and_memory_counts():
  found = [cost.Product(flops=100, bytes=10, times=2), cost.Product(flops=10, bytes=100, times=1)]
  assert cost.roofline(found, peak=10, bandwidth=10) == 2 * 10 + 10


def test_rows_cost_alike():
  count = lambda rows: cost.flops(ahead_of_time.products_of_rows(TINY, CLIP, rows, 'float32'))
  assert count(3) == pytest.approx(3 * count(1), rel=0.01)  # the timestep is embedded once
