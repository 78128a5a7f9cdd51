"""Finds the step at which latents are no longer finite numbers."""

import numpy as np

REMEDIES = (
  'accepted: dtype=float32, or bfloat16 instead of float16; lower guidance; sound weights and clips'
)


class NotFiniteError(FloatingPointError):
  """Latents of some of B edits are not finite.

  Attributes:
    errors: B times the FloatingPointError of an edit, or None.
    latents: f32[B, K, F, H, W, C], of all edits; those of the others are sound.
  """

  def __init__(self, errors, latents):
    super().__init__('; '.join(dict.fromkeys(map(str, filter(None, errors)))))
    self.errors, self.latents = errors, latents


class FiniteCheck:
  """Looks at the latents of B edits between steps, unless it is off.

  It looks on the host: the latents are small, and no further program is needed.
  """

  def __init__(self, plans, on=True):
    """Takes B `EditPlan`."""
    self._plans, self._on, self._errors = plans, on, [None] * len(plans)

  def failed(self, latents, done):
    """Whether all edits have failed, with the latents f32[B, K, F, H, W, C] after `done` steps."""
    edits = zip(self._plans, np.array(latents), strict=True) if self._on else ()
    for i, (plan, edit) in enumerate(edits):
      pairs = zip(plan.branches, edit, strict=True)
      bad = [branch for branch, x in pairs if not np.isfinite(x).all()]
      if bad and not self._errors[i]:
        when = f'after step {done} of {len(plan.steps)}' if done else 'before the first step'
        names = ', '.join(f'{b.kind} {b.setting + 1}' if b.setting else b.kind for b in bad)
        fault = f'latents are NaN or infinite {when} in {names}; {REMEDIES}'
        self._errors[i] = FloatingPointError(fault)
    return all(self._errors)

  def stop(self, latents, done):
    """Raises `NotFiniteError` if an edit has failed."""
    self.failed(latents, done)
    if any(self._errors):
      raise NotFiniteError(self._errors, latents)
