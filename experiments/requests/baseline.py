"""The comparison methods of a config, checked: which one, its options, and its layout."""

import dataclasses
import functools
from typing import Any, NamedTuple

from uniedit_jax.baselines.fatezero import FateZero
from uniedit_jax.baselines.method import Setup
from uniedit_jax.baselines.rerender import Rerender
from uniedit_jax.baselines.tokenflow import TokenFlow
from uniedit_jax.baselines.tune_a_video import TuneAVideo

INJECTIONS = 'injections'
METHODS = {
  'tune_a_video': TuneAVideo,
  'fatezero': FateZero,
  'tokenflow': TokenFlow,
  'rerender': Rerender,
}
# What a method has no use for, and what stands there then: set to anything else, it would be
# ignored.
UNUSED = {
  **{
    'mask.source': '',
    'mask.target': '',
    'generated': False,
    'more_target_prompts': (),
    'inspect.steps': (),
  },
  **{'inversion.method': 'ddim', 'inversion.guidance': 1.0, 'plan': 'exact', 'rows_per_pass': None},
  **{'outputs.reconstruction': False, 'outputs.motion_reference': False},
  **{
    f'{name}.steps': None
    for name in ('structure', 'content', 'motion', 'motion_query', 'background', 'guided')
  },
}


class Baseline(NamedTuple):
  """A comparison method and what it knows of the edit.

  Attributes:
    method: one of `METHODS` (`baselines.method` has what they share).
    setup: `baselines.method.Setup`.
  """

  method: Any
  setup: Setup


def read_method(config, faults):
  """The method of a config with its options; None for injections, or where there are faults."""
  if config.method == INJECTIONS:
    return None
  if config.method not in METHODS:
    faults.append(
      f'method is {config.method!r}; accepted: {", ".join(map(repr, (INJECTIONS, *METHODS)))}'
    )
    return None
  for field, value in UNUSED.items():
    given = functools.reduce(lambda part, name: part[name], field.split('.'), config)
    faults.unless(
      given == value, f'{field} is {given!r} with method {config.method!r}; accepted: {value!r}'
    )
  fields = config.get('baseline', {})
  if set(fields) != {field.name for field in dataclasses.fields(METHODS[config.method])}:
    faults.append(
      f'method is {config.method!r} and baseline has the fields {sorted(fields)}; accepted: those of '
      f'configs/baselines/{config.method}.py'
    )
    return None
  return METHODS[config.method](**fields)


def lay_out(config, request, method):
  """The request with baseline, target and layout.

  Args:
    config: ConfigDict of an edit.
    request: `Request` with all but these, whose prompts hold the method's.
    method: `read_method(config, ...)`.

  Raises:
    ValueError: lists all that is wrong with the options.
  """
  if request.window:
    raise ValueError(
      f'the clip is seen in windows of {request.window} with method {config.method!r}; accepted: one'
    )
  texts = (
    method.negative_prompt,
    config.source_prompt,
    request.inversion.prompt,
    config.target_prompt,
  )
  setup = Setup(
    *(config.steps, request.clip['frames'], request.model_config.unet.blocks),
    *(request.prompts.index(text) for text in texts),
    *(request.prompts, request.tokenizer, config.seed),
  )
  if faults := method.faults(setup):
    raise ValueError('; '.join(faults))
  return request._replace(
    baseline=Baseline(method, setup), targets=(config.target_prompt,), layout=method.lay_out(setup)
  )


def refuse(config):
  """For what makes several edits at once.

  Raises:
    ValueError: the method is none that does.
  """
  if config.method != INJECTIONS:
    raise ValueError(
      f'method is {config.method!r}; accepted here: {INJECTIONS!r}, others by experiments.edit'
    )
