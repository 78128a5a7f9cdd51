"""The loop over the edits of a batch: what is made together, what fails, what is written."""

import concurrent.futures
import dataclasses
import time

from absl import logging

from experiments import edit as edit_command
from experiments.batch_edit import summary
from experiments.batch_edit.claims import Claims
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.sources import fingerprints, read_masks, read_source
from uniedit_jax.runtime import progress, sharding
from uniedit_jax.runtime.faults import Faults, is_full, line_of
from uniedit_jax.runtime.workdir import begin, mark_done, write_json


def run(batch, workdir, process=0, processes=1):
  """Makes the unfinished edits of a `BatchRequest` that this process has; returns how many failed.

  Those that another run on the workdir is making are left to it.

  Raises:
    FaultsError: folders hold finished edits of another config, and faulty ones are not skipped.
    OSError: the disk is full; what was finished is.
  """
  folder, log = lambda item: workdir / 'items' / item.id, progress.shown_log()
  todo, failed = _check_finished(batch, batch.items[process::processes], folder)
  with Claims(workdir / 'claims') as claims:
    mesh = sharding.data_mesh()
    chunks = chunks_of(todo, mesh.size * batch.per_device)
    claimed = _claimed(chunks, claims, folder, batch.cache)
    chunk = next(claimed, None)
    if not chunk:
      return failed
    began, first = time.monotonic(), chunk[0].edit
    model = pipeline_edit.load(first.request.checkpoint, first.dtype, batch.cache, log)
    model = model._replace(params=sharding.replicate(model.params, mesh))
    # One thread reads ahead and one writes behind, while this one keeps the devices busy.
    with (
      concurrent.futures.ThreadPoolExecutor(1) as reader,
      concurrent.futures.ThreadPoolExecutor(1) as writer,
      progress.bar('edits', len(todo), 'edit') as bar,
    ):
      ahead, writing, made_so_far = reader.submit(read_items, chunk), [], 0
      while chunk:
        following = next(claimed, None)
        read, ahead = ahead.result(), following and reader.submit(read_items, following)
        made = _make(chunk, read, model, mesh, log, workdir / 'items')
        failed += _wait(writing)
        facts = {'process': process, 'edits_at_once': len(chunk), **log.as_dict()}
        log = progress.shown_log()  # seconds of the next ones are their own
        writing = [
          writer.submit(_leave, claims, read[item.id], made[item.id], model, folder(item), facts)
          for item in chunk
        ]
        made_so_far += len(chunk)
        bar.note(f'{3600 * made_so_far / (time.monotonic() - began):.3g} edits/h')
        bar.update(len(chunk))
        chunk = following
      failed += _wait(writing)
  return failed


def finished(batch, workdir):
  """How many edits of a batch are finished, in words."""
  done = sum((workdir / 'items' / item.id / 'DONE').exists() for item in batch.items)
  return f'{done} of {len(batch.items) + len(batch.faulty)} edits'


def _check_finished(batch, items, folder):
  """(The items that are not finished, how many have damaged or other results)."""
  todo, faults, damaged = [], Faults(), 0
  for item in items:
    if not (folder(item) / 'DONE').exists():
      todo.append(item)
    elif Faults().attempt(summary.read_finished, folder(item)) is None:
      damaged += 1  # the summary says what is missing
    else:
      faults.attempt(_begin, item, folder, batch.cache)
  if not batch.skip_faulty:
    faults.stop()
  for fault in faults:
    logging.error('%s', fault)
  return todo, damaged + len(faults)


def _begin(item, folder, cache):
  return begin(folder(item), item.resolved, fingerprints(item.resolved, cache))


def _claimed(chunks, claims, folder, cache):
  """Yields the items of each chunk that nobody makes or has made, claimed and begun."""
  for chunk in chunks:
    own = []
    for item in chunk:
      if not claims.take(item.id):
        logging.warning('edit %s is made by another run', item.id)
      elif _begin(item, folder, cache):
        own.append(item)
      else:
        claims.release(item.id)
    if own:
      yield own


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
      masks = read_masks(edit.request, edit.clip, faults, [])
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
    if is_full(error, folder):
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


def _leave(claims, read, result, model, folder, facts):
  """Writes what a single edit leaves, DONE last; returns whether it failed."""
  try:
    if isinstance(result, Exception):
      raise result
    if result is not None:
      edit, _ = read
      prepared, made = result
      warnings = [*edit.warnings, *facts['warnings']]
      warnings += edit_command.leave_clips(edit, folder, prepared, made)
      facts = facts | {'fps': prepared.fps, 'warnings': warnings}
      edit_command.leave_record(edit, folder, model, facts)
    (folder / 'error.json').unlink(missing_ok=True)
    mark_done(folder)
  except Exception as error:
    if is_full(error, folder):
      raise
    logging.error('edit %s: %s', folder.name, error)
    leave_error(folder, error)
    return True
  finally:
    claims.release(folder.name)
  return False


def leave_error(folder, error):
  """Writes why an edit was not made."""
  write_json(folder / 'error.json', {'error': line_of(error), 'kind': type(error).__name__})


def _wait(writing):
  return sum(future.result() for future in writing)
