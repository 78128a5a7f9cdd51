"""Edits a clip, and then the edit: a motion edit and an appearance edit, each in a folder of its
own.

  python -m experiments.chain --config=configs/chain.py --config.motion.checkpoint=... --config.motion.video=clip.mp4 \
    --config.motion.target_prompt="..." --config.appearance.target_prompt="..." --workdir=out

<workdir>/motion and <workdir>/appearance get what experiments.edit leaves; what is finished is not made again.
"""

from etils import epath

from experiments import edit, progress
from experiments.launch import launch
from experiments.requests.edit import read_edit, resolve
from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.workdir import begin, mark_done


def read_chain(config):
  """Checks both edits before the first begins; the `Request` of the first.

  Raises:
    ValueError: lists all faults.
  """
  faults = Faults()
  first = faults.attempt(read_edit, config.motion, field='motion')
  source = config.appearance.video or config.appearance.image or config.appearance.generated
  faults.unless(
    not source,
    'appearance.video, image or generated is set; accepted: none, as it edits the first edit',
  )
  faults.unless(
    config.motion.outputs.frames,
    'motion.outputs.frames is False; accepted: True, as they are edited next',
  )
  # of the same size; where it is a photo or generated, the second is checked in its turn
  if config.motion.video:
    stand_in = config.appearance.copy_and_resolve_references()
    stand_in.video, stand_in.clip = config.motion.video, config.motion.clip
    faults.attempt(read_edit, stand_in, field='appearance')
  faults.stop()
  return first


def resolve_chain(config, request):
  """The config as a dict for config.json."""
  return {'motion': resolve(config.motion, request), 'appearance': config.appearance.to_dict()}


def run(config, request, workdir):
  """Runs both edits; what the first made is the second's clip, frame by frame."""
  workdir, second = epath.Path(workdir), config.appearance.copy_and_resolve_references()
  second.video = str(workdir / 'motion' / 'frames')
  for name in ('frames', 'height', 'width'):
    second.clip[name] = request.clip[name]
  _run_once(config.motion, request, workdir / 'motion')
  _run_once(second, read_edit(second), workdir / 'appearance')


def _run_once(config, request, workdir):
  if begin(workdir, resolve(config, request)):
    progress.announce(f'{config.task} edit')
    edit.run(config, request, workdir)
    mark_done(workdir)


if __name__ == '__main__':
  launch(read_chain, run, ['motion/report.html', 'appearance/report.html'], resolve_chain)
