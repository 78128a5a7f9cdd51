"""UniEdit: tuning-free, text-guided video editing on text-to-video diffusion UNets, in JAX and
Flax.
"""

import importlib.metadata as _metadata
import os as _os

# On CPUs jaxlib 0.10 gives matrix products and convolutions to YNNPACK, which is slower at the
# UNet's sizes than the kernels that it had before (docs/performance.md: 1.3 times a whole step).
# XLA ends a process over a flag that it does not know, so other releases are left alone; what the
# user has set comes last and holds.
if _metadata.version('jaxlib').startswith('0.10.'):
  _flags = '--xla_cpu_experimental_ynn_fusion_type=', _os.environ.get('XLA_FLAGS', '')
  _os.environ['XLA_FLAGS'] = ' '.join(_flags).strip()
