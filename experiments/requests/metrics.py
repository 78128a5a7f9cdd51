"""What the measures of an edit need beside its clips, checked."""

from uniedit_jax.metrics import clip_model


def source_prompt(config):
  """What the source is said to show when clips are compared with prompts, or ''."""
  return config.metrics.source_prompt or config.source_prompt


def check(config, targets, faults):
  """Finds what is wrong with `config.metrics`, without loading weights.

  Args:
    config: ConfigDict of an edit.
    targets: its target prompts.
    faults: `Faults` that collects what is found.
  """
  if config.metrics.clip:
    tokenizer = faults.attempt(clip_model.read_tokenizer, config.metrics.clip, field='metrics.clip')
    for prompt in (*targets, source_prompt(config)) if tokenizer else ():
      faults.attempt(tokenizer.encode, [prompt], field='metrics.clip')
