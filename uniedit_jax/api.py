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
from uniedit_jax.runtime import checkpoint, progress
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.sprites import world

__all__ = [
  'Edit', 'EditRequest', 'Inverted', 'Page', 'compare', 'edit', 'edits', 'invert', 'load', 'show',
]  # fmt: skip

HEIGHT = 640  # of a page inside of a notebook, pixels


class Page(NamedTuple):
  """A page of videos that play in step, `html`: str, self-contained; a notebook shows it."""

  html: str

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

  @property
  def frames(self):
    """u8[F, H, W, 3]."""
    return self.clips['edit']

  def _repr_html_(self):
    clips = {name.replace('_', ' '): clip for name, clip in self.clips.items()}
    return show(clips, self.fps, self.config['target_prompt'])._repr_html_()


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
  """Shows clips, a dict {label: u8[F, H, W, 3]}, next to each other and playing in step: `Page`."""
  with tempfile.TemporaryDirectory() as folder:
    figures, path = [], epath.Path(folder) / 'page.html'
    for number, (label, clip) in enumerate(clips.items()):
      clip_path = epath.Path(folder) / f'{number}.mp4'
      video.write_mp4(clip_path, clip, fps)
      figures.append(page.figure(clip_path, label))
    body = '<div class="videos">@videos@</div>@controls@'
    parts = {'videos': ''.join(figures)}
    page.write_page(path, title, body, parts, 'video { image-rendering: pixelated; }')
    return Page(path.read_text(encoding='utf-8'))


def compare(several):
  """Compares several `Edit` of a clip, their measures and what their requests differ in: `Page`."""
  differing, rows = sweep.differing([one.config for one in several]), []
  with tempfile.TemporaryDirectory() as folder:
    for number, one in enumerate(several):
      sweep.write_clips(epath.Path(folder), number, 0, one.clips, one.fps, one.config)
      values = {field: values[number] for field, values in differing.items()}
      rows.append({'setting': number, 'pass': 0, **values, **one.measures})
    sweep.write_sweep(folder, 'Comparison', rows, list(differing), {})
    return Page((epath.Path(folder) / 'index.html').read_text(encoding='utf-8'))
