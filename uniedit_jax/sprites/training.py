"""One jitted update with EMA, its schedule, and checkpoints from which a killed run goes on as if
it had not been.

Batches and random numbers depend on the seed and the step alone.
"""

import contextlib
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from absl import logging

from uniedit_jax.runtime.files import absolute


class State(NamedTuple):
  """All that training changes.

  Attributes:
    step: i32[], updates done.
    params: parameter tree.
    ema: exponential moving average of `params`.
    optimizer: state of the optimizer.
  """

  step: jax.Array
  params: Any
  ema: Any
  optimizer: Any


def learning_rate(stages, warmup):
  """A schedule for optax: linear within each stage, times a linear warm-up at the very start.

  Args:
    stages: sequence of (steps, first rate, last rate).
    warmup: number of steps of the warm-up.
  """
  ends = np.cumsum([steps for steps, _, _ in stages])
  pieces = [optax.linear_schedule(first, last, steps) for steps, first, last in stages]
  joined = optax.join_schedules(pieces, ends[:-1].tolist())
  return lambda step: joined(step) * jnp.minimum(1.0, (step + 1) / warmup)


def make_optimizer(schedule):
  """Adam after clipping of the gradient's global norm to 1."""
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))


def start(params, optimizer):
  """The `State` before the first update."""
  return State(
    jnp.zeros((), jnp.int32), params, jax.tree.map(jnp.copy, params), optimizer.init(params)
  )


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def update(loss, optimizer, state, batch, key, decay):
  """One update.

  Args:
    loss: (params, batch, key) -> (scalar, measures {name: scalar}).
    optimizer: optax transformation.
    state: `State`; donated.
    batch: tree of arrays.
    key: PRNG key; the step is folded in.
    decay: f32[] of the EMA; a young average forgets faster.

  Returns:
    (State, measures with 'loss').
  """
  value_and_grad = jax.value_and_grad(loss, has_aux=True)
  (value, measures), gradient = value_and_grad(
    state.params, batch, jax.random.fold_in(key, state.step)
  )
  change, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
  params = optax.apply_updates(state.params, change)
  decay = jnp.minimum(decay, (state.step + 1) / (state.step + 10))
  ema = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), state.ema, params)
  return State(state.step + 1, params, ema, optimizer_state), {'loss': value, **measures}


@contextlib.contextmanager
def state_store(folder):
  """Where states are kept: yields an orbax CheckpointManager that holds the last two.

  Args:
    folder: path, local or remote.
  """
  folder = absolute(folder)
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.WARNING)  # orbax logs a page a save
  try:
    with ocp.CheckpointManager(
      folder, options=ocp.CheckpointManagerOptions(max_to_keep=2)
    ) as store:
      yield store
  finally:
    logging.set_verbosity(verbosity)


def save(store, state):
  """Writes a state under its step."""
  store.save(int(state.step), args=ocp.args.StandardSave(state._asdict()))
  store.wait_until_finished()


def restore(store, state):
  """The newest state in the store, placed like `state`; `state` itself where there is none.

  Raises:
    ValueError: the stored tree has another shape, so another model was trained there.
  """
  if store.latest_step() is None:
    return state
  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state._asdict())
  return State(**store.restore(store.latest_step(), args=ocp.args.StandardRestore(abstract)))
