"""Text-and-image to video: a photo is filmed by a camera move, and what it shows is set in motion
by the prompt.

  python -m experiments.edit --config=configs/image.py --config.checkpoint=checkpoints/lavie \
    --config.image=photo.png --config.move.kind=pan \
    --config.target_prompt="a cat is waving its paw" --workdir=out/image

Text-and-image to video of the paper (TI2V): the clip that the camera makes is edited as any other.
`--config.task=appearance` changes the look of what it shows. A clip that SVD or AnimateDiff made
elsewhere is just a `--config.video`.
"""

from configs import common


def get_config(form='full'):
  """The paper's motion edit, of a photo that the camera zooms into."""
  return common.edit_of_form(form, task='motion').lock()
