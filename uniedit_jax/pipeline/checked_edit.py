"""`CheckedEdit`: an edit in which nothing is left to the checkpoint, the preset or the task."""

import dataclasses
import functools
import json
from typing import Any

import numpy as np

from uniedit_jax.method.injection import INJECTION_NAMES, Injections, preset
from uniedit_jax.method.plan import BranchInputs, EditPlan, plan_edit
from uniedit_jax.method.sampling import Sampler
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.models.tokenizers import word_positions
from uniedit_jax.pipeline import sources
from uniedit_jax.pipeline.found_masks import MapOptions, Search, differing_words
from uniedit_jax.pipeline.inspection import Inspection
from uniedit_jax.pipeline.invert import InversionOptions
from uniedit_jax.pipeline.model import latent_shape
from uniedit_jax.pipeline.request import ClipOptions, EditRequest, is_auto
from uniedit_jax.runtime import memory
from uniedit_jax.runtime.faults import Faults

# Fields in which settings of one source clip may differ: data of the same program.
FREE = ('target_prompt', 'preset', *INJECTION_NAMES)
# Kept, as thousands of edits of a batch differ in prompts alone.
_plan_edit = functools.lru_cache(maxsize=64)(plan_edit)


@dataclasses.dataclass(frozen=True)
class CheckedEdit:
  """An edit in which nothing is left to the checkpoint, the preset or the task.

  Attributes:
    request: the `EditRequest` it is made of.
    model_config: `ModelConfig` of the checkpoint.
    clip: `ClipOptions` with all sizes.
    sampler: `Sampler`.
    dtype: compute dtype.
    prompts: the distinct prompts, the null prompt first.
    tokenizer: of the checkpoint.
    parameters: how many the checkpoint has, or None where it does not say.
    window: (length, overlap) of the windows that the UNet sees of the clip, or None where it sees
      all.
    targets: the target prompt of each setting.
    settings: the `Injections` of each setting.
    inversion: `InversionOptions` with method and prompt.
    masks: dict {'source', 'target': bool[F, H, W]} of those that are given.
    search: `found_masks.Search` for masks that are to be found, or None.
    plan: `EditPlan`. Optimised null texts follow the prompts.
    inspected: `inspection.Inspection`, or None.
    method: the comparison method that makes the edit (`baselines.comparison`), or None.
    warnings: what is odd but allowed.
  """

  request: EditRequest
  model_config: ModelConfig
  clip: ClipOptions
  sampler: Sampler
  dtype: str
  prompts: list[str]
  tokenizer: Any
  parameters: int | None
  window: tuple[int, int] | None
  targets: tuple[str, ...] = ()
  settings: tuple[Injections, ...] = ()
  inversion: InversionOptions = InversionOptions('ddim', '')
  masks: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  search: Search | None = None
  plan: EditPlan | None = None
  inspected: Inspection | None = None
  method: Any = None
  warnings: tuple[str, ...] = ()

  @property
  def latent_shape(self):
    """(F, H, W, C) of the latents."""
    return latent_shape(self.model_config, *self.clip.size)

  @property
  def grids(self):
    """The token grid (H, W) of every block."""
    return self.model_config.unet.grids(*self.latent_shape[1:3])

  @property
  def guided(self):
    """Whether a setting has mask-guided attention."""
    return any(injections.guided.on for injections in self.settings)

  @property
  def metrics_prompt(self):
    """What the source shows where clips are compared with prompts, or ''."""
    return self.request.metrics.source_prompt or self.request.source_prompt

  @property
  def most_rows(self):
    """The rows of the largest pass."""
    return max(max(phase['passes']) for phase in self.plan.phases)

  def bytes_of(self, rows):
    """Estimates the bytes that sampling so many rows at once needs."""
    return memory.needed(
      self.model_config,
      rows,
      self.window[0] if self.window else self.clip.frames,
      self.clip.height,
      self.clip.width,
      self.dtype,
      self.parameters,
    )

  @property
  def fits(self):
    """Whether sampling fits the device, as far as that is known."""
    available = memory.available()
    return available is None or self.bytes_of(self.most_rows) <= available

  @property
  def alone(self):
    """Whether it cannot be batched: it needs more than its own arrays, or has several settings."""
    single = self.search or self.inspected or self.method or self.request.generated
    return bool(single or self.inversion.method == 'null_text' or len(self.targets) > 1)

  @property
  def bucket(self):
    """A string that edits share which can be batched: all that a program depends on."""
    options = self.inversion
    return json.dumps(
      [
        self.clip.size,
        self.window,
        self.sampler.steps,
        [branch.kind for branch in self.plan.branches],
        self.plan.wanted,
        self.plan.phases,
        repr(self.sampler.schedule),
        [options.method, options.repetitions, options.guidance],
        [self.request.mask.given, self.guided],
        self.plan.steps[0].passes[0].routes.first_frame is None,
        self.request.source_prompt == '',
      ]
    )

  @property
  def source_key(self):
    """A string that edits share whose settings can be sampled side by side from one inversion."""
    tree = self.as_tree()
    kept = {name: value for name, value in tree.items() if name not in FREE}
    if self.search:  # these masks depend on how the motion reference is made
      kept |= {name: tree[name] for name in ('target_prompt', 'structure')}
    return json.dumps(kept, sort_keys=True)

  def as_tree(self):
    """The request as a nested dict for config.json in which nothing is left to be resolved."""
    tree = self.request.as_tree() | {'steps': self.sampler.steps, 'quick': False}
    tree['dtype'] = self.dtype
    tree['clip'] = dataclasses.asdict(self.clip)
    tree['window'] = dict(zip(('frames', 'overlap'), self.window or (None, None), strict=True))
    schedule = self.sampler.schedule
    tree['schedule'] |= {name: getattr(schedule, name) for name in tree['schedule']}
    if self.settings:
      tree |= dataclasses.asdict(self.settings[0])
      tree['inversion'] = dataclasses.asdict(self.inversion)
    return tree


def resolve_injections(request, masked, blocks):
  """The preset's `Injections` with the fields that the request sets."""
  chosen = preset(request.preset, request.task, masked, request.steps, blocks)
  changed = {}
  for part in INJECTION_NAMES:
    ranges = dataclasses.asdict(getattr(request, part)).items()
    changes = {name: value for name, value in ranges if value is not None}
    changed[part] = dataclasses.replace(getattr(chosen, part), **changes)
  return Injections(**changed)


def resolve_inversion(request):
  """The `InversionOptions` with the defaults of the task; a generated clip is not inverted."""
  options = request.inversion
  if options.method is None:
    # Motion edits inject features of the source itself: without the drift of guidance and of
    # inversion.
    direct = request.task == 'motion' and not request.generated
    options = dataclasses.replace(options, method='direct' if direct else 'ddim')
  if options.prompt is None:
    options = dataclasses.replace(options, prompt=request.source_prompt)
  return options


def plan_settings(edit, targets, settings):
  """The edit with settings, targets, plan, and what must be known to find masks."""
  request, steps = edit.request, edit.sampler.steps
  number = {prompt: i for i, prompt in enumerate(edit.prompts)}
  uncond = edit.inversion.uncond(len(number), steps)
  inputs = BranchInputs(
    source=number[request.source_prompt],
    targets=tuple(number[prompt] for prompt in targets),
    uncond=None if uncond is None else tuple(uncond.tolist()),
    stored=edit.inversion.stored(steps),
  )

  def plan(settings, wanted, masked=False, exact=request.plan == 'exact'):
    return _plan_edit(
      request.task,
      tuple(settings),
      steps,
      inputs,
      wanted=tuple(wanted),
      masked=masked,
      blocks=edit.model_config.unet.blocks,
      rows_per_pass=request.rows_per_pass,
      exact_savings=exact,
    )

  masked = request.mask.given
  edit = dataclasses.replace(edit, targets=tuple(targets), settings=tuple(settings))
  planned = plan(settings, wanted_kinds(request), masked)
  search = _plan_search(edit, plan)
  inspected = None
  if request.inspect.steps:
    every_row = plan(settings, wanted_kinds(request), masked, exact=False)
    inspected = Inspection(request.inspect.steps, request.inspect.blocks, every_row)
  return dataclasses.replace(edit, plan=planned, search=search, inspected=inspected)


def join(edits):
  """Several `CheckedEdit` of one source clip as one, their settings side by side, in their order.

  They differ in injections and target prompt at most.
  """
  prompts = list(dict.fromkeys(prompt for edit in edits for prompt in edit.prompts))
  targets = tuple(target for edit in edits for target in edit.targets)
  settings = tuple(injections for edit in edits for injections in edit.settings)
  return plan_settings(dataclasses.replace(edits[0], prompts=prompts), targets, settings)


def wanted_kinds(request):
  """The kinds of branches that become clips."""
  wanted = {
    'main': True,
    'reconstruction': request.outputs.reconstruction or request.generated,
    'motion': request.outputs.motion_reference,
    'plain': request.outputs.plain,
  }
  return [kind for kind, is_wanted in wanted.items() if is_wanted]


def shown_prompt(request):
  """What the source shows where its mask is looked for."""
  return request.mask.source_prompt or request.source_prompt


def _plan_search(edit, plan):
  """The `Search` of an edit with settings, or None where no mask is to be found.

  Args:
    edit: `CheckedEdit`.
    plan: (settings, kinds of wanted branches) -> `EditPlan` without masks.

  Raises:
    FaultsError: all faults.
  """
  request, mask = edit.request, edit.request.mask
  given = {side: getattr(mask, side) for side in sources.SIDES}
  sides = [side for side, m in given.items() if is_auto(m)]
  if not sides:
    return None
  options = MapOptions(mask.blocks, mask.threshold, mask.smoothing)
  faults = Faults(options.faults(edit.grids))
  prompts, words = {'source': shown_prompt(request), 'target': request.target_prompt}, {}
  for side in sides:
    other = prompts['target' if side == 'source' else 'source']
    field = f'mask.{side}_words'
    chosen = list(getattr(mask, f'{side}_words')) or differing_words(prompts[side], other)
    if not prompts[side]:
      faults.append(
        "mask.source_prompt is '' with mask.source='auto'; accepted: what the source shows"
      )
    elif not chosen:
      faults.append(
        f'{field} is () and the prompt {prompts[side]!r} has no word that {other!r} lacks; '
        'accepted: words of it'
      )
    else:
      positions = faults.attempt(word_positions, edit.tokenizer, prompts[side], chosen, field=field)
      words[side] = edit.prompts.index(prompts[side]), positions
  faults.stop()
  # What is sampled first: the target is looked for in the motion reference, and the source in the
  # reconstruction, which is known where it is a stored trajectory.
  sampled = ['reconstruction', 'motion'] if 'target' in sides else ['reconstruction']
  stored = edit.inversion.stored(edit.sampler.steps) == edit.sampler.steps
  first = [Injections(structure=edit.settings[0].structure)]
  search_plan = None if stored and 'target' not in sides else plan(first, sampled)
  return Search(search_plan, words, options)
