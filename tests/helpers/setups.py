"""Setups of the tests of comparison methods."""

from uniedit_jax.baselines.method import Setup
from uniedit_jax.method.diffusion import NoiseSchedule, ddim_update, guide
from uniedit_jax.method.sampling import Conditioning, Network, Sampler
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.tokenizers import WordTokenizer

WORDS = ['a', 'cat', 'dog', 'red', 'on', 'grass', 'painting', 'of']
TOKENIZER = WordTokenizer(WORDS, TextConfig(vocabulary=10, positions=7, bos=8, eos=9))
TEXTS = ['null', 'source', 'target']  # the names of the three prompts


def setup_of(
  steps=4, frames=3, blocks=16, prompts=('', 'a cat on grass', 'a red dog on grass'), **fields
):
  """A `Setup` with the texts null, source, target; by default the inversion is unconditional."""
  fields = {'uncond': 0, 'source': 1, 'inverted': 0, 'target': 2, 'seed': 0} | fields
  return Setup(steps, frames, blocks, prompts=list(prompts), tokenizer=TOKENIZER, **fields)


def inputs_of(apply, params, trajectory, texts, plan, **fields):
  """(`Network`, plan, `Sampler`, `Conditioning`) of as many steps as the trajectory has."""
  sampler = Sampler(NoiseSchedule(), len(trajectory) - 1)
  conditioning = Conditioning(texts, trajectory=trajectory, **fields)
  return Network(apply, params), plan, sampler, conditioning


def sample_plainly(predict, latents, texts, steps, guidance=7.5):
  """Guided DDIM sampling, written out.

  Args:
    predict: (latents, timestep, text) -> noise.
    latents: f[*b], of the first step.
    texts: the texts of the two halves.
    steps: number of steps.
    guidance: scale of classifier-free guidance.
  """
  schedule = NoiseSchedule()
  levels = schedule.levels(steps)
  for i, timestep in enumerate(schedule.timesteps(steps)):
    uncond, cond = (predict(latents, timestep, text) for text in texts)
    update = ddim_update(levels[i], levels[i + 1])
    latents = update(latents, latents, guide(uncond, cond, guidance))
  return latents
