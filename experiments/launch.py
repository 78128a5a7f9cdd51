"""What the commands that leave a workdir share: flags, early faults, and DONE at the end."""

import gc
import sys

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from uniedit_jax.pipeline.sources import fingerprints
from uniedit_jax.runtime.workdir import begin, mark_done


def define_flags():
  """Defines --config and --workdir, both required."""
  config = config_flags.DEFINE_config_file('config', lock_config=True)
  flags.mark_flag_as_required('config')
  return config, flags.DEFINE_string(
    'workdir', None, 'Folder for all that the run leaves behind.', required=True
  )


def launch(read, run, results, resolve=lambda edit: edit.as_tree(), clears=True):
  """Defines --config and --workdir, and runs unless the folder holds this very run already.

  Args:
    read: config -> request; raises ValueError with all faults.
    run: (request, workdir) -> anything.
    results: names of the files in the workdir that the user is pointed to.
    resolve: request -> dict for config.json, all that the results depend on.
    clears: as in `workdir.begin`.
  """
  config_flag, workdir_flag = define_flags()

  def main(_):
    logging.set_verbosity(logging.WARNING)
    gc.freeze()  # what is imported stays: collections during tracing need not walk it
    workdir = epath.Path(workdir_flag.value).expanduser()
    try:
      request = read(config_flag.value)
      config = resolve(request)
      unfinished = begin(workdir, config, fingerprints(config), clears)
    except ValueError as error:
      sys.exit(f'{error}')
    if unfinished:
      run(request, workdir)
      mark_done(workdir)
    print('\n'.join(str(workdir / name) for name in results))

  app.run(main)
