"""The limits of agreement, in one place; loosening one needs a reason next to it."""

import numpy as np

EXACT = 0.0
# Powers of signal and noise, relative or of one: the originals multiply in other orders, one of
# them in float64.
LEVEL = 3e-6
COEFFICIENT = 3e-6  # of a step between two such levels
MODULE = 1e-6  # one module, float32
VAE_TEXT = 1e-5  # VAE, text tower and CLIP's features against diffusers and transformers
MODULE_TORCH = 1e-5  # one module of the UNet against PyTorch
UNET = 3e-5  # the UNet, and one step with routing
EDIT = 2e-4  # a whole edit
NULL_TEXT_LOSS = 1e-4  # relative, of every inner loss
NULL_TEXT = 5e-4  # latents after null-text sampling
BF16 = 2e-2


def agreement(actual, reference):
  """max |difference| over the array / standard deviation of the reference."""
  actual, reference = np.asarray(actual, np.float64), np.asarray(reference, np.float64)
  assert actual.shape == reference.shape, (actual.shape, reference.shape)
  return np.abs(actual - reference).max() / reference.std()
