"""The Python API of the package, for configs: `load` and `invert` take a ConfigDict as well.

config = sprites_motion.get_config()
source = api.invert(api.load(config), config)
edited = api.edit(source)
"""

import ml_collections

import uniedit_jax
from experiments.requests.edit import request_of
from uniedit_jax.api import Edit, Inverted, Page, compare, edit, edits, show

__all__ = ['Edit', 'Inverted', 'Page', 'compare', 'edit', 'edits', 'invert', 'load', 'show']


def load(config):
  """Loads the checkpoint of a config, or of a name or folder: `checkpoint.Model`."""
  if not isinstance(config, ml_collections.ConfigDict):
    return uniedit_jax.load(config)
  return uniedit_jax.load(config.checkpoint, config.dtype, config.cache)


def invert(model, config):
  """`uniedit_jax.invert` of the ConfigDict of an edit, or of an `EditRequest`."""
  is_config = isinstance(config, ml_collections.ConfigDict)
  return uniedit_jax.invert(model, request_of(config) if is_config else config)
