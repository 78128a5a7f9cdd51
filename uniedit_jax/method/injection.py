"""From intent to routes: which branch every q, k and v is read from, at every step and block.

An `Injections` says what UniEdit should inject, as half-open ranges of steps and attention blocks
(method section of the paper; `paper` and `release` presets below). `compose` turns it into routes
over *branches*: plain numpy arrays [S, L, K]. `rows.py` maps them to the rows that are really
computed.

The polarity of masks is decided here and nowhere else: 1 = foreground = "inside".
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from uniedit_jax.method.overrides import AttentionOverride, Source

SLOTS = ('spatial_q', 'spatial_k', 'spatial_v', 'temporal_q', 'temporal_k', 'temporal_v')
PRESET_STEPS, BLOCKS = 50, 16  # the numbers that the ranges of the presets are written for


class Branch(NamedTuple):
  """One latent that is sampled.

  Attributes:
    kind: 'reconstruction' (re-creates the source), 'main' (the edit), 'motion' (generates the
      target motion) or 'plain' (as main, but nothing is injected).
    setting: index of the `Injections` that it belongs to; settings share the reconstruction.
  """

  kind: Literal['reconstruction', 'main', 'motion', 'plain']
  setting: int = 0


@dataclasses.dataclass(frozen=True)
class Injection:
  """Where something is injected; off by default.

  Attributes:
    steps: half-open range of step indices, 0 = noisiest.
    blocks: half-open range of attention blocks, execution order.
  """

  steps: tuple[int, int] = (0, 0)
  blocks: tuple[int, int] = (0, BLOCKS)

  @property
  def on(self):
    """Whether the ranges hold anything."""
    return self.steps[0] < self.steps[1] and self.blocks[0] < self.blocks[1]


@dataclasses.dataclass(frozen=True)
class StructureControl(Injection):
  """SA-S q, k of `branches` <- reconstruction: keeps the layout."""

  branches: tuple[str, ...] = ('main',)


@dataclasses.dataclass(frozen=True)
class ContentPreservation(Injection):
  """SA-S `tensors` of main <- reconstruction, with masks outside the source mask (paper Eq. 2).

  `reference` is the frame whose keys and values a frame of main then reads: its 'own', or the
  'first' for all.
  """

  tensors: tuple[str, ...] = ('v',)
  reference: str = 'own'


@dataclasses.dataclass(frozen=True)
class MotionInjection(Injection):
  """SA-T q, k of main <- motion; where `masked`, only inside of a target mask."""

  masked: bool = False


@dataclasses.dataclass(frozen=True)
class Injections:
  """All that one edit injects.

  Attributes:
    structure: structure control.
    content: content preservation.
    motion: motion injection.
    motion_query: SA-S q of main <- motion inside the target mask; needs masks.
    background: SA-S v of main <- reconstruction outside the source mask (background enhance); needs
      masks.
    guided: mask-guided attention of main (paper Eq. 5-6); needs masks.
  """

  structure: StructureControl = StructureControl()
  content: ContentPreservation = ContentPreservation()
  motion: MotionInjection = MotionInjection()
  motion_query: Injection = Injection()
  background: Injection = Injection()
  guided: Injection = Injection()

  def faults(self, steps, blocks=BLOCKS):
    """What is wrong with the ranges for a run of `steps` steps, as a list of sentences."""
    faults = []
    for part in INJECTION_NAMES:
      injection = getattr(self, part)
      for name, limit in (('steps', steps), ('blocks', blocks)):
        value = getattr(injection, name)
        if name == 'blocks' and injection.steps == (0, 0):
          continue  # off
        if len(value) != 2 or not 0 <= value[0] <= value[1] <= limit:
          faults.append(
            f'{part}.{name} is {value}; accepted: (start, stop) with 0 <= start <= '
            f'stop <= {limit}, the number of {name} of this run'
          )
    for name, given, accepted in (
      ('structure.branches', self.structure.branches, ('main', 'motion')),
      ('content.tensors', self.content.tensors, ('k', 'v')),
    ):
      if not given or isinstance(given, str) or not set(given) <= set(accepted):
        faults.append(f'{name} is {given!r}; accepted: a tuple of {accepted}')
    if self.content.reference not in ('own', 'first'):
      faults.append(f"content.reference is {self.content.reference!r}; accepted: 'own', 'first'")
    elif self.content.reference == 'first' and set(self.content.tensors) != {'k', 'v'}:
      faults.append(
        f"content.tensors is {self.content.tensors!r} with content.reference='first'; accepted: "
        "('k', 'v'), as values of another frame than the keys belong to no token"
      )
    return faults


INJECTION_NAMES = tuple(field.name for field in dataclasses.fields(Injections))


def preset(name, task, masked, steps=PRESET_STEPS, blocks=BLOCKS):
  """The ranges of the paper or of its release, rescaled.

  Args:
    name: 'paper' (what the equations say) or 'release' (what the released code does).
    task: 'motion' or 'appearance'.
    masked: whether masks are given.
    steps: number of denoising steps; a bound b becomes round(b steps / 50).
    blocks: number of attention blocks; a bound b becomes round(b blocks / 16).

  Raises:
    ValueError: an unknown name or task.
  """
  always, early = (0, PRESET_STEPS), (0, 25)
  decoder = (10, BLOCKS)
  if (name, task) == ('paper', 'motion'):
    chosen = Injections(
      structure=StructureControl(early, branches=('main', 'motion')),
      content=ContentPreservation(always, decoder, tensors=('v',)),
      motion=MotionInjection(always, masked=True),
      motion_query=Injection(always if masked else (0, 0), decoder),
      guided=Injection(always if masked else (0, 0)),
    )
  elif (name, task) == ('release', 'motion'):
    chosen = Injections(
      structure=StructureControl((0, 15), branches=('main', 'motion')),
      content=ContentPreservation((4, PRESET_STEPS), decoder, tensors=('k', 'v')),
      motion=MotionInjection(always),
      motion_query=Injection((4, PRESET_STEPS) if masked else (0, 0), decoder),
    )
  elif (name, task) == ('paper', 'appearance'):
    chosen = Injections(
      structure=StructureControl(early), guided=Injection(always if masked else (0, 0))
    )
  elif (name, task) == ('release', 'appearance'):
    chosen = Injections(
      structure=StructureControl(early if masked else (0, 20)),
      background=Injection(early if masked else (0, 0)),
    )
  else:
    raise ValueError(
      f"preset is {name!r} for task {task!r}; accepted: 'paper' or 'release' for 'motion' or "
      "'appearance'"
    )
  scale = lambda bounds, new, old: tuple(round(bound * new / old) for bound in bounds)
  rescaled = {}
  for part in INJECTION_NAMES:
    injection = getattr(chosen, part)
    ranges = scale(injection.steps, steps, PRESET_STEPS), scale(injection.blocks, blocks, BLOCKS)
    rescaled[part] = dataclasses.replace(injection, steps=ranges[0], blocks=ranges[1])
  return Injections(**rescaled)


class Copy(NamedTuple):
  """`reader.slot <- source.slot` of the tokens `where`, in a range of steps and blocks."""

  slot: str
  reader: str
  source: str
  where: Literal['everywhere', 'inside', 'outside']
  injection: Injection


def copies(injections: Injections, masked: bool) -> Iterator[Copy]:
  """The assignments of an edit, in the order in which they are made.

  Structure control comes first: what follows reads tensors that it has already replaced.
  """
  outside, inside = ('outside', 'inside') if masked else ('everywhere', 'everywhere')
  structure, content, motion = injections.structure, injections.content, injections.motion
  for reader in structure.branches:
    yield Copy('spatial_q', reader, 'reconstruction', 'everywhere', structure)
    yield Copy('spatial_k', reader, 'reconstruction', 'everywhere', structure)
  for tensor in content.tensors:
    yield Copy(f'spatial_{tensor}', 'main', 'reconstruction', outside, content)
  yield Copy('spatial_v', 'main', 'reconstruction', outside, injections.background)
  yield Copy('spatial_q', 'main', 'motion', inside, injections.motion_query)
  for tensor in ('q', 'k'):
    yield Copy(
      f'temporal_{tensor}', 'main', 'motion', inside if motion.masked else 'everywhere', motion
    )


def compose(
  branches: Sequence[Branch], settings: Sequence[Injections], steps, blocks=BLOCKS, masked=False
):
  """Composes the injections of all settings into routes over branches.

  Args:
    branches: the K branches.
    settings: the `Injections` that `Branch.setting` points to.
    steps: number of denoising steps S.
    blocks: number of attention blocks L.
    masked: whether masks are given; `inside` and `outside` are equal where they are not.

  Returns:
    `AttentionOverride` of i32[S, L, K] (guided, first_frame: bool[S, L, K]): entry k is the branch
    that branch k reads. first_frame is None where no setting asks for it.

  Raises:
    ValueError: a range that does not fit, an injection that needs a mask or a branch that is not
      there.
  """
  if faults := [fault for setting in settings for fault in setting.faults(steps, blocks)]:
    raise ValueError('; '.join(faults))
  own = np.broadcast_to(np.arange(len(branches), dtype=np.int32), (steps, blocks, len(branches)))
  tables = {(slot, side): own.copy() for slot in SLOTS for side in Source._fields}
  guided, first = np.zeros(own.shape, bool), np.zeros(own.shape, bool)

  for index, injections in enumerate(settings):
    position = {
      b.kind: k for k, b in enumerate(branches) if b.kind == 'reconstruction' or b.setting == index
    }
    if not masked:
      for name in ('motion_query', 'background', 'guided'):
        if getattr(injections, name).on:
          raise ValueError(
            f'{name}.steps is {getattr(injections, name).steps} but there is no mask'
          )
    for copy in copies(injections, masked):
      if not copy.injection.on or copy.reader not in position:
        continue
      if copy.source not in position:
        raise ValueError(
          f'{copy.slot} of {copy.reader} is to be read from {copy.source}, a branch that '
          'is not there'
        )
      window = (slice(*copy.injection.steps), slice(*copy.injection.blocks))
      reader, source = position[copy.reader], position[copy.source]
      # All readers of a slot share its mask, so inside and outside compose independently.
      for side in Source._fields if copy.where == 'everywhere' else (copy.where,):
        table = tables[copy.slot, side]
        table[(*window, reader)] = table[(*window, source)]
    switches = [(guided, injections.guided)]
    if injections.content.reference == 'first':
      switches.append((first, injections.content))
    for table, injection in switches:
      if injection.on:
        table[slice(*injection.steps), slice(*injection.blocks), position['main']] = True
  sources = {slot: Source(tables[slot, 'inside'], tables[slot, 'outside']) for slot in SLOTS}
  return AttentionOverride(**sources, guided=guided, first_frame=first if first.any() else None)
