"""What tests of the comparison methods share."""

from uniedit_jax.baselines.method import Setup
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.models.tokenizers import WordTokenizer

WORDS = ['a', 'cat', 'dog', 'red', 'on', 'grass', 'painting', 'of']
TOKENIZER = WordTokenizer(WORDS, TextConfig(vocabulary=10, positions=7, bos=8, eos=9))
TEXTS = ['null', 'source', 'target']  # the names of the three prompts


def setup_of(
  steps=4, frames=3, blocks=16, prompts=('', 'a cat on grass', 'a red dog on grass'), **fields
):
  """A `Setup` with the texts null, source, target; the inversion is unconditional unless told
  otherwise.
  """
  known = dict(uncond=0, source=1, inverted=0, target=2, seed=0)
  return Setup(steps, frames, blocks, prompts=list(prompts), tokenizer=TOKENIZER, **known | fields)
