"""Short forms of what many tests plan and sample."""

from uniedit_jax.method.plan import BranchInputs, plan_edit
from uniedit_jax.method.sampling import Conditioning, Network, Sampler, sample_edit


def plan_of(task, settings, steps, *, source=0, targets=(1,), uncond=None, stored=0, **options):
  """`plan_edit` with the fields of `BranchInputs` by name."""
  inputs = BranchInputs(source, targets, uncond, stored)
  return plan_edit(task, settings, steps, inputs, **options)


def edit_of(model, start, texts, plan, sampler, *, masks=None, trajectory=None, **options):
  """`sample_edit` of a `reference.Model`."""
  network, conditioning = Network(model.apply, model.params), Conditioning(texts, masks, trajectory)
  return sample_edit(network, start, plan, sampler, conditioning, **options)


def sampler_of(schedule, steps, guidance=7.5, kind='ddim'):
  """`Sampler` by position."""
  return Sampler(schedule, steps, guidance, kind)
