"""Programs compiled from shapes alone: before their inputs are known, or for devices that may not
be there.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from uniedit_jax.method import sampling
from uniedit_jax.method.rows import Rows
from uniedit_jax.models.config import abstract_params
from uniedit_jax.pipeline.model import latent_shape, unet_apply
from uniedit_jax.runtime import cost

COLLECTIVES = (
  'all-gather',
  'all-reduce',
  'all-to-all',
  'collective-permute',
  'reduce-scatter',
  'collective-broadcast',
)


def lower_first(
  model, layout, schedule, clip, texts, dtype, *, window=None, masks=None, sampler='ddim'
):
  """Lowers the first program that `sampling.edit` runs: once it is compiled, `edit` finds it.

  Args:
    model: `checkpoint.Model` on one device.
    layout: `plan.EditPlan`.
    schedule: `NoiseSchedule`.
    clip: (frames, height, width) in pixels.
    texts: number P of the texts f32[P, T, E] to come.
    dtype: compute dtype.
    window, masks, sampler: as of `model.unet_apply` and `sampling.edit`.

  Returns:
    `jax.stages.Lowered`.
  """
  config, params, plan = model.config, model.params['unet'], layout.plan
  shape = len(layout.branches), *latent_shape(config, *clip)
  trajectory = np.broadcast_to(np.float32(0), (len(plan.steps) + 1, *shape[1:]))
  move = sampling.moves_of(plan.steps, schedule, 1.0, shape, layout.stored, trajectory, sampler)[0]
  apply, device = unet_apply(config, dtype, window), jax.tree.leaves(params)[0].sharding
  placed = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
  latents, texts = placed(_floats(shape)), placed(_texts(config, texts))
  first, *later = plan.steps[0].passes
  if later:
    return sampling.predict.lower(apply, params, latents, texts, first, move.timestep, masks)
  return sampling.step.lower(apply, params, latents, latents, texts, first, move, masks, [])


def lower_step(config, layout, index, clip, mesh, dtype, per_device=1, masks=None):
  """Lowers the last pass of a step of `sampling.sample_batch`, which moves the latents too.

  Args:
    config: `ModelConfig`.
    layout: `plan.EditPlan` of all edits of the batch.
    index: which step.
    clip: (frames, height, width) in pixels.
    mesh: a mesh with the axis 'data' over devices, or over those of a topology.
    dtype: compute dtype.
    per_device: edits on each device.
    masks: dict of `TokenMasks` of one edit, or None.

  Returns:
    `jax.stages.Lowered`.
  """
  shape = len(layout.branches), *latent_shape(config, *clip)
  step = layout.plan.steps[index]
  trajectory = (
    np.zeros((len(layout.plan.steps) + 1, *shape[1:]), np.float32) if layout.stored.any() else None
  )
  move = sampling.moves_of(
    layout.plan.steps, config.schedule, 1.0, shape, layout.stored, trajectory
  )[index]

  placed = lambda x, spec, *edits: jax.ShapeDtypeStruct(
    (*edits, *np.shape(x)), x.dtype, sharding=NamedSharding(mesh, spec)
  )
  of_edits = lambda tree: jax.tree.map(
    lambda x: placed(x, PartitionSpec('data'), mesh.size * per_device), tree
  )
  params = jax.tree.map(
    lambda leaf: placed(leaf, PartitionSpec()), abstract_part(config, 'unet', dtype)
  )
  latents, texts = of_edits(_floats(shape)), of_edits(_texts(config, int(layout.texts.max()) + 1))
  *first, last = step.passes
  earlier = [of_edits(_floats((len(rows.branch), *shape[1:]))) for rows in first]
  function, apply = sampling.over_edits(sampling.move_branches, mesh), unet_apply(config, dtype)
  return function.lower(
    apply, params, latents, latents, texts, of_edits(last), of_edits(move), of_edits(masks), earlier
  )


def products_of_rows(config, clip, rows, dtype):
  """The `cost.Product`s of `rows` rows of plain sampling side by side; other arguments as of
  `lower_step`.
  """
  apply, shape = unet_apply(config, dtype), latent_shape(config, *clip)
  table = Rows(np.zeros(rows, np.int32), np.zeros(rows, np.int32), None)
  predict = lambda *args: sampling.predict_rows(apply, *args)
  return cost.products(
    predict,
    abstract_part(config, 'unet', dtype),
    _floats((1, *shape)),
    _texts(config, 1),
    table,
    np.int32(0),
  )


def facts(compiled):
  """What a compiled program needs.

  Args:
    compiled: `jax.stages.Compiled`.

  Returns:
    dict: 'arguments', 'results', 'temporaries' and 'program' in bytes of one device, 'memory' (all
    of them, donated arguments once), 'collectives' {name: how many}.
  """
  memory = compiled.memory_analysis()
  sizes = {
    'arguments': memory.argument_size_in_bytes,
    'results': memory.output_size_in_bytes - memory.alias_size_in_bytes,
    'temporaries': memory.temp_size_in_bytes,
    'program': memory.generated_code_size_in_bytes,
  }
  return {**sizes, 'memory': sum(sizes.values()), 'collectives': collectives(compiled)}


def collectives(compiled):
  """The collective operations of a compiled program: {name: how many}; {} where devices never wait
  for each other.
  """
  text = compiled.as_text()
  counts = {name: len(re.findall(rf' {name}(?:-start)?\(', text)) for name in COLLECTIVES}
  return {name: count for name, count in counts.items() if count}


def _floats(shape):
  return jax.ShapeDtypeStruct(shape, np.float32)


def _texts(config, count):
  return _floats((count, config.text.positions, config.text.width))


def abstract_part(config, part, dtype):
  """The shapes of the parameters of a part as they are loaded: in the compute dtype."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype)), abstract_params(config, part)
  )
