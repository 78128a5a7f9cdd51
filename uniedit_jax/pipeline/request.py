"""`EditRequest`: all that an edit depends on, typed; its fields are those of `configs/common.py`.

None is a default of the checkpoint, of the preset or of the task; `check.check_edit` resolves it.
"""

import dataclasses
import hashlib
import os
from typing import Any

import numpy as np

from uniedit_jax.media.camera import CameraMove
from uniedit_jax.method.injection import INJECTION_NAMES
from uniedit_jax.pipeline.invert import InversionOptions
from uniedit_jax.runtime import fields

QUICK_STEPS = 5
AUTO = 'auto'  # instead of a mask
ASPECT_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class ClipOptions:
  """Which frames are taken from the source, and their size.

  Attributes:
    frames, height, width: number and size in pixels; None: the checkpoint's.
    start, stride: first frame, and distance of the frames in the source.
    fit: 'stretch' to the size, or 'crop' the middle of the frame; None: 'crop' where the aspect
      ratios differ by more than `ASPECT_TOLERANCE`, but 'stretch' with the preset release.
    fps: frames per second of the source; None: what a video says, 8 for a folder of frames, the
      checkpoint's otherwise.
    damaged: 'refuse' or 'keep' videos some of whose frames cannot be decoded fully.
  """

  frames: int | None = None
  height: int | None = None
  width: int | None = None
  start: int = 0
  stride: int = 1
  fit: str | None = None
  fps: int | float | None = None
  damaged: str = 'refuse'

  @property
  def size(self):
    """(frames, height, width)."""
    return self.frames, self.height, self.width


@dataclasses.dataclass(frozen=True)
class WindowOptions:
  """The windows that the UNet sees of a clip with more frames than it was trained on.

  Attributes:
    frames: of a window; None: the checkpoint's.
    overlap: frames that neighbouring windows share; None: half of a window.
  """

  frames: int | None = None
  overlap: int | None = None


@dataclasses.dataclass(frozen=True)
class ScheduleOptions:
  """Fields of `NoiseSchedule` that differ from the checkpoint's."""

  beta_schedule: str | None = None
  beta_start: float | None = None
  beta_end: float | None = None


@dataclasses.dataclass(frozen=True)
class MaskOptions:
  """The foreground of source and edit.

  Attributes:
    source, target: a folder, npz, npy or mask video; bool[F, H, W]; 'auto': cross-attention; ''.
    labels: the values of label masks that are foreground; (): all above 0.
    source_prompt: auto: what the source shows; '' is the source prompt.
    source_words, target_words: auto: the words looked for; (): those the other prompt lacks.
    blocks, threshold, smoothing: auto: fields of `found_masks.MapOptions`.
  """

  source: Any = ''
  target: Any = ''
  labels: tuple[int, ...] = ()
  source_prompt: str = ''
  source_words: tuple[str, ...] = ()
  target_words: tuple[str, ...] = ()
  blocks: tuple[int, ...] | None = None
  threshold: float = 0.4
  smoothing: float = 0.5

  @property
  def given(self):
    """Whether there are masks."""
    return is_given(self.source)


@dataclasses.dataclass(frozen=True)
class Ranges:
  """Half-open ranges of steps and blocks of an injection; None: the preset's, (0, 0) is off."""

  steps: tuple[int, int] | None = None
  blocks: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class StructureRanges(Ranges):
  """Structure control; `branches`: whose layout is kept, ('main',) or ('main', 'motion')."""

  branches: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ContentRanges(Ranges):
  """Content preservation; `tensors`: what is injected, ('v',) or ('k', 'v').

  `reference` is the frame that is read, its 'own' or the 'first'.
  """

  tensors: tuple[str, ...] | None = None
  reference: str | None = None


@dataclasses.dataclass(frozen=True)
class MotionRanges(Ranges):
  """Motion injection; `masked`: inside of the target mask only."""

  masked: bool | None = None


@dataclasses.dataclass(frozen=True)
class InspectOptions:
  """Pictures of attention and predicted clips at some steps and blocks; no steps is off."""

  steps: tuple[int, ...] = ()
  blocks: tuple[int, ...] = (10, 13)


@dataclasses.dataclass(frozen=True)
class MetricsOptions:
  """CLIP's measures: a folder of `convert.clip` or its hub id ('' is none), and a prompt for them.

  `source_prompt` is what the source shows, where nothing but measures may know it.
  """

  clip: str = ''
  source_prompt: str = ''


@dataclasses.dataclass(frozen=True)
class OutputOptions:
  """Which branches become clips, and which other forms of the edit are written."""

  reconstruction: bool = True
  motion_reference: bool = True
  plain: bool = False
  gif: bool = True
  frames: bool = True


@dataclasses.dataclass(frozen=True)
class EditRequest:
  """An edit of one clip; sections have their own classes.

  Attributes:
    checkpoint: a folder made by a converter, the hub id of one, or the name of a shipped model.
    dtype: 'auto', 'float32', 'bfloat16' or 'float16'.
    seed: of every random number.
    cache: folder of compiled programs and inversions.
    quick: few steps, and few small frames of a large model, to try a run.
    steps: denoising steps S, of inversion too.
    guidance: scale of classifier-free guidance; None: the checkpoint's.
    method: 'injections', or a comparison method with its options in `baseline`.
    task: 'motion' or 'appearance'.
    preset: 'paper' or 'release', the ranges that are not set.
    video: a path or URL of a video or folder of frames, u8[F, H, W, 3], or a list of PIL images.
    image, move: instead of a video: a still's path, and the camera move that films it.
    generated: instead of a video: the clip that source prompt and seed generate.
    source_prompt: what the source shows; '' is the null prompt.
    target_prompt, more_target_prompts: what the edited clips show.
    structure, content, motion, motion_query, background, guided: ranges of the injections.
    plan: 'exact' computes each distinct row once, 'naive' all rows of every step.
    rows_per_pass: most rows at once.
  """

  checkpoint: str = ''
  dtype: str = 'auto'
  seed: int = 0
  cache: str = '~/.cache/uniedit_jax'
  clip: ClipOptions = ClipOptions()
  window: WindowOptions = WindowOptions()
  quick: bool = False
  steps: int = 50
  guidance: float | None = None
  schedule: ScheduleOptions = ScheduleOptions()
  method: str = 'injections'
  task: str = 'motion'
  preset: str = 'paper'
  video: Any = ''
  image: str = ''
  move: CameraMove = CameraMove()
  generated: bool = False
  source_prompt: str = ''
  target_prompt: str = ''
  more_target_prompts: tuple[str, ...] = ()
  inversion: InversionOptions = InversionOptions()
  mask: MaskOptions = MaskOptions()
  structure: StructureRanges = StructureRanges()
  content: ContentRanges = ContentRanges()
  motion: MotionRanges = MotionRanges()
  motion_query: Ranges = Ranges()
  background: Ranges = Ranges()
  guided: Ranges = Ranges()
  inspect: InspectOptions = InspectOptions()
  metrics: MetricsOptions = MetricsOptions()
  plan: str = 'exact'
  rows_per_pass: int | None = None
  outputs: OutputOptions = OutputOptions()
  baseline: dict | None = None

  @property
  def shortened(self):
    """The request with the steps and ranges of a quick run, where it is one."""
    if not self.quick or self.steps <= QUICK_STEPS:
      return self
    changes = {'steps': QUICK_STEPS}
    for name in INJECTION_NAMES:
      if bounds := getattr(self, name).steps:
        scaled = tuple(round(bound * QUICK_STEPS / self.steps) for bound in bounds)
        changes[f'{name}.steps'] = scaled
    return self.replace(changes)

  @property
  def targets(self):
    """All target prompts."""
    return self.target_prompt, *self.more_target_prompts

  def replace(self, changes):
    """The request with changes {dotted field: value}; raises FaultsError as `fields.replace`."""
    return fields.replace(self, changes)

  def as_tree(self):
    """The request as a nested dict of what JSON can hold; arrays by shape and digest."""
    tree = dataclasses.asdict(self)
    tree['video'] = _shown(self.video)
    tree['mask'] |= {side: _shown(getattr(self.mask, side)) for side in ('source', 'target')}
    if self.baseline is None:
      del tree['baseline']
    return tree


def is_given(value):
  """Whether a source or mask is given at all."""
  return is_array(value) or value != ''


def is_auto(mask):
  """Whether a mask is to be found from cross-attention."""
  return not is_array(mask) and mask == AUTO


def is_array(value):
  """Whether a source or mask is given as frames instead of a path."""
  return not isinstance(value, str | os.PathLike)


def _shown(value):
  if not is_array(value):
    return str(value)
  array = np.stack([np.asarray(frame) for frame in value])
  digest = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16]
  return f'{array.dtype}{list(array.shape)} {digest}'
