"""Speed against PyTorch at LaVie's size on a GPU. Weights are random, as speed does not depend on
them.

  python -m experiments.benchmark --config=configs/benchmark_lavie.py --workdir=out/benchmark_lavie

16 x 320 x 512, 50 steps, ours in bfloat16, PyTorch in float16 with and without torch.compile.
Everything else as in configs/benchmark.py. On a CPU, in over an hour on 2 cores and with 13 GiB:

  python -m experiments.benchmark --config=configs/benchmark_lavie.py --config.clip.frames=4 \
    --config.steps=2 \
    --config.cases="('unet', 'vae', 'appearance')" --config.rows="(1, 3, 6)" --config.repeats=2 \
    --config.peer_dtype= --config.compiled=False --config.curves=False --workdir=out/benchmark_lavie
"""

from configs import benchmark, common


def get_config(size='full'):
  """All cases at LaVie's size; `quick` is small, with the same weights."""
  config = benchmark.get_config(size)
  config.checkpoint = ''
  config.peer_dtype = 'float16'
  if common.is_quick(size):
    config.clip.update(frames=8, height=128, width=128)
  else:
    config.steps = 50
  config.remat = config.compiled = True
  config.start_up = False
  return config
