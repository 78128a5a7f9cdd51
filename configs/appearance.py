"""Appearance editing: another style, object or background; motion and layout stay.

  python -m experiments.edit --config=configs/appearance.py --config.checkpoint=checkpoints/lavie \
    --config.video=clip.mp4 --config.target_prompt="a cat, oil painting" --workdir=out/appearance

Two branches (reconstruction, main) and structure control in steps 0-24. The paper reports 95 s on
one A100, inversion included. The release: `--config.preset=release
--config.inversion.method=null_text`.
"""

from configs import common


def get_config(form='full'):
  """The paper's appearance edit of a video."""
  return common.edit_of_form(form, task='appearance').lock()
