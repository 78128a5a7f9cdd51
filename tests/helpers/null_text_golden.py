"""Null-text optimisation of a golden in a process: `python -m tests.helpers.null_text_golden`.

Arguments: NAME EPSILON OUT.npz.

Programs of the tests compile fast and run slowly, and this one runs for minutes that way.
"""

import sys

import jax
import numpy as np

from tests.helpers import reference
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.inversion import optimise_null_text
from uniedit_jax.method.sampling import Sampler


def main(name, epsilon, path):
  """Writes losses, texts and latents to an npz."""
  jax.config.update('jax_default_matmul_precision', 'highest')
  params = reference.golden_params('unet_small', reference.SMALL)
  model = reference.Model(reference.SMALL, params, remat=True)
  numbers = reference.golden(name)
  null, text = numbers['text']
  found = optimise_null_text(
    model.denoise,
    model.params,
    reference.from_torch(numbers['trajectory'][:, 0]),
    text,
    null,
    Sampler(NoiseSchedule(), len(numbers['trajectory']) - 1),
    inner_steps=5,
    epsilon=float(epsilon),
  )
  np.savez(path, losses=found.losses, texts=found.texts, latents=found.latents)


if __name__ == '__main__':
  main(*sys.argv[1:])
