"""From a config to checked dataclasses: everything that can be wrong is found here, before anything
is loaded.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from experiments.requests import memory, metrics
from experiments.requests.baseline import Baseline, lay_out, read_method
from experiments.requests.masks import check_sides, read_files, read_search, source_prompt
from uniedit_jax.media import camera, video
from uniedit_jax.method import windows
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.injection import Injections, preset
from uniedit_jax.method.plan import EditPlan, plan_edit
from uniedit_jax.models.config import ModelConfig
from uniedit_jax.pipeline import found_masks, inspection
from uniedit_jax.pipeline.invert import InversionOptions
from uniedit_jax.pipeline.model import resolve_dtype, with_overrides
from uniedit_jax.runtime import checkpoint
from uniedit_jax.runtime.faults import Faults

ACCEPTED_CHECKPOINT = (
  f'a folder made by `python -m convert.lavie`, or a shipped model: {", ".join(checkpoint.SHIPPED)}'
)


class Request(NamedTuple):
  """A config, checked.

  Attributes:
    model_config: `ModelConfig` of the checkpoint.
    clip: dict of the arguments of `video.read_clip` without the path.
    schedule: `NoiseSchedule`.
    dtype: compute dtype.
    prompts: the distinct prompts, the null prompt first.
    tokenizer: of the checkpoint.
    parameters: how many the checkpoint has, or None where it does not say.
    window: (length, overlap) of the windows that the UNet sees of the clip, or None where it sees
      all.
    targets: the target prompt of each setting.
    settings: the `Injections` of each setting, preset and overrides resolved.
    inversion: `InversionOptions`.
    masks: dict {'source', 'target': bool[F, H, W]} of those that are files.
    search: `found_masks.Search` for masks that are to be found, or None.
    layout: `EditPlan`: branches, the number of each text, the plan. Optimised null texts follow the
      prompts.
    inspected: `inspection.Inspection`, or None.
    baseline: `baseline_request.Baseline`, or None where injections make the edit.
    warnings: what is odd but allowed.
  """

  model_config: ModelConfig
  clip: dict[str, Any]
  schedule: NoiseSchedule
  dtype: str
  prompts: list[str]
  tokenizer: Any
  parameters: int | None
  window: tuple[int, int] | None
  targets: tuple[str, ...] = ()
  settings: tuple[Injections, ...] = ()
  inversion: InversionOptions | None = None
  masks: dict[str, np.ndarray] | None = None
  search: found_masks.Search | None = None
  layout: EditPlan | None = None
  inspected: inspection.Inspection | None = None
  baseline: Baseline | None = None
  warnings: tuple[str, ...] = ()


def read_generation(config):
  """Checks the config of `experiments.generate`.

  Raises:
    ValueError: lists all faults.
  """
  faults = Faults()
  faults.unless(config.prompt.strip(), "prompt is ''; accepted: what the clip shows")
  model_config, clip = read_model(config, faults)
  request = _request(config, model_config, clip, ['', config.prompt], faults)
  faults.stop()
  return request


def read_edit(config):
  """Checks the config of an edit. The video comes first: no checkpoint is opened before it is known
  to be fine.

  Raises:
    ValueError: lists all faults, each with the field, what was given and what is accepted.
  """
  faults, warnings = Faults(), []
  model_config, clip = read_model(config, model_faults := Faults())
  sources = {name: config[name] for name in ('video', 'image', 'generated') if config[name]}
  if len(sources) > 1:
    faults.append(
      ' and '.join(f'{name} is {value!r}' for name, value in sources.items())
      + '; accepted: one of them'
    )
  if config.generated:
    faults.unless(
      config.source_prompt.strip(), "source_prompt is '' with generated=True; accepted: a prompt"
    )
    faults.unless(
      config.inversion.method in (None, 'ddim'),
      f'inversion.method is {config.inversion.method!r} with generated=True; accepted: the default, as a '
      'generated clip needs no inversion',
    )
  elif config.image:
    faults += camera.check_image(*_film(config, clip))
  else:
    faults += video.check_clip(config.video, **clip)
  faults += model_faults
  faults.unless(
    config.target_prompt.strip(), "target_prompt is ''; accepted: what the edited clip shows"
  )
  more, targets = config.more_target_prompts, (config.target_prompt, *config.more_target_prompts)
  if (
    isinstance(more, str)
    or not all(map(str.strip, targets[1:]))
    or len(set(targets)) < len(targets)
  ):
    faults.append(
      f'more_target_prompts is {more!r}; accepted: a tuple of prompts that differ from each other'
    )
  if more and config.mask.target:
    faults.append(
      f'mask.target is {config.mask.target!r} with more_target_prompts; accepted: one prompt, or no masks'
    )
  if config.target_prompt.strip() == config.source_prompt.strip() != '':
    warnings.append(
      f'source_prompt equals target_prompt ({config.target_prompt!r}): the edit should change nothing'
    )

  metrics.check(config, targets, faults)
  method = read_method(config, faults)
  check_sides(config, faults)
  masks, masked = read_files(config, clip, faults), bool(config.mask.source)
  blocks = (model_config or ModelConfig()).unet.blocks
  injections = faults.attempt(read_injections, config, masked, blocks)
  if injections:
    faults += injections.faults(config.steps, blocks)
    for name in () if masked else ('motion_query', 'background', 'guided'):
      faults.unless(
        not getattr(injections, name).on, f'{name}.steps needs masks; accepted: set mask.source'
      )
    reads_motion = injections.motion.on or injections.motion_query.on
    faults.unless(
      config.task == 'motion' or not reads_motion,
      f"motion.steps is {injections.motion.steps} with task 'appearance', which has no motion branch; accepted: (0, 0)",
    )
  inversion = read_inversion(config, generated=config.generated)
  faults += inversion.faults()
  faults.unless(
    config.plan in ('exact', 'naive'), f"plan is {config.plan!r}; accepted: 'exact', 'naive'"
  )
  faults.unless(
    config.rows_per_pass is None or config.rows_per_pass > 0,
    f'rows_per_pass is {config.rows_per_pass}; accepted: a positive number',
  )
  faults += inspection.faults(config.inspect.steps, config.inspect.blocks, config.steps, blocks)
  prompts = ['', config.source_prompt, *targets, inversion.prompt, source_prompt(config)]
  prompts += [method.negative_prompt] if method else []
  request = _request(config, model_config, clip, prompts, faults)._replace(
    inversion=inversion, masks=masks
  )
  faults.stop()
  faults.unless(
    not (config.inspect.steps and request.window),
    f'inspect.steps is {config.inspect.steps} for a clip in windows of {request.window}; accepted: () or fewer frames',
  )
  if method:
    request = faults.attempt(lay_out, config, request, method)
  else:
    request = faults.attempt(_lay_out, config, request, targets, (injections,) * len(targets))
  faults.stop()
  warnings += memory.check(config, request, faults)
  faults.stop()
  return request._replace(warnings=tuple(warnings))


def join(config, requests):
  """Several edits of one source clip as one, their settings side by side.

  Args:
    config: of one of them; those of the others differ in injections and target prompt at most.
    requests: list of `Request`, as `read_edit` made them.

  Returns:
    `Request`; the layout numbers the settings as they come.
  """
  prompts = list(dict.fromkeys(prompt for request in requests for prompt in request.prompts))
  targets, settings = (
    tuple(x for r in requests for x in getattr(r, name)) for name in ('targets', 'settings')
  )
  return _lay_out(config, requests[0]._replace(prompts=prompts), targets, settings)


def read_source(config, request):
  """The source clip of a checked edit that is not generated: `video.Clip`."""
  if config.image:
    return video.Clip(camera.film_image(*_film(config, request.clip)), request.model_config.fps)
  return video.read_clip(config.video, **request.clip)


def _film(config, clip):
  """The arguments of `camera.film_image`."""
  move = camera.CameraMove(**config.move.to_dict())
  return config.image, move, *(clip[name] for name in ('frames', 'height', 'width'))


def read_model(config, faults):
  """The checkpoint's config (None if it has none) and the arguments of `read_clip`; reads one small
  file.
  """
  model_config = None
  path = checkpoint.locate(config.checkpoint) / 'config.json'
  if config.checkpoint and path.exists():
    model_config = faults.attempt(ModelConfig.from_json, path.read_text())
  else:
    faults.append(
      f'checkpoint is {config.checkpoint!r}, which is none; accepted: {ACCEPTED_CHECKPOINT}'
    )
  defaults = model_config or ModelConfig()
  clip = config.clip.to_dict()
  clip |= {name: getattr(defaults, name) for name, value in clip.items() if value is None}
  return model_config, clip


def _request(config, model_config, clip, prompts, faults):
  """What generation and editing share."""
  for name in ('height', 'width'):
    factor = model_config.vae.factor if model_config else 8
    faults.unless(
      clip[name] > 0 and clip[name] % factor == 0,
      f'clip.{name} is {clip[name]}; accepted: a positive multiple of {factor}',
    )
  faults.unless(clip['frames'] > 0, f'clip.frames is {clip["frames"]}; accepted: a positive number')
  prompts = list(dict.fromkeys(prompts))
  schedule = tokenizer = parameters = None
  if model_config:
    schedule = faults.attempt(with_overrides, model_config.schedule, config.schedule.to_dict())
    tokenizer = faults.attempt(checkpoint.read_tokenizer, config.checkpoint, model_config)
    parameters = faults.attempt(checkpoint.count_parameters, config.checkpoint)
    for prompt in prompts if tokenizer else ():
      faults.attempt(tokenizer.encode, [prompt])
  faults.attempt((schedule or NoiseSchedule()).timesteps, config.steps)
  dtype = faults.attempt(resolve_dtype, config.dtype)
  window = faults.attempt(_window, config, model_config or ModelConfig(), max(clip['frames'], 1))
  return Request(model_config, clip, schedule, dtype, prompts, tokenizer, parameters, window)


def read_injections(config, masked, blocks):
  """The preset's injections with the fields that the config sets."""
  chosen = preset(config.preset, config.task, masked, config.steps, blocks)
  changed = {}
  for field in dataclasses.fields(chosen):
    given = {
      name: value for name, value in config[field.name].to_dict().items() if value is not None
    }
    changed[field.name] = dataclasses.replace(getattr(chosen, field.name), **given)
  return Injections(**changed)


def read_inversion(config, generated=False):
  """The `InversionOptions` of a config, with the defaults of the task; a generated clip is not
  inverted.
  """
  options = config.inversion.to_dict()
  if options['method'] is None:
    # What motion edits inject must be the source's own: without guidance's drift, and without the
    # inversion's.
    options['method'] = 'direct' if config.task == 'motion' and not generated else 'ddim'
  if options['prompt'] is None:
    options['prompt'] = config.source_prompt
  return InversionOptions(**options)


def _wanted(config):
  """The kinds of branches that become clips."""
  wanted = {
    'main': True,
    'reconstruction': config.outputs.reconstruction or config.generated,
    'motion': config.outputs.motion_reference,
  }
  return [kind for kind, is_wanted in wanted.items() if is_wanted]


def _lay_out(config, request, targets, settings):
  """The request with settings, targets, layout, and what must be known to find masks."""
  number = {prompt: i for i, prompt in enumerate(request.prompts)}

  def lay(settings, wanted, masked=False, exact_savings=config.plan == 'exact'):
    return plan_edit(
      *(config.task, settings, config.steps),
      source=number[config.source_prompt],
      targets=[number[prompt] for prompt in targets],
      uncond=request.inversion.uncond(len(number), config.steps),
      wanted=wanted,
      stored=request.inversion.stored(config.steps),
      masked=masked,
      blocks=request.model_config.unet.blocks,
      rows_per_pass=config.rows_per_pass,
      exact_savings=exact_savings,
    )

  request = request._replace(targets=targets, settings=settings)
  layout = lay(settings, _wanted(config), bool(config.mask.source))
  search = read_search(config, request, lay)
  inspected = None
  if config.inspect.steps:
    every_row = lay(settings, _wanted(config), bool(config.mask.source), exact_savings=False)
    inspected = inspection.Inspection(config.inspect.steps, config.inspect.blocks, every_row)
  return request._replace(layout=layout, search=search, inspected=inspected)


def _window(config, model_config, frames):
  """(length, overlap) of the windows of a clip, or None where one window is all of it."""
  length, overlap = config.window.frames, config.window.overlap
  length = min(model_config.frames, frames) if length is None else length
  overlap = length // 2 if overlap is None else overlap
  starts = windows.window_starts(frames, length, overlap)
  return (length, overlap) if len(starts) > 1 else None


def resolve(config, request):
  """The config as a dict in which nothing is left to the preset or the checkpoint, for config.json."""
  resolved = config.to_dict()
  resolved['dtype'] = request.dtype
  resolved['clip'] |= request.clip
  resolved['window'] = dict(zip(('frames', 'overlap'), request.window or (None, None), strict=True))
  resolved['schedule'] |= {name: getattr(request.schedule, name) for name in resolved['schedule']}
  if request.settings:
    resolved |= dataclasses.asdict(request.settings[0])
    resolved['inversion'] = dataclasses.asdict(request.inversion)
  return resolved
