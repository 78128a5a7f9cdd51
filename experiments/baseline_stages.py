"""The stages of an edit by a comparison method: from a checked config to clips."""

import functools

from experiments import progress, stages
from uniedit_jax.baselines.method import Run
from uniedit_jax.metrics.measures import name_of
from uniedit_jax.pipeline.model import decode_clip, encode_prompts


def make_clips(config, request, model, log):
  """Runs the method of a request.

  Args:
    config: ConfigDict of an edit.
    request: `read_edit(config)` with a baseline.
    model: `checkpoint.Model`.
    log: `run_log.RunLog`.

  Returns:
    (`stages.Source`, dict of u8[F, H, W, 3] by name: the source and the edit).
  """
  method, setup = request.baseline
  with log.phase('encode'):
    texts = encode_prompts(model, request.prompts, request.dtype)
    frames, fps, latents, floor = stages.encode_source(config, request, model, log)
  with log.phase('edit'):
    sampled, facts = method.edit(
      Run(
        *(model, frames, latents, texts, setup, request.layout, request.schedule),
        *(config.guidance, request.dtype, functools.partial(progress.steps, record=log)),
      )
    )
  log.facts |= facts | {'beside_the_rows': method.cost(setup)}
  with log.phase('decode'):
    made = {
      name_of(branch): decode_clip(model, found, request.dtype) for branch, found in sampled.items()
    }
  return stages.Source({'source': frames}, floor, None, fps, texts, None), {'source': frames} | made
