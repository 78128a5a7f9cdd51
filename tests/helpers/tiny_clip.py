"""A tiny random CLIP model as `convert.clip` leaves it."""

from uniedit_jax.models.clip_image import PART, ClipConfig, ImageConfig, abstract_clip
from uniedit_jax.models.clip_text import TextConfig
from uniedit_jax.runtime import checkpoint, random_init

TINY = ClipConfig(
  TextConfig(vocabulary=514, width=16, layers=1, heads=2, mlp_width=32, bos=512, eos=513),
  ImageConfig(size=16, patch=8, width=24, layers=2, heads=2, mlp_width=32),
  width=12,
)
NAME = 'vit24_8_16'


def make_clip_model(folder):
  """Writes it, and returns `folder` as a string."""
  with checkpoint.creating(folder, TINY, random_init.byte_tokenizer(TINY.text)) as staging:
    checkpoint.save_params(staging, PART, random_init.random_params(abstract_clip(TINY)))
  return str(folder)
