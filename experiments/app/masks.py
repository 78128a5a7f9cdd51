"""Brushed masks: from the bits that the page hands over to files that a request can name."""

import base64
import hashlib
import json

import numpy as np

from uniedit_jax.runtime.faults import Faults

SIDES = ('source', 'target')


def to_bits(mask):
  """bool[F, H, W] as text: eight pixels a byte, the first in the highest bit, in base64."""
  return base64.b64encode(np.packbits(np.ascontiguousarray(mask).ravel()).tobytes()).decode()


def of_bits(text, size):
  """bool[F, H, W] of what `to_bits` makes; raises ValueError if it is of another size."""
  data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
  count = int(np.prod(size))
  if len(data) != -(-count // 8):
    raise ValueError(f'{len(data)} bytes; accepted: a bit for each of {count} pixels')
  return np.unpackbits(data)[:count].astype(bool).reshape(size)


def keep(text, size, folder):
  """Keeps brushed masks as files.

  Args:
    text: JSON with the bits of 'source' and 'target'.
    size: (frames, height, width).
    folder: epath.Path.

  Returns:
    dict {side: path}, '' where nothing is brushed. Equal masks have one file.

  Raises:
    FaultsError: the text holds no masks of this size.
  """
  faults, found = Faults(), {}
  given = faults.attempt(json.loads, text or '{}', field='mask.source')
  for side in SIDES:
    bits = given.get(side) if isinstance(given, dict) else ''
    mask = faults.attempt(of_bits, str(bits), size, field=f'mask.{side}') if bits else None
    if mask is None or not mask.any():
      found[side] = ''
      continue
    path = folder / f'{hashlib.sha256(np.packbits(mask)).hexdigest()[:16]}.npz'
    if not path.exists():
      path.parent.mkdir(parents=True, exist_ok=True)
      np.savez_compressed(path, masks=mask)
    found[side] = str(path)
  faults.unless(
    any(found.values()),
    "mask.source is brushed and empty; accepted: some foreground, or masks 'none' or 'found'",
  )
  faults.stop()
  return found
