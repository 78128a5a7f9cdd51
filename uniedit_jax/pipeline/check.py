"""From an `EditRequest` to a `CheckedEdit`: all that can be wrong is found before anything runs."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.plan import BranchInputs, plan_edit
from uniedit_jax.method.sampling import Sampler
from uniedit_jax.metrics import clip_model
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline import inspection, sources
from uniedit_jax.pipeline.checked_edit import (
  CheckedEdit,
  plan_settings,
  resolve_injections,
  resolve_inversion,
  shown_prompt,
)
from uniedit_jax.pipeline.model import resolve_dtype
from uniedit_jax.pipeline.model_defaults import clip_of, of_model, window_of
from uniedit_jax.pipeline.request import is_auto, is_given
from uniedit_jax.pipeline.values import check_values
from uniedit_jax.runtime import checkpoint, memory
from uniedit_jax.runtime.faults import Faults

INJECTIONS = 'injections'
ACCEPTED_CHECKPOINT = (
  'a folder made by `python -m convert.lavie`, the hub id of one, or a shipped model: '
  + ', '.join(checkpoint.SHIPPED)
)


class Readers(NamedTuple):
  """What checks read of files; for many edits, functions that read a file once for all of them.

  Attributes:
    source: (`EditRequest`, `ClipOptions`) -> (faults, warnings, size), `sources.check_source`.
    model_config: folder -> (`ModelConfig` or None, faults).
    tokenizer: (folder, `ModelConfig`) -> tokenizer.
    clip_tokenizer: folder -> tokenizer of the measures.
    parameters: folder -> number of parameters.
  """

  source: Callable = sources.check_source
  model_config: Callable = lambda folder: _model_config(folder)
  tokenizer: Callable = checkpoint.read_tokenizer
  clip_tokenizer: Callable = clip_model.read_tokenizer
  parameters: Callable = checkpoint.count_parameters


READERS = Readers()


def check_edit(request, method=None, readers=READERS):
  """Checks an `EditRequest`: the source first, so that no checkpoint is opened before it is fine.

  Args:
    request: `EditRequest`.
    method: the comparison method that the request names (`baselines.comparison.read_method`), or
      None for injections.
    readers: `Readers`.

  Returns:
    `CheckedEdit`.

  Raises:
    FaultsError: lists all faults, each with the field, the value and what is accepted.
  """
  faults, warnings = Faults(), []
  request = check_values(request, faults)
  model_config, model_faults = readers.model_config(request.checkpoint)
  original = of_model(request, model_config)
  request = original.shortened
  clip = clip_of(request, model_config or ModelConfig())
  size = _check_source(request, clip, readers, faults, warnings)
  clip = sources.choose_fit(request, clip, size, warnings)
  faults += model_faults
  _check_prompts(request, readers, faults, warnings)
  _check_sides(request, faults)
  masks = sources.read_masks(request, clip, faults, warnings)
  blocks = (model_config or ModelConfig()).unet.blocks
  injections = faults.attempt(resolve_injections, request, request.mask.given, blocks)
  if injections:
    _check_injections(request, injections, blocks, faults)
  inversion = resolve_inversion(request)
  faults += inversion.faults()
  if request.inspect.steps:
    looked = request.inspect.steps, request.inspect.blocks
    faults += inspection.faults(*looked, request.steps, blocks)
  prompts = ['', request.source_prompt, *request.targets, inversion.prompt, shown_prompt(request)]
  if method:
    faults += method.faults
    prompts.append(method.negative_prompt)
  edit = _check_run(request, model_config, clip, prompts, inversion.sampler, readers, faults)
  faults.stop()
  edit = dataclasses.replace(
    edit, request=original, inversion=inversion, masks=masks, method=method
  )
  faults.unless(
    not (request.inspect.steps and edit.window),
    f'inspect.steps is {request.inspect.steps} for a clip in windows of {edit.window}; accepted: '
    '() or fewer frames',
  )
  if method:
    edit = faults.attempt(method.plan_edit, edit)
  else:
    settings = (injections,) * len(request.targets)
    edit = faults.attempt(plan_settings, edit, request.targets, settings)
  faults.stop()
  warnings += _check_memory(edit, faults)
  faults.stop()
  return dataclasses.replace(edit, warnings=tuple(warnings))


def check_generation(request):
  """Checks a request for plain text-to-video: its clip is the reconstruction of `source_prompt`.

  Raises:
    FaultsError: lists all faults.
  """
  faults = Faults()
  request = check_values(request, faults)
  model_config = read_model_config(request.checkpoint, faults)
  original = of_model(request, model_config)
  request = original.shortened
  faults.unless(request.source_prompt.strip(), "prompt is ''; accepted: what the clip shows")
  clip = clip_of(request, model_config or ModelConfig())
  clip = sources.choose_fit(request, clip, None, [])
  prompts = ['', request.source_prompt]
  edit = _check_run(request, model_config, clip, prompts, 'ddim', READERS, faults)
  faults.stop()
  # An edit of a generated clip samples this very branch as its reconstruction.
  plan = plan_edit(
    'appearance',
    [],
    request.steps,
    BranchInputs(source=1),
    wanted=['reconstruction'],
    blocks=edit.model_config.unet.blocks,
  )
  return dataclasses.replace(edit, request=original, plan=plan)


def read_model_config(folder, faults):
  """The `ModelConfig` of a checkpoint, or None where it cannot be read; adds to `faults`."""
  wrong = Faults()
  path = wrong.attempt(lambda: checkpoint.locate(folder) / 'config.json', field='checkpoint')
  if folder and path and wrong.attempt(path.exists, field='checkpoint'):
    # What does not fit the config is a fault too, though parts are missing.
    config = faults.attempt(checkpoint.check, folder)
    return config or Faults().attempt(checkpoint.read_config, folder)
  if wrong:
    faults += wrong
    return None
  named = f'no checkpoint at {folder!r}' if folder else "checkpoint is ''"
  faults.append(f'{named}; accepted: {ACCEPTED_CHECKPOINT}')
  return None


def _model_config(folder):
  faults = Faults()
  return read_model_config(folder, faults), faults


def _check_run(request, model_config, clip, prompts, kind, readers, faults):
  """The `CheckedEdit` of what generation and editing share, None where there are faults."""
  factor = model_config.vae.factor if model_config else 8
  for name in ('height', 'width'):
    value = getattr(clip, name)
    faults.unless(
      value > 0 and value % factor == 0,
      f'clip.{name} is {value}; accepted: a positive multiple of {factor}',
    )
  faults.unless(clip.frames > 0, f'clip.frames is {clip.frames}; accepted: a positive number')
  prompts = list(dict.fromkeys(prompts))
  schedule = tokenizer = parameters = None
  if model_config:
    schedule = faults.attempt(_schedule, request, model_config, field='schedule')
    tokenizer = faults.attempt(readers.tokenizer, request.checkpoint, model_config)
    parameters = faults.attempt(readers.parameters, request.checkpoint)
    for prompt in prompts if tokenizer else ():
      faults.attempt(tokenizer.encode, [prompt])
  faults.attempt((schedule or NoiseSchedule()).timesteps, request.steps)
  dtype = faults.attempt(resolve_dtype, request.dtype)
  window = faults.attempt(window_of, request, model_config or ModelConfig(), max(clip.frames, 1))
  return CheckedEdit(
    request=request,
    model_config=model_config,
    clip=clip,
    sampler=Sampler(schedule, request.steps, request.guidance, kind),
    dtype=dtype,
    prompts=prompts,
    tokenizer=tokenizer,
    parameters=parameters,
    window=window,
  )


def _schedule(request, model_config):
  options = dataclasses.asdict(request.schedule).items()
  changes = {name: value for name, value in options if value is not None}
  return dataclasses.replace(model_config.schedule, **changes)


def _check_source(request, clip, readers, faults, warnings):
  """The (height, width) of the frames of the source, or None."""
  given = {name: getattr(request, name) for name in ('video', 'image')}
  given = {name: value for name, value in given.items() if is_given(value)}
  given |= {'generated': True} if request.generated else {}
  if len(given) > 1:
    named = ' and '.join(f'{name} is {value!r}' for name, value in given.items())
    faults.append(f'{named}; accepted: one of them')
  if not request.generated:
    field = 'image' if request.image else 'video'
    found = faults.attempt(readers.source, request, clip, field=field) or ([], [], None)
    faults += found[0]
    warnings += found[1]
    return found[2]
  faults.unless(
    request.source_prompt.strip(), "source_prompt is '' with generated=True; accepted: a prompt"
  )
  faults.unless(
    request.inversion.method in (None, 'ddim'),
    f'inversion.method is {request.inversion.method!r} with generated=True; accepted: the default, '
    'as a generated clip needs no inversion',
  )
  return None


def _check_prompts(request, readers, faults, warnings):
  faults.unless(
    request.target_prompt.strip(), "target_prompt is ''; accepted: what the edited clip shows"
  )
  more, targets = request.more_target_prompts, request.targets
  if not all(map(str.strip, more)) or len(set(targets)) < len(targets):
    faults.append(
      f'more_target_prompts is {more!r}; accepted: a tuple of prompts that differ from each other'
    )
  if more and is_given(request.mask.target):
    faults.append(
      f'mask.target is {request.mask.target!r} with more_target_prompts; accepted: one prompt, or '
      'no masks'
    )
  if request.target_prompt.strip() == request.source_prompt.strip() != '':
    warnings.append(
      f'source_prompt equals target_prompt ({request.target_prompt!r}): the edit should change '
      'nothing'
    )
  folder = request.metrics.clip
  if folder:
    tokenizer = faults.attempt(readers.clip_tokenizer, folder, field='metrics.clip')
    prompts = *targets, request.metrics.source_prompt or request.source_prompt
    for prompt in prompts if tokenizer else ():
      faults.attempt(tokenizer.encode, [prompt], field='metrics.clip')


def _check_sides(request, faults):
  """Which sides need masks: both in motion editing, the source's in appearance editing."""
  masks = {side: getattr(request.mask, side) for side in sources.SIDES}
  given = [side for side, mask in masks.items() if is_given(mask)]
  motion = request.task == 'motion'
  if given == ['target'] or (motion and len(given) == 1):
    missing = next(side for side in sources.SIDES if side not in given)
    faults.append(f"mask.{missing} is '' but mask.{given[0]} is given; accepted: both or neither")
  if is_auto(masks['target']) and not motion:
    faults.append(
      f"mask.target is 'auto' with task {request.task!r}, which samples no target first; "
      "accepted: '', a file"
    )


def _check_injections(request, injections, blocks, faults):
  faults += injections.faults(request.steps, blocks)
  for name in () if request.mask.given else ('motion_query', 'background', 'guided'):
    faults.unless(
      not getattr(injections, name).on, f'{name}.steps needs masks; accepted: set mask.source'
    )
  reads_motion = injections.motion.on or injections.motion_query.on
  faults.unless(
    request.task == 'motion' or not reads_motion,
    f"motion.steps is {injections.motion.steps} with task 'appearance', which has no motion "
    'branch; accepted: (0, 0)',
  )


def _check_memory(edit, faults):
  """Compares what sampling needs with what the device has: a list of warnings."""
  if edit.fits:
    return []
  available, rows = memory.available(), edit.most_rows
  gib = lambda number: f'{number / 2**30:.1f} GiB'
  message = (
    f'{rows} rows a pass need about {gib(edit.bytes_of(rows))} and the device has {gib(available)}'
  )
  fitting = [r for r in range(1, rows) if edit.bytes_of(r) <= available]
  if edit.request.rows_per_pass is None and fitting and not edit.method:  # these are not split
    faults.append(f'rows_per_pass is not set: {message}; accepted: rows_per_pass={fitting[-1]}')
    return []
  return [f'{message}; fewer frames, a smaller clip or dtype=bfloat16 would need less']
