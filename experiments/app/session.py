"""A session: a loaded model, inverted clips that edits share, and the edits made so far.

One edit runs at a time, in a thread that reports every step, and ends where `cancel` is called.
Each finished edit is a folder as `experiments.edit` leaves it, so nothing that is finished depends
on the page.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import queue
import threading
import time
import traceback
from typing import Any, NamedTuple

import jax
from absl import logging

from experiments.app import counts, previews, programs
from experiments.edit import leave_clips, leave_record
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline import sources
from uniedit_jax.pipeline.check import Readers
from uniedit_jax.pipeline.model import encode_prompts
from uniedit_jax.runtime.faults import line_of
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import begin, mark_done

KEPT = 4  # inverted clips that stay in memory
# Fields that an inversion does not depend on; guidance and source prompt matter to some methods.
FREE = (
  'guidance', 'task', 'preset', 'target_prompt', 'more_target_prompts', 'mask', 'structure',
  'content', 'motion', 'motion_query', 'background', 'guided', 'inspect', 'metrics', 'plan',
  'rows_per_pass', 'outputs', 'cache', 'source_prompt', 'inversion', 'baseline', 'method', 'seed',
)  # fmt: skip


class CancelledError(Exception):
  """Somebody has pressed the button."""


class Progress(NamedTuple):
  """How far a run is: `text`, and `share` of the current bar in 0..1, None where there is none."""

  text: str
  share: float | None = None


class Failed(NamedTuple):
  """An edit that could not be made; `text` says why."""

  text: str


class Cost(NamedTuple):
  """What an edit took, as it was measured.

  Attributes:
    compiled: programs that were compiled.
    read: programs that were read from the cache on disk instead.
    inversion: 'reused' (from memory), 'read from the cache', 'made' or 'not needed'.
    seconds: from the start of the edit to its last file.
  """

  compiled: int
  read: int
  inversion: str
  seconds: float

  @property
  def text(self):
    """The cost in words."""
    programs = f'{self.compiled} program{"" if self.compiled == 1 else "s"} compiled'
    programs += f' and {self.read} read from the cache' if self.read else ''
    inversion = 'no inversion' if self.inversion == 'not needed' else f'inversion {self.inversion}'
    return f'{programs}, {inversion}, {self.seconds:.1f} s'


@dataclasses.dataclass(frozen=True)
class Made:
  """A finished edit.

  Attributes:
    number: from 1 on, in the session.
    folder: epath.Path of its files.
    config: dict, all of its settings.
    measures: dict of numbers.
    cost: `Cost`.
    warnings: list of str.
    fps: frame rate.
    masks: dict {'source', 'target': bool[F, H, W]} of the masks that it had.
    sheets: dict {side: path}, a picture of all frames of what the side's mask lies over.
  """

  number: int
  folder: Any
  config: dict[str, Any]
  measures: dict[str, float]
  cost: Cost
  warnings: list[str]
  fps: float
  masks: dict[str, Any]
  sheets: dict[str, str]

  def path(self, name):
    """The path of one of its files, '' if there is none."""
    path = self.folder / name
    return str(path) if path.exists() else ''


class Session:
  """The state of the app: see the module."""

  def __init__(self, folder):
    """`folder`: epath.Path of everything that the session leaves behind."""
    self.folder, self.edits, self.clips = folder, [], {}
    self._model, self._loaded, self._stop = None, None, threading.Event()
    # `_report` is that of the run which goes on, or None.
    self._busy, self._report = threading.Lock(), None
    self._sizes = {}  # {family of programs: numbers of rows}
    self.readers = Readers(source=_remembering(sources.check_source))

  def cancel(self):
    """Stops the run at its next step; returns whether there is one."""
    report = self._report
    self._stop.set()
    if report:
      # Told by the run itself, so that its end is told after it.
      report(Progress('ends with this step'))
    return report is not None

  def run(self, edits):
    """Makes edits, list of `CheckedEdit`, one after the other.

    Yields:
      `Progress`, `Made` and `Failed`, as it happens. Edits that are finished stay in
      `self.edits` when the run is cancelled, and when nobody listens any more.
    """
    events, end = queue.Queue(), object()
    # No daemon: an interpreter that ends while a thread compiles is aborted.
    threading.Thread(target=self._work, args=(edits, events.put, end)).start()
    while (event := events.get()) is not end:
      yield event

  def _work(self, edits, report, end):
    """Makes the edits, in the thread."""
    if not self._busy.acquire(blocking=False):
      report(Progress('waiting for the edit that runs'))
      self._busy.acquire()
    self._stop.clear()
    self._report = report
    try:
      for number, edit in enumerate(edits):
        several = f'edit {number + 1} of {len(edits)}: ' if len(edits) > 1 else ''
        report(self._make(edit, functools.partial(self._step, report, several)))
    except CancelledError:
      report(Failed(f'cancelled: {number} of {len(edits)} finished'))
    except Exception as error:
      logging.error('%s', traceback.format_exc())
      report(Failed(line_of(error)))
    finally:
      self._report = None
      self._busy.release()
      report(end)

  def _step(self, report, several, text, share):
    """Reports a step, unless the run is cancelled."""
    if self._stop.is_set():
      raise CancelledError
    report(Progress(several + text, share))

  def _make(self, edit, step):
    """Makes one edit: `Made`."""
    start, counter = time.perf_counter(), counts.Counter()
    log = RunLog(edit.warnings, lambda phase: step(phase, None), functools.partial(_bars, step))
    model = self._load(edit, log)
    number, folder = self._next_folder()
    config = edit.as_tree()
    begin(folder, config, sources.fingerprints(config))
    if not edit.method:  # those have programs of their own
      known = self._sizes.setdefault(programs.family(edit), set())
      edit = programs.keep_to(edit, known)
    prepared, made, inversion = self._clips(edit, model, log)
    if not edit.method:
      known |= programs.sizes(edit)
    with log.phase('write'):
      for warning in leave_clips(edit, folder, prepared, made):
        log.warn(warning)
    leave_record(edit, folder, model, log.as_dict() | {'fps': prepared.fps})
    sheets = previews.write_sheets(folder / 'sheets', made.clips)
    mark_done(folder)
    measures = json.loads((folder / 'metrics.json').read_text())
    cost = Cost(*counter.counted(), inversion, time.perf_counter() - start)
    one = Made(
      number, folder, config, measures, cost, log.warnings, prepared.fps, made.masks, sheets
    )
    self.edits.append(one)
    return one

  def _next_folder(self):
    """(number, folder) of the next edit; what an earlier session finished is left alone."""
    number = self.edits[-1].number + 1 if self.edits else 1
    while (folder := self.folder / 'edits' / f'{number:03d}').joinpath('DONE').exists():
      number += 1
    return number, folder

  def _load(self, edit, log):
    """The `checkpoint.Model` of an edit, which is loaded once."""
    wanted = edit.request.checkpoint, edit.dtype
    if self._loaded != wanted:
      self._model = pipeline_edit.load(*wanted, edit.request.cache, log)
      self._loaded = wanted
    return self._model

  def _clips(self, edit, model, log):
    """(`PreparedClip`, `EditedClips`, how the inversion came about) of an edit."""
    if edit.method:  # a comparison method inverts in its own way
      with log.phase('read'):
        source = sources.read_source(edit)
      return *edit.method.make(model, edit, source, log), 'made'
    key, guidance = _key(edit), edit.request.guidance
    if key in self.clips:
      prepared, made_for = self.clips[key]
      with log.phase('encode'):
        texts = encode_prompts(model, edit.prompts, edit.dtype)
        prepared = prepared._replace(texts=prepared.inversion.all_texts(texts))
      # The freely sampled reconstruction, a measure of the inversion, has a guidance of its own.
      prepared = prepared if made_for == guidance else prepared._replace(free=None)
      inversion = 'not needed' if edit.request.generated else 'reused'
      return prepared, pipeline_edit.make_one(model, edit, prepared, log), inversion
    with log.phase('read'):
      source = sources.read_source(edit)
    # Compiling next to the inversion would count as neither here nor there once a program is known.
    first = not self.edits
    with pipeline_edit.compiling(edit, model, log) if first else contextlib.nullcontext():
      (prepared,) = pipeline_edit.prepare(model, [edit], [source], log)
    self.clips[key] = prepared, guidance
    while len(self.clips) > KEPT:
      self.clips.pop(next(iter(self.clips)))
    cached = 'read from the cache' if log.facts.get('inversion_cached') else 'made'
    inversion = 'not needed' if edit.request.generated else cached
    return prepared, pipeline_edit.make_one(model, edit, prepared, log), inversion


def _key(edit):
  """A string that edits share whose prepared clips are the same but for their texts."""
  tree = {name: value for name, value in edit.as_tree().items() if name not in FREE}
  options, sampler = dataclasses.asdict(edit.inversion), edit.sampler
  # Null texts are optimised for a guidance, and the free reconstruction has the source's prompt.
  own = [sampler.guidance] if edit.inversion.method == 'null_text' else []
  own += [edit.request.seed] if edit.request.generated else []
  facts = [tree, options, own, edit.request.source_prompt, _stamp(edit.request)]
  return json.dumps(facts, sort_keys=True)


def _remembering(check):
  """`sources.check_source`, which decodes a source once, and not for every move of a slider."""
  known = {}

  def remembered(request, clip):
    key = str(request.video), request.image, request.move, clip, _stamp(request)
    if key not in known:
      known[key] = check(request, clip)
    return known[key]

  return remembered


def _stamp(request):
  """What tells whether the source of a request has changed on disk, None if that is not known."""
  path = pathlib.Path(request.image or request.video)
  with contextlib.suppress(OSError, ValueError):
    found = path.expanduser().stat()
    return found.st_mtime_ns, found.st_size


def _bars(step, label, log):
  """A wrapper of an iterable that reports every step, and how long is left."""

  def wrap(iterable):
    total, spent = len(iterable), []
    for number, item in enumerate(iterable):
      left = f', about {sum(spent) / len(spent) * (total - number):.0f} s left' if spent else ''
      step(f'{label}: step {number + 1} of {total}{left}', number / total)
      start, before = time.perf_counter(), log.compiled
      yield item
      spent.append(max(0.0, time.perf_counter() - start - (log.compiled - before)))
    step(f'{label}: {total} steps done', 1.0)

  return wrap


def devices():
  """The devices in words."""
  return ', '.join(sorted({f'{d.platform} ({d.device_kind})' for d in jax.local_devices()}))
