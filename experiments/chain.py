"""Edits a clip, and then the edit: a motion edit and an appearance edit, each in its own folder.

  python -m experiments.chain --config=configs/chain.py --config.motion.checkpoint=... \
    --config.motion.video=clip.mp4 --config.motion.target_prompt="..." \
    --config.appearance.target_prompt="..." --workdir=out

<workdir>/motion and <workdir>/appearance get what experiments.edit leaves; what is finished is not
made again.
"""

from etils import epath

from experiments import edit as edit_command
from experiments.launch import launch
from experiments.requests.chain import check_second, read_chain, resolve_chain
from uniedit_jax.pipeline.sources import fingerprints
from uniedit_jax.reports.verdict import read_end
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.workdir import begin, mark_done


def run(chain, workdir):
  """Runs both edits; what the first made is the second's clip, frame by frame."""
  workdir = epath.Path(workdir)
  _run_once(chain.first, workdir / 'motion')
  _run_once(check_second(chain, str(workdir / 'motion' / 'frames')), workdir / 'appearance')


def _run_once(edit, workdir):
  config = edit.as_tree()
  if begin(workdir, config, fingerprints(config)):
    progress.announce(f'{edit.request.task} edit')
    edit_command.run(edit, workdir)
    mark_done(workdir)


if __name__ == '__main__':
  tell = lambda workdir: read_end(workdir / 'appearance')
  pages = ['motion/report.html', 'appearance/report.html']
  launch(read_chain, run, pages, resolve_chain, tell=tell)
