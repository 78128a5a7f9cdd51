"""The loop over the edits of a batch: what is made together, what fails, what is written."""

import concurrent.futures
import errno
import itertools
import pathlib
import shutil
import time

import jax
import tqdm
from absl import logging

from experiments import edit, progress, stages
from experiments.batch_edit import item_files
from uniedit_jax.runtime import sharding
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import begin, mark_done

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, a file size
LEAST_FREE = 2**16  # bytes of a disk; with less it is full


def run(config, items, workdir, process=0, processes=1):
  """Makes the unfinished edits of this process.

  Args:
    config: ConfigDict of configs/batch.py.
    items: the `Item`s of all processes.
    workdir: path.
    process, processes: which of how many this is.

  Returns:
    Number of edits that failed.

  Raises:
    ValueError: a folder holds the finished edit of another config.
    OSError: the disk is full; what was finished is.
  """
  folder, log = lambda item: workdir / 'items' / item.id, RunLog(announce=progress.announce)
  todo = [item for item in items[process::processes] if begin(folder(item), item.resolved)]
  if not todo:
    return 0
  mesh, failed, began = sharding.data_mesh(), 0, time.monotonic()
  model = stages.load(config, todo[0].request.dtype, log)
  model = model._replace(params=sharding.replicate(model.params, mesh))
  chunks = chunks_of(todo, mesh.size * config.per_device)
  # One thread reads ahead and one writes behind, while this one keeps the devices busy.
  with (
    concurrent.futures.ThreadPoolExecutor(1) as reader,
    concurrent.futures.ThreadPoolExecutor(1) as writer,
    tqdm.tqdm(total=len(todo), unit='edit', desc='edits', disable=jax.process_index() > 0) as bar,
  ):
    ahead, writing = reader.submit(item_files.read, chunks[0]), []
    for chunk, following in itertools.zip_longest(chunks, chunks[1:]):
      clips, ahead = ahead.result(), following and reader.submit(item_files.read, following)
      made = _make(chunk, clips, model, mesh, log, workdir / 'items')
      failed += _wait(writing)
      facts = {'process': process, 'edits_at_once': len(chunk), **log.as_dict()}
      log = RunLog(announce=progress.announce)  # seconds of the next ones are their own
      writing = [
        writer.submit(_leave, item, clips, made, model, folder(item), facts) for item in chunk
      ]
      bar.update(len(chunk))
      bar.set_postfix_str(f'{3600 * bar.n / (time.monotonic() - began):.3g} edits/h')
    failed += _wait(writing)
  return failed


def chunks_of(items, size):
  """Items of one bucket in groups of at most `size`; those that are made alone are groups of one."""
  buckets = {}
  for item in items:
    buckets.setdefault((item.id,) if item.alone else item.bucket, []).append(item)
  return [bucket[i : i + size] for bucket in buckets.values() for i in range(0, len(bucket), size)]


def _make(chunk, clips, model, mesh, log, folder):
  """Makes a chunk: {id: what `_leave` writes, an error, or None where all is written}."""
  made = {item.id: clips[item.id] for item in chunk if isinstance(clips[item.id], Exception)}
  sound = [item for item in chunk if item.id not in made]
  try:
    if chunk[0].alone and sound:
      (item,) = sound
      model = model._replace(params=sharding.on_first(model.params))
      edit.make(item.config, clips[item.id][0], folder / item.id, model, log)
      return {item.id: None}
    return made | (item_files.make(sound, clips, model, mesh, log) if sound else {})
  except Exception as error:
    if _is_full(error, folder):
      raise
    logging.exception('edits %s', [item.id for item in sound])
    return made | {item.id: error for item in sound}


def _leave(item, clips, made, model, folder, facts):
  """Writes the results of an item; returns whether it failed."""
  result = made[item.id]
  try:
    if isinstance(result, Exception):
      raise result
    if result is None:
      (folder / 'error.json').unlink(missing_ok=True)
      mark_done(folder)
    else:
      item_files.leave(item, clips[item.id][0], result, model, folder, facts)
  except Exception as error:
    if _is_full(error, folder):
      raise
    logging.error('edit %s: %s', item.id, error)
    item_files.leave_error(folder, error)
    return True
  return False


def _wait(writing):
  return sum(future.result() for future in writing)


def _is_full(error, folder):
  """Whether an error means that nothing more can be written."""
  if getattr(error, 'errno', None) in FULL:
    return True
  # A program that writes for us, as the video encoder does, says so in words of its own.
  local = pathlib.Path(folder)
  return local.exists() and shutil.disk_usage(local).free < LEAST_FREE
