"""The edit from Python, a step at a time: load, invert, edit, show, compare.

  import uniedit_jax as ue

  model = ue.load('sprites')
  request = ue.EditRequest(checkpoint='sprites', video='sprites', target_prompt='...', steps=25)
  source = ue.invert(model, request)
  edited = ue.edit(source)                                # as the request says
  other = ue.edit(source, {'structure.steps': (0, 10)})   # inversion and programs are reused
  edited.frames                                           # u8[F, H, W, 3]
  ue.compare([edited, other])                             # a page

A notebook shows edits and pages at the end of a cell.
"""

import html
import tempfile
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from uniedit_jax.media import video
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.check import check_edit, read_model_config
from uniedit_jax.pipeline.checked_edit import CheckedEdit
from uniedit_jax.pipeline.model import encode_prompts, resolve_dtype
from uniedit_jax.pipeline.passes import make_settings, plan_passes, refuse_comparison
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.pipeline.sources import read_source
from uniedit_jax.reports import page, sweep
from uniedit_jax.reports.clips import write_clips
from uniedit_jax.reports.edit import write_report
from uniedit_jax.runtime import checkpoint, progress
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.files import write_text
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import write_json
from uniedit_jax.sprites import world

__all__ = [
  'Edit', 'EditRequest', 'Inverted', 'Page', 'compare', 'edit', 'edits', 'invert', 'load', 'show',
]  # fmt: skip

HEIGHT = 640  # of a page inside of a notebook until it has found its own, pixels


class Page(NamedTuple):
  """A page of videos that play in step, `html`: str, self-contained; a notebook shows it."""

  html: str

  def __repr__(self):
    return f'Page of {len(self.html) / 1e6:.1f} MB; save(path) writes it'

  def save(self, path):
    """Writes the page as a file; returns its epath.Path."""
    write_text(epath.Path(path), self.html)
    return epath.Path(path)

  def _repr_html_(self):
    # A frame of its own, so that pages of several cells do not meet.
    return (
      f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: {HEIGHT}px; '
      'border: 0"></iframe>'
    )


class Inverted(NamedTuple):
  """An inverted clip, ready to be edited; made by `invert` for its `CheckedEdit`."""

  edit: CheckedEdit
  model: checkpoint.Model
  prepared: pipeline_edit.PreparedClip
  log: RunLog

  def __repr__(self):
    clip = self.edit.clip
    return (
      f'Inverted {clip.frames} frames of {clip.height} x {clip.width}, '
      f'{self.edit.sampler.steps} steps, by {self.edit.inversion.method}'
    )

  @property
  def frames(self):
    """u8[F, H, W, 3], the clip; None where it is still to be generated."""
    return self.prepared.frames


class Edit(NamedTuple):
  """An edited clip; made by `edit`.

  Attributes:
    clips: dict of u8[F, H, W, 3]: 'source', 'reconstruction', 'motion_reference' and 'edit', as far
      as they are made.
    measures: dict of numbers, as in metrics.json.
    config: dict, the whole request with nothing left to presets.
    fps: frame rate.
  """

  clips: dict[str, np.ndarray]
  measures: dict[str, float]
  config: dict[str, Any]
  fps: float

  def __repr__(self):
    frames, height, width = self.frames.shape[:3]
    return (
      f'Edit {self.config["target_prompt"]!r}: {frames} frames of {height} x {width}, '
      f'{len(self.measures)} measures; save(folder) writes it'
    )

  @property
  def frames(self):
    """u8[F, H, W, 3]."""
    return self.clips['edit']

  def save(self, folder):
    """Writes clips, metrics.json, config.json and report.html; returns the epath.Path of that."""
    folder = epath.Path(folder)
    write_clips(folder, self.clips, self.fps)
    write_json(folder / 'config.json', self.config)
    write_json(folder / 'metrics.json', self.measures)
    return write_report(folder)

  def _repr_html_(self):
    clips = {name.replace('_', ' '): clip for name, clip in self.clips.items()}
    # The clips that are compared come first.
    first = {name: clips[name] for name in ('source', 'edit') if name in clips}
    return show(first | clips, self.fps, self.config['target_prompt'])._repr_html_()


def load(checkpoint='sprites', dtype='auto', cache='~/.cache/uniedit_jax'):
  """Loads a checkpoint: `checkpoint.Model`.

  Args:
    checkpoint: a folder made by a converter, the hub id of one, or the name of a shipped model.
    dtype: 'auto', 'float32', 'bfloat16' or 'float16'.
    cache: folder of compiled programs.

  Raises:
    FileNotFoundError, ValueError: there is no checkpoint, or no such dtype here.
  """
  return pipeline_edit.load(checkpoint, resolve_dtype(dtype), cache, RunLog())


def invert(model, request):
  """Inverts the clip of an `EditRequest`, or finds the inversion in the cache: `Inverted`.

  Args:
    model: `load(request.checkpoint)`.
    request: `EditRequest`.

  Raises:
    FaultsError: lists all faults of the request; or it is one of another model.
  """
  refuse_comparison(request)
  _check_model(model, request)
  edit = check_edit(request)
  log = progress.shown_log(edit.warnings)
  with pipeline_edit.compiling(edit, model, log):
    return Inverted(edit, model, _prepare(model, edit, log), log)


def edit(source, changes=None):
  """Edits an `Inverted` clip: `Edit`.

  Args:
    source: `Inverted`.
    changes: dict {dotted field: value} of what differs from the request that the clip was inverted
      for. Changes that need another inversion make or find it.

  Raises:
    FaultsError: lists all faults.
  """
  return next(_edits(source, [changes or {}]))


def edits(source, settings):
  """Edits an `Inverted` clip with several settings, side by side as far as memory allows.

  An interrupt (Ctrl-C, the stop button of a notebook) ends this and keeps what is finished.

  Args:
    source: `Inverted`.
    settings: list of dicts, the `changes` of `edit`.

  Returns:
    list of `Edit`, pass by pass in the order of the settings; fewer after an interrupt.

  Raises:
    FaultsError: lists all faults.
  """
  made = []
  try:
    for one in _edits(source, settings):
      made.append(one)
  except KeyboardInterrupt:
    progress.announce(f'interrupted: {len(made)} of {len(settings)} settings are finished')
  return made


def _check_model(model, request):
  """Raises FaultsError if a request names another checkpoint or dtype than those that are loaded.

  What is no checkpoint and no dtype is left to `check_edit`, which lists all faults.
  """
  faults, name = Faults(), request.checkpoint
  known = isinstance(name, str) and read_model_config(name, Faults())
  if known and checkpoint.read_hash(name) != model.hash:
    faults.append(
      f'checkpoint is {name!r}, but another one is loaded, named {model.config.name!r}; accepted: '
      f'the loaded one, or load({name!r}) first'
    )
  loaded = jax.tree.leaves(model.params['unet'])[0].dtype.name
  dtype = Faults().attempt(resolve_dtype, request.dtype)
  faults.unless(
    dtype in (None, loaded), f'dtype is {dtype!r}; accepted: {loaded!r}, as the model is loaded'
  )
  faults.stop()


def _prepare(model, edit, log):
  clip = read_source(edit)
  (prepared,) = pipeline_edit.prepare(model, [edit], [clip], log)
  world.warn(edit, prepared, log)
  return prepared


def _edits(source, settings):
  request = source.edit.request
  for changes in settings:
    of_model = {name: changes[name] for name in ('checkpoint', 'dtype') if name in changes}
    if changed := Faults().attempt(request.replace, of_model):
      _check_model(source.model, changed)
  for one in plan_passes(request, settings):
    if one.edit.source_key == source.edit.source_key:
      texts = encode_prompts(source.model, one.edit.prompts, one.edit.dtype)
      texts = source.prepared.inversion.all_texts(texts)
      prepared = source.prepared._replace(texts=texts)
    else:
      prepared = _prepare(source.model, one.edit, source.log)
    judge = world.judge_of(source.model.config)
    for setting, clips, measures in make_settings(one, source.model, prepared, source.log, judge):
      yield Edit(clips, measures, one.resolved[setting], prepared.fps)


def show(clips, fps=8, title='Clips'):
  """Shows clips next to each other and playing in step: `Page`.

  Args:
    clips: u8[F, H, W, 3], a list of such, or a dict {label: u8[F, H, W, 3]}; `Edit`s too.
    fps: frame rate.
    title: text above them.

  Raises:
    ValueError: there are none, or they are no clips.
  """
  if isinstance(clips, Edit | np.ndarray):
    clips = {'edit' if isinstance(clips, Edit) else 'clip': clips}
  elif not isinstance(clips, dict):
    clips = {f'{i}': clip for i, clip in enumerate(clips)}
  if not clips:
    raise ValueError('clips is empty; accepted: u8[F, H, W, 3], a list or a dict of such')
  with tempfile.TemporaryDirectory() as folder:
    films = []
    for number, (label, clip) in enumerate(clips.items()):
      path = epath.Path(folder) / f'{number}.mp4'
      video.write_mp4(path, clip.frames if isinstance(clip, Edit) else clip, fps)
      films.append(page.embed(path, str(label)))
  return Page(page.render('clips.html', title=title, films=films))


def compare(several):
  """Compares several `Edit` of a clip, their measures and what their requests differ in: `Page`."""
  differing, rows = sweep.differing([one.config for one in several]), []
  with tempfile.TemporaryDirectory() as folder:
    for number, one in enumerate(several):
      sweep.write_clips(epath.Path(folder), number, 0, one.clips, one.fps, one.config)
      values = {field: values[number] for field, values in differing.items()}
      rows.append({'setting': number, 'pass': 0, **values, **one.measures})
    # Without a run record: what lies in this folder is gone when the page is looked at.
    content = sweep.describe(folder, rows, list(differing), {}, 'Comparison')
  return Page(page.render('sweep.html', **content))
