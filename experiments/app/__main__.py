"""A local page on which clips are dropped, edited and edited again.

  python -m experiments.app
  python -m experiments.app --config=configs/motion.py --config.checkpoint=checkpoints/lavie

Needs the extra `app`. Without a checkpoint it starts on the bundled model and clip. docs/app.md
shows the page.
"""

import pathlib
import threading

from absl import flags
from ml_collections import config_flags

from experiments import launch
from experiments.app import serve
from uniedit_jax.runtime import progress

DEFAULT = pathlib.Path(__file__).parents[2] / 'configs/sprites_motion.py'
CONFIG = config_flags.DEFINE_config_file(
  'config', str(DEFAULT), 'What the page starts with.', lock_config=True
)
WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of uploads and edits; without it a temporary one.'
)
HOST = flags.DEFINE_string('host', serve.HOST, 'Address to listen on; others may then edit too.')
PORT = flags.DEFINE_integer('port', None, 'Port; the first free one from 7860 on.', 1, 65535)
SHARE = flags.DEFINE_bool('share', False, 'A public address, by a server of gradio.')
MEGABYTES = flags.DEFINE_integer('megabytes', serve.MEGABYTES, 'The largest upload.', 1)


def main(_):
  """Starts the page, and waits to be stopped."""
  with launch.in_one_line():
    folder = serve.make_folder(WORKDIR.value)
    serve.set_up(folder)
    from experiments.app import form  # the model's libraries, after what may be wrong at once

    start = form.read_start(CONFIG.value)
    app = serve.launch(
      start,
      folder,
      host=HOST.value,
      port=PORT.value,
      share=SHARE.value,
      megabytes=MEGABYTES.value,
    )
    progress.announce(f'{app.address}  (uploads and edits are kept in {folder}; Ctrl-C ends)')
    try:
      threading.Event().wait()
    finally:
      app.page.close(verbose=False)


if __name__ == '__main__':
  launch.start(main)
