"""UniEdit: tuning-free, text-guided video editing on text-to-video diffusion UNets in JAX."""

import importlib
import importlib.metadata
import os

__version__ = '0.2.0'
__all__ = ['EditRequest', '__version__', 'compare', 'edit', 'edits', 'invert', 'load', 'show']

# On CPUs jaxlib 0.10 gives matrix products and convolutions to YNNPACK, which is slower at the
# UNet's sizes than the kernels that it had before (docs/performance.md: 1.3 times a whole step).
# XLA ends a process over a flag that it does not know, so other releases are left alone; what the
# user has set comes last and holds.
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  _flags = '--xla_cpu_experimental_ynn_fusion_type=', os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = ' '.join(_flags).strip()


def __getattr__(name):
  # The API is loaded when it is first used: modules of the package import in milliseconds.
  if name in __all__:
    return getattr(importlib.import_module('uniedit_jax.api'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
  return __all__
