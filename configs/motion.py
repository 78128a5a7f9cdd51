"""Motion editing: the object moves as the target prompt says, the rest stays.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.target_prompt="a cat is waving its paw" --workdir=out/motion

Three branches (reconstruction, motion reference, main); structure control steps 0-24, content preservation (v) from
block 10 on, motion injection everywhere. For a video the reconstruction is null-prompted. The paper reports 125 s on
one A100, inversion included. The release edits a generated clip:
`--config.preset=release --config.generated=True --config.source_prompt=... --config.seed=42`.
"""

from configs import common


def get_config():
  """The paper's motion edit of a video."""
  return common.edit(task='motion', preset='paper')
