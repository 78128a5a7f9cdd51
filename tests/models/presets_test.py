"""The sizes of known models are those of the originals."""

import dataclasses

import jax
import pytest

from tests.helpers import reference
from uniedit_jax.models import presets
from uniedit_jax.models.config import PARTS, ModelConfig, abstract_params
from uniedit_jax.models.presets import LAVIE, OPEN_CLIP_H, SMALL


@pytest.mark.parametrize(
  'config, sizes',
  [
    # The UNet's checkpoint has 16 more tensors of 16 rotary frequencies, which are computed here.
    (LAVIE, {'unet': (909_124_100, 814), 'vae': (83_653_863, 248), 'text': (123_060_480, 196)}),
    (SMALL, {'unet': (10_295_300, 812), 'vae': (1_028_935, 180), 'text': (104_896, 36)}),
  ],
  ids=['lavie', 'small'],
)
def test_parameters_and_tensors_of_each_part(config, sizes):
  leaves = {part: jax.tree.leaves(abstract_params(config, part)) for part in PARTS}
  found = {part: (sum(leaf.size for leaf in leaves[part]), len(leaves[part])) for part in PARTS}
  assert found == sizes


def test_parameters_of_open_clip():
  config = dataclasses.replace(
    LAVIE,
    text=OPEN_CLIP_H,
    unet=dataclasses.replace(LAVIE.unet, text_width=OPEN_CLIP_H.width),
  )
  leaves = jax.tree.leaves(abstract_params(config, 'text'))
  assert (sum(leaf.size for leaf in leaves), len(leaves)) == (340_387_840, 372)


@pytest.mark.parametrize(
  'name, sizes',
  [
    ('MODELSCOPE_UNET', (1_411_233_860, 1480)),
    ('VIDEOCRAFTER2_UNET', (1_413_284_420, 1484)),
    # Stable Diffusion 1.5, 859,520,964; the trained tensors of the motion modules, 417,137,600 and
    # 453,209,280 with a middle one; a table of positions for each SA-T, with no number trained.
    ('ANIMATEDIFF_UNET', (859_520_964 + 417_137_600 + 1_126_400, 686 + 520 + 40)),
    ('ANIMATEDIFF_V1_UNET', (859_520_964 + 417_137_600 + 844_800, 686 + 520 + 40)),
    ('ANIMATEDIFF_V2_UNET', (859_520_964 + 453_209_280 + 1_208_320, 686 + 546 + 42)),
  ],
)
def test_parameters_and_tensors_of_other_unets(name, sizes):
  leaves = jax.tree.leaves(reference.abstract_params(getattr(presets, name)))
  assert (sum(leaf.size for leaf in leaves), len(leaves)) == sizes


def test_lavie_is_the_default():
  assert ModelConfig() == LAVIE
  assert (LAVIE.vae.factor, LAVIE.unet.blocks) == (8, 16)
