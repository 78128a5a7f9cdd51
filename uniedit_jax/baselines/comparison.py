"""The comparison method that a request names: checked, planned, and run on a prepared clip."""

import dataclasses
import operator
from typing import Any, NamedTuple

from uniedit_jax.baselines.fatezero import FateZero
from uniedit_jax.baselines.method import Run, Setup
from uniedit_jax.baselines.rerender import Rerender
from uniedit_jax.baselines.tokenflow import TokenFlow
from uniedit_jax.baselines.tune_a_video import TuneAVideo
from uniedit_jax.method import injection
from uniedit_jax.metrics.measures import name_of
from uniedit_jax.pipeline.check import INJECTIONS
from uniedit_jax.pipeline.edit import EditedClips, PreparedClip, encode_sources
from uniedit_jax.pipeline.model import decode_clip, encode_prompts

METHODS = {
  'tune_a_video': TuneAVideo,
  'fatezero': FateZero,
  'tokenflow': TokenFlow,
  'rerender': Rerender,
}
# Fields that a method does not read, and the value that says so: another one would be ignored.
UNUSED = {
  'mask.source': '',
  'mask.target': '',
  'generated': False,
  'more_target_prompts': (),
  'inspect.steps': (),
  'inversion.method': 'ddim',
  'inversion.guidance': 1.0,
  'plan': 'exact',
  'rows_per_pass': None,
  'outputs.reconstruction': False,
  'outputs.motion_reference': False,
  'outputs.plain': False,
} | {f'{name}.steps': None for name in injection.INJECTION_NAMES}


class ComparisonMethod(NamedTuple):
  """A comparison method.

  Attributes:
    options: one of `METHODS` (`baselines.method` has what they share), or None with faults.
    faults: list of sentences.
  """

  options: Any
  faults: list[str]

  @property
  def negative_prompt(self):
    """What the unconditional half is conditioned on."""
    return self.options.negative_prompt if self.options else ''

  def plan_edit(self, edit):
    """The `CheckedEdit` with target and plan; raises ValueError of all faults of the options."""
    request = edit.request
    if edit.window:
      raise ValueError(
        f'the clip is seen in windows of {edit.window} with method {request.method!r}; accepted: '
        'one'
      )
    setup = self._setup(edit)
    if faults := self.options.faults(setup):
      raise ValueError('; '.join(faults))
    return dataclasses.replace(
      edit, targets=(request.target_prompt,), plan=self.options.plan(setup)
    )

  def make(self, model, edit, source, log):
    """Runs the method on a `video.Clip`: (`PreparedClip`, `EditedClips` of source and edit)."""
    setup = self._setup(edit)
    with log.phase('encode'):
      texts = encode_prompts(model, edit.prompts, edit.dtype)
      (latents,), (round_trip,) = encode_sources(model, edit.dtype, [source])
    with log.phase('edit'):
      run = Run(
        model=model,
        clip=source.frames,
        latents=latents,
        texts=texts,
        setup=setup,
        plan=edit.plan,
        sampler=edit.sampler,
        dtype=edit.dtype,
        progress=log.steps,
      )
      sampled, facts = self.options.edit(run)
    log.facts |= facts | {'additional_cost': self.options.cost(setup)}
    with log.phase('decode'):
      clips = {name_of(b): decode_clip(model, x, edit.dtype) for b, x in sampled.items()}
      round_trip()  # it counts as decoding
    prepared = PreparedClip(source.frames, source.fps, texts, round_trip=round_trip)
    return prepared, EditedClips({'source': source.frames} | clips, {})

  def _setup(self, edit):
    request, number = edit.request, edit.prompts.index
    return Setup(
      steps=edit.sampler.steps,
      frames=edit.clip.frames,
      blocks=edit.model_config.unet.blocks,
      uncond=number(self.negative_prompt),
      source=number(request.source_prompt),
      inverted=number(edit.inversion.prompt),
      target=number(request.target_prompt),
      prompts=edit.prompts,
      tokenizer=edit.tokenizer,
      seed=request.seed,
    )


def read_method(request):
  """The `ComparisonMethod` that an `EditRequest` names with its options; None for injections."""
  if request.method == INJECTIONS:
    return None
  if request.method not in METHODS:
    accepted = ', '.join(map(repr, (INJECTIONS, *METHODS)))
    return ComparisonMethod(None, [f'method is {request.method!r}; accepted: {accepted}'])
  faults = []
  for field, accepted in UNUSED.items():
    value = operator.attrgetter(field)(request)
    if value != accepted:
      faults.append(f'{field} is {value!r} with method {request.method!r}; accepted: {accepted!r}')
  method, options = METHODS[request.method], request.baseline or {}
  if set(options) != {field.name for field in dataclasses.fields(method)}:
    faults.append(
      f'method is {request.method!r} and baseline has the fields {sorted(options)}; accepted: '
      f'those of configs/baselines/{request.method}.py'
    )
    return ComparisonMethod(None, faults)
  return ComparisonMethod(method(**options), faults)
