"""The workloads that `experiments.benchmark` times, and the operations of each."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from uniedit_jax.method.injection import preset
from uniedit_jax.method.plan import plan_edit
from uniedit_jax.pipeline import ahead_of_time, model
from uniedit_jax.runtime import cost

PLANNED = ', planned'


class Inputs(NamedTuple):
  """Random inputs of one clip size.

  Attributes:
    clip: (frames, height, width) in pixels.
    latents: f32[F, H, W, C].
    frames: f32[F, 8 H, 8 W, 3] in [-1, 1].
    texts: f32[2, T, E], the null text first.
  """

  clip: tuple[int, int, int]
  latents: np.ndarray
  frames: np.ndarray
  texts: np.ndarray


def draw_inputs(config, clip):
  """`Inputs` for a `ModelConfig` and (frames, height, width)."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.standard_normal(shape, np.float32)
  latents, frames = draw(*model.latent_shape(config, *clip)), np.tanh(draw(*clip, 3))
  return Inputs(tuple(clip), latents, frames, draw(2, config.text.positions, config.text.width))


class Work(NamedTuple):
  """A workload: a method call that both sides can run.

  Attributes:
    method: name of a method of `sides.Ours` and `sides.Peer`.
    arrays, options: its first arguments, which `put` moves to the side's device; the further ones.
    flops: operations of the products and convolutions.
  """

  method: str
  arrays: tuple[np.ndarray, ...]
  options: tuple[Any, ...]
  flops: float

  def run_on(self, side):
    """The call on a side, as a function without arguments."""
    arrays = [side.put(x) for x in self.arrays]
    return lambda: getattr(side, self.method)(*arrays, *self.options)


def make_cases(request, inputs, dtype):
  """Lists the cases of a `BenchmarkRequest`: {name: {suffix of a variant: `Work`}}.

  With the suffix `PLANNED` an edit computes the plan's rows, with '' every row of every step.
  Operations are counted in `dtype`.
  """
  config, steps = request.model_config, request.steps
  # Operations are those of one row times the number of rows, except of the VAE and of gradients.
  row = row_flops(config, inputs.clip, dtype)
  null, text = inputs.texts
  cases = {}
  for name in request.cases:
    if name == 'unet':
      for rows in request.rows:
        latents = np.stack([np.roll(inputs.latents, i) for i in range(rows)])
        arrays = latents, inputs.texts[np.arange(rows) % 2]
        cases[f'UNet step, rows: {rows}'] = {'': Work('step', arrays, (), rows * row)}
    elif name == 'inversion':
      work = Work('invert', (inputs.latents, null), (steps,), steps * row)
      cases['DDIM inversion'] = {'': work}
    elif name in ('appearance', 'motion'):
      arrays = inputs.latents, inputs.texts
      cases[f'{name} edit'] = {
        suffix: Work('edit', arrays, (plan,), sum(plan.row_counts) * row)
        for suffix, plan in plans_of(config, name, steps).items()
      }
    elif name == 'null_text':
      count, inner = request.null_text['steps'], request.null_text['inner_steps']
      trajectory = np.stack([np.roll(inputs.latents, i) for i in range(count + 1)])
      flops = count * (2 * row + inner * _gradient_flops(config, inputs, dtype))
      work = Work('null_text', (trajectory, text, null), (inner,), flops)
      cases['null-text optimisation'] = {'': work}
    elif name == 'vae':
      for way, x in (('encode', inputs.frames), ('decode', inputs.latents)):
        work = Work(way, (x,), (), vae_flops(config, inputs, dtype, way))
        cases[f'VAE, {way}'] = {'': work}
    elif name == 'end_to_end':
      arrays = inputs.frames, inputs.texts
      vae = sum(vae_flops(config, inputs, dtype, way) for way in ('encode', 'decode'))
      around = vae + steps * row
      cases['frames to edited frames'] = {
        suffix: Work('edit_frames', arrays, (plan, steps), around + sum(plan.row_counts) * row)
        for suffix, plan in plans_of(config, 'appearance', steps).items()
      }
  return cases


def plans_of(config, task, steps):
  """{suffix: `EditPlan`} of the paper's preset with a null source prompt; only the edit is kept."""
  blocks = config.unet.blocks
  settings = [preset('paper', task, False, steps, blocks)]
  plan = lambda exact: plan_edit(task, settings, steps, blocks=blocks, exact_savings=exact)
  return {'': plan(False), PLANNED: plan(True)}


@functools.cache
def row_flops(config, clip, dtype):
  """Operations of one row of a step."""
  return cost.flops(ahead_of_time.products_of_rows(config, clip, 1, dtype))


def _gradient_flops(config, inputs, dtype):
  """Operations of a row forward and backward to its text, activations kept."""
  denoise = model.denoiser(config, dtype)
  params = ahead_of_time.abstract_part(config, 'unet', dtype)
  loss = lambda text, params: denoise(params, inputs.latents, np.int32(0), text).sum()
  return cost.flops(cost.products(jax.value_and_grad(loss), inputs.texts[0], params))


def vae_flops(config, inputs, dtype, way):
  """Operations of encoding or decoding the clip, `way` of 'encode' and 'decode'."""
  module = model.module(config, 'vae', dtype)
  params = ahead_of_time.abstract_part(config, 'vae', dtype)
  frame = (inputs.frames if way == 'encode' else inputs.latents)[:1]
  run = lambda params, x: module.apply({'params': params}, x, method=way)
  return len(inputs.latents) * cost.flops(cost.products(run, params, frame))
