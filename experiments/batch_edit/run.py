"""The loop over the edits of a batch: what is made together, what fails, what is written."""

import concurrent.futures
import dataclasses
import errno
import itertools
import pathlib
import shutil
import time

import jax
import tqdm
from absl import logging

from experiments import edit as edit_command
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.sources import fingerprints, read_masks, read_source
from uniedit_jax.runtime import progress, sharding
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.workdir import begin, mark_done, write_json

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, a file size
LEAST_FREE = 2**16  # bytes of a disk; with less it is full


def run(batch, workdir, process=0, processes=1):
  """Makes the unfinished edits of a `BatchRequest` that this process has; returns how many failed.

  Raises:
    ValueError: folders hold the finished edits of other configs or inputs; lists all.
    OSError: the disk is full; what was finished is.
  """
  folder, log = lambda item: workdir / 'items' / item.id, progress.shown_log()
  mine = batch.items[process::processes]
  faults, todo = Faults(), []
  for item in mine:
    inputs = faults.attempt(fingerprints, item.resolved, batch.cache, field=item.id)
    if inputs is not None and faults.attempt(begin, folder(item), item.resolved, inputs):
      todo.append(item)
  faults.stop()
  if not todo:
    return 0
  mesh, failed, began = sharding.data_mesh(), 0, time.monotonic()
  first = todo[0].edit
  model = pipeline_edit.load(first.request.checkpoint, first.dtype, batch.cache, log)
  model = model._replace(params=sharding.replicate(model.params, mesh))
  chunks = chunks_of(todo, mesh.size * batch.per_device)
  # One thread reads ahead and one writes behind, while this one keeps the devices busy.
  with (
    concurrent.futures.ThreadPoolExecutor(1) as reader,
    concurrent.futures.ThreadPoolExecutor(1) as writer,
    tqdm.tqdm(total=len(todo), unit='edit', desc='edits', disable=jax.process_index() > 0) as bar,
  ):
    ahead, writing = reader.submit(read_items, chunks[0]), []
    for chunk, following in itertools.zip_longest(chunks, chunks[1:]):
      read, ahead = ahead.result(), following and reader.submit(read_items, following)
      made = _make(chunk, read, model, mesh, log, workdir / 'items')
      failed += _wait(writing)
      facts = {'process': process, 'edits_at_once': len(chunk), **log.as_dict()}
      log = progress.shown_log()  # seconds of the next ones are their own
      writing = [
        writer.submit(_leave, read[item.id], made[item.id], model, folder(item), facts)
        for item in chunk
      ]
      bar.update(len(chunk))
      bar.set_postfix_str(f'{3600 * bar.n / (time.monotonic() - began):.3g} edits/h')
    failed += _wait(writing)
  return failed


def chunks_of(items, size):
  """Items of one bucket in groups of at most `size`; those made alone are groups of one."""
  buckets = {}
  for item in items:
    key = (item.id,) if item.edit.alone else item.edit.bucket
    buckets.setdefault(key, []).append(item)
  return [bucket[i : i + size] for bucket in buckets.values() for i in range(0, len(bucket), size)]


def read_items(items):
  """Reads clips and masks: {id: (edit, source), or the error that kept it from being read}."""
  found = {}
  for item in items:
    try:
      faults, edit = Faults(), item.edit
      masks = read_masks(edit.request, edit.clip, faults)
      faults.stop()
      found[item.id] = dataclasses.replace(edit, masks=masks), read_source(edit)
    except Exception as error:  # whatever is wrong with one clip, the others are made
      found[item.id] = error
  return found


def _make(chunk, read, model, mesh, log, folder):
  """Makes a chunk: {id: (`PreparedClip`, `EditedClips`), an error, or None: all is written}."""
  made = {item.id: read[item.id] for item in chunk if isinstance(read[item.id], Exception)}
  sound = [item for item in chunk if item.id not in made]
  try:
    if chunk[0].edit.alone and sound:
      (item,) = sound
      model = model._replace(params=sharding.on_first(model.params))
      edit_command.make(read[item.id][0], folder / item.id, model, log)
      return {item.id: None}
    return made | (make_items(sound, read, model, mesh, log) if sound else {})
  except Exception as error:
    if _is_full(error, folder):
      raise
    logging.exception('edits %s', [item.id for item in sound])
    return made | {item.id: error for item in sound}


def make_items(items, read, model, mesh, log):
  """Makes edits of one bucket side by side; the tail repeats an edit, whose results are dropped."""
  padded = [*items, *[items[0]] * (-len(items) % mesh.size)]
  edits, sources = zip(*(read[item.id] for item in padded), strict=True)
  prepared = pipeline_edit.prepare(model, edits, sources, log, mesh=mesh)
  made = pipeline_edit.make_clips(model, edits, prepared, log, mesh=mesh)
  results = {}
  for item, clip, result in zip(items, prepared, made, strict=False):
    results[item.id] = result if isinstance(result, Exception) else (clip, result)
  return results


def _leave(read, result, model, folder, facts):
  """Writes what a single edit leaves, DONE last; returns whether it failed."""
  try:
    if isinstance(result, Exception):
      raise result
    if result is not None:
      edit, _ = read
      prepared, made = result
      warnings = [*edit.warnings, *facts['warnings']]
      warnings += edit_command.leave_clips(edit, folder, prepared, made)[1]
      facts = facts | {'fps': prepared.fps, 'warnings': warnings}
      edit_command.leave_record(edit, folder, model, facts)
    (folder / 'error.json').unlink(missing_ok=True)
    mark_done(folder)
  except Exception as error:
    if _is_full(error, folder):
      raise
    logging.error('edit %s: %s', folder.name, error)
    leave_error(folder, error)
    return True
  return False


def leave_error(folder, error):
  """Writes why an edit was not made."""
  write_json(folder / 'error.json', {'error': str(error), 'kind': type(error).__name__})


def _wait(writing):
  return sum(future.result() for future in writing)


def _is_full(error, folder):
  """Whether an error means that nothing more can be written."""
  if getattr(error, 'errno', None) in FULL:
    return True
  # The video encoder is another program, whose errors have no errno.
  local = pathlib.Path(folder)
  return local.exists() and shutil.disk_usage(local).free < LEAST_FREE
