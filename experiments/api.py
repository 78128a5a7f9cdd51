"""The edit from Python, a step at a time: load, invert, edit, show, compare.

  config = sprites_motion.get_config()
  model = api.load(config)
  source = api.invert(model, config)
  edited = api.edit(source)                                # as the config says
  other = api.edit(source, {'structure.steps': (0, 10)})   # the inversion and compiled programs are
  reused edited.frames                                            # u8[F, H, W, 3]
  api.compare([edited, other])                             # a page

A notebook shows edits and pages at the end of a cell.
"""

import html
import tempfile
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from etils import epath

from experiments import progress, stages
from experiments.requests import baseline
from experiments.requests.edit import Request, read_edit, resolve
from experiments.requests.sweep import read_sweep, source_of
from uniedit_jax.media import video
from uniedit_jax.pipeline.model import encode_prompts, resolve_dtype
from uniedit_jax.reports import sweep
from uniedit_jax.reports.page import figure, write_page
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.run_log import RunLog

HEIGHT = 640  # of a page inside of a notebook, pixels


class Page(NamedTuple):
  """A page of videos that play in step; a notebook shows it.

  Attributes:
    html: str, self-contained.
  """

  html: str

  def _repr_html_(self):
    # A frame of its own, so that pages of several cells do not meet.
    return f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'


class Source(NamedTuple):
  """An inverted clip, ready to be edited; made by `invert`.

  Attributes:
    config, request: the edit that it was inverted for.
    model: `checkpoint.Model`.
    inverted: `stages.Source`.
    log: `run_log.RunLog`.
  """

  config: ml_collections.ConfigDict
  request: Request
  model: checkpoint.Model
  inverted: stages.Source
  log: RunLog

  @property
  def frames(self):
    """u8[F, H, W, 3], the clip; None where it is still to be generated."""
    return self.inverted.clips.get('source')


class Edit(NamedTuple):
  """An edited clip; made by `edit`.

  Attributes:
    clips: dict of u8[F, H, W, 3]: 'source', 'reconstruction', 'motion_reference' and 'edit', as far
      as they are made.
    measures: dict of numbers, as in metrics.json.
    config: dict, the whole config with nothing left to presets.
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


def load(config):
  """Loads the checkpoint of a config: `checkpoint.Model`."""
  return stages.load(config, resolve_dtype(config.dtype), RunLog())


def invert(model, config):
  """Inverts the clip of a config, or finds the inversion in the cache.

  Args:
    model: `load(config)`.
    config: ConfigDict of an edit, e.g. `configs.motion.get_config()`.

  Returns:
    `Source`.

  Raises:
    ValueError: lists all faults of the config.
  """
  baseline.refuse(config)
  request = read_edit(config)
  log = RunLog(request.warnings, progress.announce)
  with stages.compiling(request, model, log):
    return Source(config, request, model, stages.prepare(config, request, model, log), log)


def edit(source, changes=None):
  """Edits a clip.

  Args:
    source: `Source`.
    changes: dict {dotted field: value} of what differs from the config that the clip was inverted
      for. Changes that need another inversion make or find it.

  Returns:
    `Edit`.

  Raises:
    ValueError: lists all faults.
  """
  return next(_edits(source, [changes or {}]))


def edits(source, settings):
  """Edits a clip with several settings, side by side as far as memory allows.

  An interrupt (Ctrl-C, the stop button of a notebook) ends this and keeps what is finished.

  Args:
    source: `Source`.
    settings: list of dicts, the `changes` of `edit`.

  Returns:
    list of `Edit`, pass by pass in the order of the settings; fewer after an interrupt.

  Raises:
    ValueError: lists all faults.
  """
  made = []
  try:
    for one in _edits(source, settings):
      made.append(one)
  except KeyboardInterrupt:
    progress.announce(f'interrupted: {len(made)} of {len(settings)} settings are finished')
  return made


def _edits(source, settings):
  passes, loaded = (
    read_sweep(source.config, settings),
    (source.config.checkpoint, source.request.dtype),
  )
  key = source_of(source.request, resolve(source.config, source.request))
  for one in passes:
    if (needed := (one.config.checkpoint, one.request.dtype)) != loaded:
      raise ValueError(f'checkpoint, dtype are {needed}; accepted: {loaded}, which are loaded')
    if source_of(one.request, next(iter(one.resolved.values()))) == key:
      texts = encode_prompts(source.model, one.request.prompts, one.request.dtype)
      inverted = source.inverted._replace(texts=source.inverted.inversion.all_texts(texts))
    else:
      inverted = stages.prepare(one.config, one.request, source.model, source.log)
    for setting, clips, measures in stages.make_settings(one, source.model, inverted, source.log):
      yield Edit(clips, measures, one.resolved[setting], inverted.fps)


def show(clips, fps=8, title='Clips'):
  """Clips beside each other, playing in step.

  Args:
    clips: dict {label: u8[F, H, W, 3]}.
    fps: frame rate.
    title: str.

  Returns:
    `Page`.
  """
  with tempfile.TemporaryDirectory() as folder:
    figures, page = [], epath.Path(folder) / 'page.html'
    for number, (label, clip) in enumerate(clips.items()):
      path = epath.Path(folder) / f'{number}.mp4'
      video.write_mp4(path, clip, fps)
      figures.append(figure(path, label))
    body = '<div class="videos">@videos@</div>@controls@'
    write_page(
      page, title, body, {'videos': ''.join(figures)}, 'video { image-rendering: pixelated; }'
    )
    return Page(page.read_text(encoding='utf-8'))


def compare(several):
  """Edits of a clip with their measures, and what their configs differ in.

  Args:
    several: list of `Edit`.

  Returns:
    `Page`.
  """
  differing, rows = sweep.differing([one.config for one in several]), []
  with tempfile.TemporaryDirectory() as folder:
    for number, one in enumerate(several):
      sweep.write_clips(epath.Path(folder), number, 0, one.clips, one.fps, one.config)
      rows.append(
        {
          'setting': number,
          'pass': 0,
          **{field: values[number] for field, values in differing.items()},
          **one.measures,
        }
      )
    sweep.write_sweep(folder, 'Comparison', rows, list(differing), {})
    return Page((epath.Path(folder) / 'index.html').read_text(encoding='utf-8'))
