"""Many edits, on all devices of all hosts: the same command on every host.

  python -m experiments.batch_edit --config=configs/batch.py --config.checkpoint=checkpoints/lavie \
    --config.manifest=edits.jsonl --workdir=out/batch

A line of the manifest is an edit: an `id` and any fields of this config, which are the heads of a
CSV: `{"id": "cat", "video": "cat.mp4", "target_prompt": "a cat is waving its paw",
"structure.steps": [0, 15]}`. What a line leaves out is as it is here. The same command goes on
where it was stopped.
"""

from configs import common


def get_config(form='full'):
  """Motion edits unless a line says otherwise; `sprites` edits the shipped clip."""
  config = common.edit_of_form(form, task='motion')
  config.manifest = ''  # jsonl or csv; or the csv of LOVEU-TGVE 2023
  config.per_device = 1  # edits that a device makes side by side
  # record edits that cannot start and make the others; False: no edit is made
  config.skip_faulty = False
  # '' = one process; 'auto': JAX finds the others (TPU slices, Slurm); else host:port of process 0
  config.coordinator = ''
  config.processes = 1  # of this run, where the coordinator is host:port
  config.process = 0  # which of them this is, where the coordinator is host:port
  return config.lock()
