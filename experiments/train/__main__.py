"""Trains a part of the sprites model; run again, it resumes where it stopped.

  python -m experiments.train --config=configs/sprites_vae.py --workdir=out/sprites_vae
  python -m experiments.train --config=configs/sprites_model.py \
    --config.vae=out/sprites_vae/checkpoint --workdir=out/sprites_model

The workdir gets states/ (to resume from), losses.csv and losses.png, looks/ (pictures that the
averaged weights make in validation) and, at the end or when config.max_minutes are over,
checkpoint/, a checkpoint folder of the averaged weights.
"""

import sys
import time

import jax
import numpy as np
from etils import epath

from experiments.launch import launch
from experiments.requests.train import read_training, resolve_training
from experiments.train.tasks import make_task
from uniedit_jax.media import grids
from uniedit_jax.reports import tables
from uniedit_jax.runtime import progress, sharding
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import data, training, training_curves

LOG_EVERY = 20


def run(request, workdir):
  """Trains until the last step, or until request.max_minutes are over.

  Args:
    request: `TrainingRequest`.
    workdir: path.

  Raises:
    SystemExit: steps are left; the same command resumes.
    FloatingPointError: a loss is not finite; nothing is saved after the last sound state.
  """
  workdir = epath.Path(workdir)
  began = saved = time.monotonic()
  log = progress.shown_log()
  sharding.set_up_programs(epath.Path(request.cache) / 'programs', request.dtype)
  with log.phase('data'):
    task = make_task(request, log.steps)
  stages = [(s['steps'], s['first_rate'], s['last_rate']) for s in request.stages]
  optimizer = training.make_optimizer(training.learning_rate(stages, request.warmup))
  key, mesh = jax.random.key(request.seed), sharding.data_mesh(jax.devices())
  last = sum(stage['steps'] for stage in request.stages)

  with training.state_store(workdir / 'states') as store, log.phase('train'):
    # The state to resume from, and the losses until then.
    start = training.start(task.params, optimizer)
    state = training.restore(store, sharding.replicate(start, mesh))
    first = int(state.step)
    rows, recent = training_curves.read(workdir / 'losses.csv', until=first), []

    for step in log.steps('train')(range(first, last)):
      # One update; the bar's seconds are true only if the step is waited for.
      batch = data.shard(task.batch(step), mesh)
      state, measures = training.update(task.loss, optimizer, state, batch, key, request.ema)
      recent.append(jax.block_until_ready(measures))
      done = step + 1
      training.check_finite(store, done, loss=measures['loss'])
      if done % LOG_EVERY and done < last:
        continue

      # Means of the recent steps; where a stage ends within them, not all have every measure.
      means = {name: float(np.mean([m[name] for m in recent if name in m])) for name in measures}
      rows.append({'step': done, **means})
      recent, now = [], time.monotonic()
      over = request.max_minutes is not None and now - began > 60 * request.max_minutes
      stop = done == last or over

      # Validation, on one device.
      if stop or done % request.look_every == 0:
        measures, picture = task.validate(jax.device_get(state.ema))
        rows[-1] |= measures
        grids.write_png(workdir / 'looks' / f'{done:06d}.png', picture)
        values = ', '.join(f'{name} {value:.4g}' for name, value in rows[-1].items())
        progress.announce(f'step {done}: {values}')

      # Curves and state.
      if stop or now - saved > 60 * request.save_minutes:
        tables.write_csv(workdir / 'losses.csv', rows)
        training_curves.plot(workdir / 'losses.png', rows)
        training.save(store, state)
        saved = now
      if stop:
        break

  # The step is that of the state: a run killed after its last state has no steps left.
  done = int(state.step)
  folder = workdir / 'checkpoint'
  if folder.exists():
    folder.rmtree()
  task.export(jax.device_get(state.ema), done, folder)
  write_json(workdir / 'run.json', {**log.as_dict(), 'step': done})
  if done < last:
    reached = f'{request.max_minutes:g} minutes are over at step {done} of {last}'
    progress.announce(f'{reached}; the same command goes on')
    sys.exit()


def finished(request, workdir):
  """The step of the newest state, in words."""
  folder = workdir / 'states'
  saved = (
    [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.exists() else []
  )
  return f'{max(saved, default=0)} of {sum(stage["steps"] for stage in request.stages)} steps'


if __name__ == '__main__':
  outputs = ['checkpoint', 'losses.png']
  launch(read_training, run, outputs, resolve_training, finished, clears=False)
