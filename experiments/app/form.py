"""The values of the page as checked edits, and faults by the place of the page that they name."""

import dataclasses
import re

from configs import sprites_appearance, sprites_motion
from experiments.app import masks
from experiments.requests.edit import request_of
from uniedit_jax.baselines.comparison import read_method
from uniedit_jax.media.frames import is_still
from uniedit_jax.method.injection import INJECTION_NAMES
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline.check import INJECTIONS, check_edit, read_model_config
from uniedit_jax.pipeline.checked_edit import resolve_injections
from uniedit_jax.pipeline.model_defaults import clip_of, of_model
from uniedit_jax.pipeline.request import EditRequest, is_auto
from uniedit_jax.runtime.faults import Faults, FaultsError, shown

RANGES = tuple(f'{name}.{kind}' for name in INJECTION_NAMES for kind in ('steps', 'blocks'))
TENSORS = {'values': ('v',), 'keys and values': ('k', 'v')}
MASKS = ('none', 'found', 'brushed')
# What the page hands over, in the order of its components.
FIELDS = (
  'file', 'generated', 'source_prompt', 'targets', 'task', 'preset', 'steps', 'guidance', 'seeds',
  'start', 'stride', 'fit', 'move', 'amount', *RANGES, 'tensors', 'masks', 'brushed',
)  # fmt: skip
# Given with a config that names no checkpoint, these are kept when the page starts on sprites.
GIVEN = ('source_prompt', 'target_prompt', 'more_target_prompts')
# The place of the page where a fault is shown, by the field or section that the fault names.
PLACES = {
  'source': ('video', 'image', 'generated', 'clip', 'move', 'frames', 'start', 'stride', 'fit'),
  'source_prompt': ('source_prompt', 'inversion', 'metrics'),
  'targets': ('target_prompt', 'more_target_prompts', 'prompt'),
  'task': ('task', 'preset'),
  'steps': ('steps',),
  'guidance': ('guidance',),
  'seeds': ('seed', 'seeds'),
  'masks': ('mask', 'masks'),
  **{name: (name,) for name in INJECTION_NAMES},
  'general': (),
}
SEEDS = 16  # at most, as each is an edit
EDITS = 64  # of one press of the button at most


@dataclasses.dataclass(frozen=True)
class Start:
  """What the page starts with: an `EditRequest` whose sizes are resolved, and its `ModelConfig`."""

  request: EditRequest
  model_config: ModelConfig

  @property
  def blocks(self):
    """The number of attention blocks."""
    return self.model_config.unet.blocks


def read_start(config):
  """Reads the config that the page starts with; one without a checkpoint starts on sprites.

  Raises:
    FaultsError: it is no config of an edit, or its checkpoint cannot be read. What the page can
      mend, such as a missing video, is no fault here.
  """
  request = request_of(config)
  if not request.checkpoint:
    own = {name: getattr(request, name) for name in GIVEN if getattr(request, name)}
    own |= {'video': request.video} if request.video else {}
    own |= {'image': request.image, 'video': ''} if request.image else {}
    shipped = sprites_motion if request.task == 'motion' else sprites_appearance
    request = request_of(shipped.get_config()).replace(own)
  faults = Faults()
  model_config = read_model_config(request.checkpoint, faults)
  faults.stop('the page cannot start')
  clip = clip_of(request, model_config)
  # Nobody looks at single frames here, which take a file each.
  outputs = dataclasses.replace(request.outputs, frames=False)
  request = of_model(request.shortened, model_config)
  request = dataclasses.replace(request, quick=False, clip=clip, outputs=outputs)
  return Start(request, model_config)


def first_values(start):
  """The values of the page before anybody has touched it: {name in `FIELDS`: value}."""
  request, clip = start.request, start.request.clip
  return {
    'file': None,
    'generated': request.generated,
    'source_prompt': request.source_prompt,
    'targets': '\n'.join(filter(None, request.targets)),
    'task': request.task,
    'preset': request.preset,
    'steps': request.steps,
    'guidance': request.guidance,
    'seeds': str(request.seed),
    'start': clip.start,
    'stride': clip.stride,
    'fit': clip.fit,
    'move': request.move.kind,
    'amount': request.move.amount,
    **ranges_of(start, request, request.mask.given),
    'tensors': _tensors(resolve_injections(request, request.mask.given, start.blocks)),
    'masks': 'none' if not request.mask.given else 'found',
    'brushed': '',
  }


def preset_values(start, task, preset, steps, masked):
  """What a preset sets: {name: value} of the ranges and of `tensors`."""
  plain = {name: type(getattr(start.request, name))() for name in INJECTION_NAMES}
  chosen = {'task': task, 'preset': preset, 'steps': int(steps)}
  request = dataclasses.replace(start.request, **plain).replace(chosen)
  injections = resolve_injections(request, masked, start.blocks)
  return ranges_of(start, request, masked) | {'tensors': _tensors(injections)}


def mask_values(start, task, preset, steps, masked):
  """What a preset sets to other values with masks than without: {name: value}, as it is now."""
  now, other = (preset_values(start, task, preset, steps, m) for m in (masked, not masked))
  return {name: value for name, value in now.items() if value != other[name]}


def ranges_of(start, request, masked):
  """The resolved range of every injection: {name in `RANGES`: [start, stop]}; [0, 0] is off."""
  injections, found = resolve_injections(request, masked, start.blocks), {}
  for name in INJECTION_NAMES:
    for kind in ('steps', 'blocks'):
      found[f'{name}.{kind}'] = list(getattr(getattr(injections, name), kind))
  return found


def scaled(values, before, after):
  """The step ranges {name: [start, stop]} of `before` steps, for `after` steps."""
  return {
    name: [round(bound * after / before) for bound in bounds]
    for name, bounds in values.items()
    if name.endswith('.steps')
  }


def read_edits(start, values, readers, folder):
  """The edits that the page asks for: list of `CheckedEdit`, one for each seed and target prompt.

  Args:
    start: `Start`.
    values: {name in `FIELDS`: value}.
    readers: `check.Readers`.
    folder: where brushed masks are kept, epath.Path.

  Raises:
    FaultsError: lists all faults, each once.
  """
  faults = Faults()
  prompts = [line.strip() for line in str(values['targets'] or '').splitlines() if line.strip()]
  # An empty prompt is a fault that the check words.
  prompts, seeds = prompts or [''], faults.attempt(_seeds, values['seeds'])
  changes = faults.attempt(_changes, start, values, folder)
  request = changes and faults.attempt(start.request.replace, changes)
  faults.unless(
    len(set(prompts)) == len(prompts), f'target_prompt is {prompts}; accepted: no twins'
  )
  if request and seeds and len(seeds) > 1 and not request.generated:
    faults.append(
      f'seed is {values["seeds"]!r} for a clip that is given, whose edit depends on no seed; '
      'accepted: one seed, or a generated source'
    )
  jobs = [(seed, prompt) for seed in seeds or [0] for prompt in prompts]
  faults.unless(
    len(jobs) <= EDITS, f'target_prompt and seed make {len(jobs)} edits; accepted: {EDITS}'
  )
  edits = []
  for seed, prompt in jobs[:EDITS] if request else ():
    one = faults.attempt(request.replace, {'seed': seed, 'target_prompt': prompt})
    edits.append(one and faults.attempt(_check, one, readers))
  if faults:
    raise FaultsError(list(dict.fromkeys(faults)))
  return edits


def source_changes(values):
  """{dotted field: value} of what says where the clip comes from and what is taken of it."""
  changes = {
    name: _whole(values[name.removeprefix('clip.')]) for name in ('clip.start', 'clip.stride')
  }
  changes['clip.fit'] = values['fit']
  if values['generated']:
    return changes | {'generated': True, 'video': '', 'image': ''}
  if not values['file']:
    return changes
  path = str(values['file'])
  if not is_still(path):
    return changes | {'generated': False, 'video': path, 'image': ''}
  amount = None if values['amount'] is None else _number(values['amount'])
  move = {'move.kind': values['move'], 'move.amount': amount, 'move.key_frames': ()}
  return changes | {'generated': False, 'video': '', 'image': path, **move}


def place_of(fault):
  """The place of the page, a key of `PLACES`, that a fault is about."""
  name = re.match(r"'?([a-z_]+)", fault)
  found = [place for place, names in PLACES.items() if name and name[1] in names]
  return found[0] if found else 'general'


def by_place(faults):
  """{place: its faults}, every place included."""
  found = {place: [] for place in PLACES}
  for fault in faults:
    found[place_of(fault)].append(fault)
  return found


def _check(request, readers):
  return check_edit(request, read_method(request), readers)


def _changes(start, values, folder):
  """{dotted field: value} of all that the page sets but seed and target prompt."""
  changes = source_changes(values) | {
    'source_prompt': values['source_prompt'] or '',
    'task': values['task'],
    'more_target_prompts': (),
    'steps': _whole(values['steps']),
    'guidance': _number(values['guidance']),
  }
  # Comparison methods have options of their own, which stay as the config has them.
  if start.request.method == INJECTIONS:
    changes |= {name: _bounds(name, values[name]) for name in RANGES}
    changes |= {'preset': values['preset']} | _masks(start, values, folder)
    changes['content.tensors'] = TENSORS.get(values['tensors'], values['tensors'])
  return changes


def _masks(start, values, folder):
  """The fields of masks."""
  kind, changes = values['masks'], {}
  if kind == 'brushed':
    given = masks.keep(values['brushed'], start.request.clip.size, folder)
    sides = ('source', 'target') if values['task'] == 'motion' else ('source',)
    changes |= {f'mask.{side}': given[side] if side in sides else '' for side in masks.SIDES}
  elif kind == 'found':
    given = {side: getattr(start.request.mask, side) for side in masks.SIDES}
    # A config may bring masks of its own, which belong to the clip that it names.
    is_own = given['source'] and not is_auto(given['source']) and not values['file']
    auto = {'source': 'auto', 'target': 'auto' if values['task'] == 'motion' else ''}
    changes |= {f'mask.{side}': mask for side, mask in (given if is_own else auto).items()}
  else:
    changes |= {'mask.source': '', 'mask.target': ''}
  return changes


def _bounds(name, value):
  """A range as a tuple, (0, 0) where it holds no step; raises FaultsError if it is no range."""
  if not isinstance(value, list | tuple) or len(value) != 2:
    raise FaultsError([f'{name} is {shown(value)}; accepted: two whole numbers'])
  bounds = tuple(map(_whole, value))
  return (0, 0) if name.endswith('.steps') and bounds[0] == bounds[1] else bounds


def _whole(value):
  """A slider's number: JSON has no whole ones."""
  return int(value) if isinstance(value, float) and value == int(value) else value


def _number(value):
  """A number as the requests have it; what is none is left to their check."""
  return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _seeds(text):
  """The seeds of a text such as '0, 1, 2' or '0-3'."""
  found, accepted = [], f'accepted: whole numbers as in 0, 1, 4-7, at most {SEEDS}'
  for part in filter(None, re.split(r'[,\s]+', str(text).strip())):
    bounds = re.fullmatch(r'(\d{1,10})(?:-(\d{1,10}))?', part)
    if not bounds:
      raise FaultsError([f'seed is {text!r}; {accepted}'])
    first = int(bounds[1])
    found += range(first, min(int(bounds[2] or first), first + SEEDS) + 1)
  if not 0 < len(found) <= SEEDS:
    raise FaultsError([f'seed is {text!r}; {accepted}'])
  return list(dict.fromkeys(found))


def _tensors(injections):
  """The choice of the page for `content.tensors`."""
  return next((name for name, t in TENSORS.items() if t == injections.content.tensors), 'values')
