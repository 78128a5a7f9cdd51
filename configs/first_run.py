"""A motion edit that needs no weights and no video: a small random model edits a clip that it generates itself.

  python -m experiments.random_checkpoint --size=small --out=checkpoints/small
  python -m experiments.edit --config=configs/first_run.py --workdir=out/first_run

It shows that everything runs and what a run leaves behind; with random weights the clips are coloured noise.
"""

from configs import common


def get_config():
  """A motion edit of a generated clip with all the release's injections, in 10 steps."""
  config = common.edit(task='motion', preset='release')
  config.checkpoint = 'checkpoints/small'
  config.generated = True
  config.source_prompt = 'a cat on the lawn'
  config.target_prompt = 'a cat on the lawn is jumping'
  config.steps = 10
  return config
