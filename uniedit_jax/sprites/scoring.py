"""Edits whose right answer can be rendered: how they are made, judged from pixels alone, and summed
up.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from uniedit_jax.media.video import Clip
from uniedit_jax.method.injection import Injections
from uniedit_jax.method.sampling import Network, Sampler
from uniedit_jax.metrics import pixel
from uniedit_jax.metrics.measures import edits_of
from uniedit_jax.pipeline.check import check_edit
from uniedit_jax.pipeline.checked_edit import plan_settings
from uniedit_jax.pipeline.edit import make_one, prepare
from uniedit_jax.pipeline.model import (
  decode_clip,
  encode_clip,
  encode_prompts,
  latent_shape,
  unet_apply,
)
from uniedit_jax.pipeline.request import EditRequest
from uniedit_jax.sprites import reader, sampling
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, random_scene

# The seeds of the two sets of edits. Presets are tuned on 'validation' only.
SPLITS = {'benchmark': 1_000_003, 'validation': 2_000_003}
GROUPS = {'trained': False, 'held out': True}  # of captions: whether the combination is held out
# of exact targets, and of unedited sources, as they are read
LEAST_CHANGED, MOST_CHANGED = 0.99, 0.05


def task_of(kind):
  """The task of a kind of edit: 'motion' or 'appearance'."""
  return 'motion' if kind == 'motion' else 'appearance'


def parts(injections):
  """The names of the injections that are on, in the order of `Injections`."""
  return [
    field.name for field in dataclasses.fields(injections) if getattr(injections, field.name).on
  ]


def methods_of(injections):
  """The settings that an edit is made with: the paper's component table.

  They are 'inversion' (nothing is injected), 'structure' and 'content' alone, 'content + motion',
  and 'all'. What is off, or equals 'all', is left out. So is motion injection alone: main and
  motion reference then start from the same latents with the same prompt, and main reads what it
  has.

  Args:
    injections: `Injections`.

  Returns:
    dict {method: `Injections`}; 'all' comes last.
  """
  table = {
    'inversion': [],
    'structure': ['structure'],
    'content': ['content'],
    'content + motion': ['content', 'motion'],
  }
  on = parts(injections)
  chosen = {method: names for method, names in table.items() if set(names) < set(on)}
  pick = lambda names: Injections(**{name: getattr(injections, name) for name in names})
  return {method: pick(names) for method, names in chosen.items()} | {'all': injections}


class ScoringTask(NamedTuple):
  """How the edits of one task are made, all methods in one sampling.

  Attributes:
    request: `EditRequest`; source, prompts and masks are those of each edit.
    captioned: whether inversion and reconstruction have the source's caption as prompt, or else the
      null prompt.
    methods: {method: `Injections`} (`methods_of`); empty for those of the request.
    phases: `EditPlan.phases` of its edits.
  """

  request: EditRequest
  captioned: bool = True
  methods: Mapping[str, Injections] = types.MappingProxyType({})
  phases: Sequence[dict] = ()

  def check(self, edit, frames, changes=()):
    """The `CheckedEdit` of a `scenes.Edit`, with one setting a method.

    Args:
      edit: `scenes.Edit`.
      frames: u8[F, H, W, 3], its source.
      changes: {dotted field: value} of the request that only this edit has.

    Raises:
      FaultsError: lists all faults.
    """
    source, target = edit.source.caption if self.captioned else '', edit.target.caption
    fields = {'video': frames, 'source_prompt': source, 'target_prompt': target}
    fields['inversion.prompt'] = source
    checked = check_edit(self.request.replace(fields | dict(changes)))
    settings = tuple(self.methods.values()) or checked.settings
    return plan_settings(checked, (target,) * len(settings), settings)


def make_clips(model, task, edit, target, log, changes=()):
  """Makes an edit with every method.

  Args:
    model: `checkpoint.Model`.
    task: `ScoringTask` of the edit's kind.
    edit: `scenes.Edit`.
    target: u8[F, H, W, 3], the exact clip.
    log: `RunLog`.
    changes: as in `ScoringTask.check`.

  Returns:
    (dict {name: u8[F, H, W, 3]} of 'vae floor' (the exact target, encoded and decoded),
    'reconstruction', and every method; `PreparedClip`; masks bool[F, H, W] by side).
  """
  frames = render(edit.source, model.config.height, model.config.frames).frames
  checked = task.check(edit, frames, changes)
  (prepared,) = prepare(model, [checked], [Clip(frames, model.config.fps)], log)
  # What nobody looks at here is not decoded.
  made = make_one(model, checked, prepared._replace(round_trip=None, free=None), log)
  floor = encode_clip(model, target, checked.dtype)
  clips = {'vae floor': decode_clip(model, floor, checked.dtype)}
  clips['reconstruction'] = made.clips['reconstruction']
  clips |= zip(task.methods, map(made.clips.get, edits_of(made.clips)), strict=True)
  return clips, prepared, made.masks


def judge(edit, source, target, clips):
  """Judges the clips of an edit from their pixels.

  A clip is compared with the edit's target; the reconstruction, in which nothing is edited, with
  its source.

  Args:
    edit: `scenes.Edit`.
    source, target: `render.Rendering` of its scenes.
    clips: dict {method: u8[F, H, W, 3]}.

  Returns:
    list of one dict a method: 'kind', 'source', 'target' (captions), 'method', 'changed' (whether
    the edit's attribute is right), 'success' (whether all are), '<attribute>_right' of all seven,
    'background_psnr' (dB; outside of both scenes' objects), 'psnr' (dB), 'ssim', 'frame_difference'
    and 'exact_frame_difference' (of the clip that it is compared with).
  """
  background = ~_grown(source.masks | target.masks)
  rows = []
  for method, frames in clips.items():
    scene, exact = (edit.source, source) if method == 'reconstruction' else (edit.target, target)
    right = _right(frames, scene)
    measures = {
      'background_psnr': pixel.psnr(frames, exact.frames, mask=background),
      'psnr': pixel.psnr(frames, exact.frames),
      'ssim': pixel.ssim(frames, exact.frames),
      'frame_difference': pixel.frame_difference(frames),
      'exact_frame_difference': pixel.frame_difference(exact.frames),
    }
    row = {'kind': edit.kind, 'source': edit.source.caption, 'target': edit.target.caption}
    row |= {'method': method, 'changed': right[edit.attribute], 'success': all(right.values())}
    row |= {f'{attribute}_right': value for attribute, value in right.items()}
    rows.append(row | {measure: round(value, 4) for measure, value in measures.items()})
  return rows


def _right(frames, scene):
  """{attribute: whether the clip is read as the scene has it}."""
  matches = reader.read(frames).matches(scene)
  return {attribute: bool(matches[attribute]) for attribute in ATTRIBUTES}


def _grown(masks):
  """The masks bool[F, H, W], one pixel wider in every direction: the soft edge of an object belongs
  to it.
  """
  padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
  return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).any(axis=(-2, -1))


def check_reader(edits, size, frames, progress=iter):
  """Checks on exact clips that the judge can be trusted.

  Args:
    edits: list of `scenes.Edit`.
    size: height and width in pixels.
    frames: number of frames F.
    progress: wraps an iterable.

  Returns:
    dict of the shares of exact targets and of unedited sources that are read as changed.

  Raises:
    RuntimeError: less than `LEAST_CHANGED` of the targets, or more than `MOST_CHANGED` of the
      sources.
  """
  read = lambda scene, edit: _right(render(scene, size, frames).frames, edit.target)[edit.attribute]
  changed = [(read(edit.target, edit), read(edit.source, edit)) for edit in progress(edits)]
  targets, sources = (float(share) for share in np.mean(changed, axis=0))
  if targets < LEAST_CHANGED or sources > MOST_CHANGED:
    raise RuntimeError(
      f'the reader cannot be trusted to judge these {len(edits)} edits: it reads {targets:.1%} of '
      f'the exact targets as changed (accepted: at least {LEAST_CHANGED:.0%}) and {sources:.1%} of '
      f'the unedited sources (accepted: at most {MOST_CHANGED:.0%})'
    )
  return {'exact_targets_changed': targets, 'unedited_sources_changed': sources}


class TextToVideo(NamedTuple):
  """How clips of captions are sampled.

  Attributes:
    clips: of each group; 0 leaves them out.
    batch: clips made at once.
    steps: number of denoising steps S.
    guidance: scale of classifier-free guidance.
  """

  clips: int
  batch: int
  steps: int
  guidance: float


def read_text_to_video(model, split, group, numbers, *, seed, options, dtype):
  """Samples clips of random captions and reads them.

  Args:
    model: `checkpoint.Model`.
    split: a key of `SPLITS`.
    group: a key of `GROUPS`.
    numbers: of P of the group's captions; caption and noise depend on the number alone.
    seed: of the noise.
    options: `TextToVideo`.
    dtype: compute dtype.

  Returns:
    list of P dicts {attribute: whether it is read as the caption has it}.
  """
  # The seed of the split alone would draw the scenes of the edits.
  draw = lambda *seeds: np.random.default_rng([*seeds, 1 + list(GROUPS).index(group)])
  scenes = [random_scene(draw(SPLITS[split], number), GROUPS[group]) for number in numbers]
  config = model.config
  shape = latent_shape(config, config.frames, config.height, config.width)
  noise = np.stack([draw(seed, number).standard_normal(shape, np.float32) for number in numbers])
  texts = encode_prompts(model, ['', *(scene.caption for scene in scenes)], dtype)
  latents = sampling.sample_prompts(
    Network(unet_apply(config, dtype), model.params['unet']),
    noise,
    texts[1:],
    texts[0],
    Sampler(config.schedule, options.steps, options.guidance),
  )
  clips = [decode_clip(model, clip, dtype) for clip in latents]
  return [_right(clip, scene) for clip, scene in zip(clips, scenes, strict=True)]
