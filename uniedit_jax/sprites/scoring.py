"""Edits whose right answer can be rendered: how they are made, judged from pixels alone, and summed
up.
"""

import dataclasses
import functools

import numpy as np

from uniedit_jax.method import sampling as editing
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.injection import Injections
from uniedit_jax.method.plan import plan_edit
from uniedit_jax.method.token_masks import token_masks
from uniedit_jax.metrics import pixel
from uniedit_jax.pipeline.invert import InversionOptions, invert_clip
from uniedit_jax.pipeline.model import (
  decode_clip,
  encode_clip,
  encode_prompts,
  latent_shape,
  unet_apply,
)
from uniedit_jax.sprites import reader, sampling
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, random_scene

# The seeds of the two sets of edits. Presets are tuned on 'validation' only.
SPLITS = {'benchmark': 1_000_003, 'validation': 2_000_003}
GROUPS = {'trained': False, 'held out': True}  # of captions: whether the combination is held out
# of exact targets, and of unedited sources, as the probe reads them
LEAST_CHANGED, MOST_CHANGED = 0.99, 0.05
NULL, SOURCE, TARGET = range(3)  # the texts of an edit


def task_of(kind):
  """The task of a kind of edit: 'motion' or 'appearance'."""
  return 'motion' if kind == 'motion' else 'appearance'


def parts(injections):
  """The names of the injections that are on, in the order of `Injections`."""
  return [
    field.name for field in dataclasses.fields(injections) if getattr(injections, field.name).on
  ]


def methods(injections):
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
  return {**{method: pick(names) for method, names in chosen.items()}, 'all': injections}


@dataclasses.dataclass(frozen=True)
class Task:
  """How the edits of one task are made, all methods in one sampling.

  Attributes:
    name: 'motion' or 'appearance'.
    settings: {method: `Injections`} (`methods`).
    steps: number of denoising steps S.
    guidance: scale of classifier-free guidance.
    schedule: `NoiseSchedule`.
    inversion: `InversionOptions`; its prompt is not read.
    captioned: whether inversion and reconstruction have the source's caption as prompt, or else the
      null prompt.
    blocks: number of attention blocks L.
    masked: whether masks are given.
    wanted: kinds of branches that become clips.
  """

  name: str
  settings: dict[str, Injections]
  steps: int
  guidance: float
  schedule: NoiseSchedule
  inversion: InversionOptions
  captioned: bool
  blocks: int
  masked: bool = False
  wanted: tuple[str, ...] = ('main', 'reconstruction')

  @property
  def full(self):
    """The task with no other setting than 'all'."""
    return dataclasses.replace(self, settings={'all': self.settings['all']})

  @functools.cached_property
  def layout(self):
    """`EditPlan` of one setting a method and the texts `NULL`, `SOURCE`, `TARGET`; raises what
    `plan_edit` does.
    """
    return plan_edit(
      *(self.name, list(self.settings.values()), self.steps),
      source=SOURCE if self.captioned else NULL,
      targets=[TARGET] * len(self.settings),
      uncond=self.inversion.uncond(TARGET + 1, self.steps),
      wanted=self.wanted,
      stored=self.inversion.stored(self.steps),
      masked=self.masked,
      blocks=self.blocks,
    )


def invert(model, task, edit, latents, dtype, cache):
  """Inverts an edit's source.

  Args:
    model: `checkpoint.Model`.
    task: `Task` of the edit's kind.
    edit: `scenes.Edit`.
    latents: f[F, H, W, C], the encoded source.
    dtype: compute dtype.
    cache: path of the folder of inversions.

  Returns:
    (texts f32[P, T, E] that the layout of the task numbers, `invert.Inversion`).
  """
  prompts = ['', edit.source.caption, edit.target.caption]
  texts = encode_prompts(model, prompts, dtype)
  source_prompt = prompts[SOURCE if task.captioned else NULL]
  inverted, _ = invert_clip(
    *(
      model,
      latents,
      dict(zip(prompts, texts, strict=True)),
      source_prompt,
      task.schedule,
      task.steps,
    ),
    *(
      dataclasses.replace(task.inversion, prompt=source_prompt),
      task.guidance,
      dtype,
      cache,
      lambda _: iter,
    ),
  )
  return inverted.all_texts(texts), inverted


def make_clips(model, task, texts, inverted, target, dtype, masks=None):
  """Makes an edit with every method.

  Args:
    model, task, dtype: as in `invert`, which may have had the same task without masks.
    texts, inverted: what `invert` returned.
    target: u8[F, H, W, 3], the exact clip.
    masks: dict {'source' and perhaps 'target': bool[F, H, W]} where the task is masked.

  Returns:
    dict {name: u8[F, H, W, 3]} of 'vae floor' (the exact target, encoded and decoded),
    'reconstruction', and every method.
  """
  grids = model.config.unet.grids(*inverted.trajectory.shape[2:4])
  guided = any(injections.guided.on for injections in task.settings.values())
  sampled = editing.edit(
    *(
      unet_apply(model.config, dtype),
      model.params['unet'],
      inverted.trajectory[-1],
      texts,
      task.layout,
    ),
    *(task.schedule, task.guidance),
    trajectory=inverted.trajectory,
    sampler=task.inversion.sampler,
    masks=token_masks(masks, grids, guided),
  )
  named = list(task.settings)
  latents = {'vae floor': encode_clip(model, target, dtype)} | {
    named[branch.setting] if branch.kind == 'main' else branch.kind: latents
    for branch, latents in sampled.items()
  }
  return {name: decode_clip(model, x, dtype) for name, x in latents.items()}


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
    rows.append(
      {
        **{
          'kind': edit.kind,
          'source': edit.source.caption,
          'target': edit.target.caption,
          'method': method,
        },
        **{'changed': right[edit.attribute], 'success': all(right.values())},
        **{f'{attribute}_right': value for attribute, value in right.items()},
        **{measure: round(value, 4) for measure, value in measures.items()},
      }
    )
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


def check_probe(edits, size, frames, progress=iter):
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
      f'the probe cannot be trusted to judge these {len(edits)} edits: it reads {targets:.1%} of the exact targets as '
      f'changed (accepted: at least {LEAST_CHANGED:.0%}) and {sources:.1%} of the unedited sources (accepted: at most '
      f'{MOST_CHANGED:.0%})'
    )
  return {'exact_targets_changed': targets, 'unedited_sources_changed': sources}


def read_text_to_video(model, split, group, numbers, *, seed, steps, guidance, dtype):
  """Samples clips of random captions and reads them.

  Args:
    model: `checkpoint.Model`.
    split: a key of `SPLITS`.
    group: a key of `GROUPS`.
    numbers: which of the group's captions, P of them; caption and noise depend on the number alone.
    seed: of the noise.
    steps: number of denoising steps S.
    guidance: scale of classifier-free guidance.
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
    *(unet_apply(config, dtype), model.params['unet'], noise, texts[1:], texts[0]),
    *(config.schedule, steps, guidance),
  )
  clips = [decode_clip(model, clip, dtype) for clip in latents]
  return [_right(clip, scene) for clip, scene in zip(clips, scenes, strict=True)]
