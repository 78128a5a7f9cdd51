"""One jitted update with EMA, its learning rates, and the states that a killed run resumes from.

Batches and random numbers depend on the seed and the step alone, so a resumed run has the same
losses.
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

from uniedit_jax.runtime.files import absolute, need_room


class State(NamedTuple):
  """State of a training run.

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
  """An optax schedule: linear within each stage, times a linear warm-up at the very start.

  Args:
    stages: sequence of (steps, first rate, last rate).
    warmup: number of steps of the warm-up.
  """
  ends = np.cumsum([steps for steps, _, _ in stages])
  pieces = [optax.linear_schedule(first, last, steps) for steps, first, last in stages]
  joined = optax.join_schedules(pieces, ends[:-1].tolist())
  return lambda step: joined(step) * jnp.minimum(1.0, (step + 1) / warmup)


def make_optimizer(schedule):
  """Adam on gradients clipped to a global norm of 1."""
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
    decay: f32[] of the EMA; lower in the first steps.

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
  """Yields an orbax CheckpointManager of a folder, local or remote, with the last two states."""
  options = ocp.CheckpointManagerOptions(max_to_keep=2, cleanup_tmp_directories=True)
  verbosity = logging.get_verbosity()
  # Orbax logs a page with every save.
  logging.set_verbosity(logging.WARNING)
  try:
    with ocp.CheckpointManager(absolute(folder), options=options) as store:
      yield store
  finally:
    logging.set_verbosity(verbosity)


def check_finite(store, step, **values):
  """Raises FloatingPointError if a value {name: tree} of a step is not finite."""
  for name, tree in values.items():
    if not _is_finite(tree):
      kept = f'the last state that is kept is that of step {store.latest_step() or 0}'
      advice = 'accepted: a lower first_rate, a longer warmup, or dtype=float32'
      raise FloatingPointError(f'the {name} of step {step} is NaN or infinite; {kept}; {advice}')


def save(store, state):
  """Writes a state under its step.

  Raises:
    FloatingPointError: it is not finite, and is not kept.
    OSError: the disk has no room for it.
  """
  check_finite(store, int(state.step), state=state)
  need_room(store.directory, sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
  store.save(int(state.step), args=ocp.args.StandardSave(state._asdict()))
  store.wait_until_finished()


def restore(store, state):
  """The newest sound state in the store, placed like `state`; itself if the store is empty.

  Newer states that are damaged or not finite are removed, with a warning.

  Raises:
    ValueError: no state can be read: all are damaged, or those of another model.
  """
  abstract, faults = jax.tree.map(ocp.utils.to_shape_dtype_struct, state._asdict()), {}
  for step in sorted(store.all_steps(), reverse=True):
    try:
      found = State(**store.restore(step, args=ocp.args.StandardRestore(abstract)))
      if not _is_finite(found):
        raise ValueError('it has NaN or infinite numbers')
    except Exception as error:  # whatever orbax makes of damaged files
      faults[step] = str(error).partition('\n')[0][:200]
      continue
    for bad, fault in faults.items():
      message = 'removing the state of step %d in %s, which is damaged (%s); going on from step %d'
      logging.warning(message, bad, store.directory, fault, step)
      store.delete(bad)
    return found
  if faults:
    found = '; '.join(f'step {step}: {fault}' for step, fault in faults.items())
    advice = 'accepted: whole states of this model, or another workdir'
    raise ValueError(f'no state in {store.directory} can be read ({found}); {advice}')
  return state


def _is_finite(tree):
  """Whether all numbers of a tree are finite."""
  return all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(tree))
