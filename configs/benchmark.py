"""Speed against PyTorch: the model that comes with the package, on any machine.

  python -m experiments.benchmark --config=configs/benchmark.py --workdir=out/benchmark

Needs `pip install -e '.[parity]'`, with a PyTorch for the same device. Both have the same weights
and do the same work, in turn; nothing is timed unless they agree to 1e-3 in float32. The workdir
gets table.md, results.json, and curves.png: what frames, size, rows, steps and edits cost. About
ten minutes on 2 cores.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from configs import common

CASES = ('unet', 'inversion', 'appearance', 'motion', 'null_text', 'vae', 'end_to_end')


def get_config(size='full'):
  """All cases at the size of the sprites model."""
  config = ml_collections.ConfigDict()
  config.checkpoint = 'sprites'  # a folder or a name; '' = random weights of LaVie's size
  config.dtype = 'auto'  # see configs/common.py
  config.peer_dtype = ''  # PyTorch's, '' = the same
  # the model's size where it is not set; its numbers are random
  config.clip = ml_collections.ConfigDict()
  for name in ('frames', 'height', 'width'):
    config.clip[name] = placeholder(int)
  config.cases = CASES
  config.rows = (1, 2, 3, 5, 6)  # of the case `unet`
  config.steps = 10  # of inversion and edits
  config.null_text = {'steps': 2, 'inner_steps': 3}  # updates are never stopped early
  config.remat = False  # null-text: activations are recomputed in the backward pass, by both
  config.compiled = False  # whether torch.compile takes part
  config.repeats = 5  # timed runs of each, after those that compile
  config.curves = True
  # whether an edit of the shipped clip is started without and with its caches
  config.start_up = True
  if common.is_quick(size):
    config.repeats, config.steps = 2, 5
  return config.lock()
