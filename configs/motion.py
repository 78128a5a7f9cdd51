"""Motion editing: the object moves as the target prompt says, the rest stays.

  python -m experiments.edit --config=configs/motion.py --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.target_prompt="a cat is waving its paw" --workdir=out/motion

Three branches (reconstruction, motion reference, main); structure control steps 0-24, content
preservation (v) from block 10 on, motion injection everywhere. The paper reports 125 s on one A100,
inversion included.

A video differs from a generated clip in two ways. Its latents are found, not drawn: the
reconstruction reads the stored trajectory (`inversion.method` direct), so that what is injected is
the source's own and not what inversion and guidance made of it. And nobody wrote its prompt: give
one where you can, `--config.source_prompt="a cat on a sofa"`. The paper's null prompt works too,
but features of a null-prompted reconstruction fit a prompted edit less well (measured on sprites,
docs/sprites.md). The release edits a generated clip, whose start noise and prompt are known:
`--config.preset=release --config.generated=True --config.source_prompt=... --config.seed=42`.
"""

from configs import common


def get_config(form='full'):
  """The paper's motion edit of a video."""
  return common.edit_of_form(form, task='motion').lock()
