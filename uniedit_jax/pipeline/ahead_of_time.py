"""Programs compiled from shapes alone: before inputs are known, or for devices that are absent."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

from uniedit_jax.method import sampling
from uniedit_jax.method.rows import Rows
from uniedit_jax.models.config import abstract_params
from uniedit_jax.pipeline.model import latent_shape, unet_apply
from uniedit_jax.runtime import cost, sharding

COLLECTIVES = (
  'all-gather', 'all-reduce', 'all-to-all', 'collective-permute', 'reduce-scatter',
  'collective-broadcast',
)  # fmt: skip


def lower_first(model, edit, texts, masks=None):
  """Lowers the first program that sampling one edit runs; once compiled, sampling finds it.

  Args:
    model, edit: `checkpoint.Model` on one device, `CheckedEdit`.
    texts: number P of the texts f32[P, T, E] to come.
    masks: dict of `TokenMasks`, or None.
  """
  plan, mesh = edit.plan, sampling.mesh_of(model.params['unet'])
  params = sharding.replicate(model.params['unet'], mesh)
  apply = unet_apply(model.config, edit.dtype, edit.window)
  shape = len(plan.branches), *edit.latent_shape
  inputs = _inputs(plan, 0, edit.sampler, shape)
  batched = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree)
  of_edit = functools.partial(_of_edits, mesh, 1)
  latents, texts = of_edit(_floats(shape)), of_edit(_texts(model.config, texts))
  first, *later = batched(plan.steps[0].passes)
  inputs, masks = batched(inputs), of_edit(masks)
  if later:
    return sampling.predict.lower(
      apply, mesh, params, latents, texts, first, inputs.timestep, masks
    )
  return sampling.step.lower(apply, mesh, params, latents, latents, texts, first, inputs, masks, [])


def lower_step(config, plan, index, clip, mesh, dtype, per_device=1, masks=None):
  """Lowers the last pass of a step of sampling a batch, which moves the latents too.

  Args:
    config: `ModelConfig`.
    plan: `EditPlan` of all edits of the batch.
    index: of the step.
    clip: (frames, height, width) in pixels.
    mesh: a mesh with the axis 'data' over devices, or over those of a topology.
    dtype: compute dtype.
    per_device: edits on each device.
    masks: dict of `TokenMasks` of one edit, or None.
  """
  shape = len(plan.branches), *latent_shape(config, *clip)
  sampler = sampling.Sampler(config.schedule, len(plan.steps))
  of_edits = functools.partial(_of_edits, mesh, mesh.size * per_device)
  params = jax.tree.map(
    lambda leaf: _placed(leaf, sampling.of_all(mesh)),
    abstract_part(config, 'unet', dtype),
  )
  latents = of_edits(_floats(shape))
  texts = of_edits(_texts(config, int(plan.texts.max()) + 1))
  *first, last = plan.steps[index].passes
  earlier = [of_edits(_floats((len(rows.branch), *shape[1:]))) for rows in first]
  inputs, apply = of_edits(_inputs(plan, index, sampler, shape)), unet_apply(config, dtype)
  last, masks = of_edits(last), of_edits(masks)
  return sampling.step.lower(
    apply, mesh, params, latents, latents, texts, last, inputs, masks, earlier
  )


def _inputs(plan, index, sampler, shape):
  """The `StepInputs` of a step, of any trajectory."""
  trajectory = np.broadcast_to(np.float32(0), (len(plan.steps) + 1, *shape[1:]))
  conditioning = sampling.Conditioning(None, trajectory=trajectory)
  return sampling.inputs_of(plan, sampler, conditioning, shape)[index]


def _of_edits(mesh, count, tree):
  """A tree of one edit as the shapes of a batch on the mesh."""
  return jax.tree.map(lambda x: _placed(x, sampling.of_edits(mesh), count), tree)


def _placed(x, sharding, *edits):
  return jax.ShapeDtypeStruct((*edits, *np.shape(x)), x.dtype, sharding=sharding)


def products_of_rows(config, clip, rows, dtype):
  """The `cost.Product`s of so many rows of plain sampling; arguments as of `lower_step`."""
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
  """The memory and the collectives of a `jax.stages.Compiled` program.

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
  """The collectives of a compiled program, {name: how many}; {} where devices never wait."""
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
