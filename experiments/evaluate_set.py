r"""Tables of the measures of a set of edits that `experiments.batch_edit` made.

  python -m experiments.batch_edit --config=configs/batch.py --workdir=out/tgve \
    --config.checkpoint=checkpoints/lavie --config.manifest=LOVEU-TGVE-2023_Dataset.csv \
    --config.metrics.clip=checkpoints/clip_vitl14
  python -m experiments.evaluate_set --workdir=out/tgve

The set is one of our manifests or the csv of LOVEU-TGVE 2023. A batch writes the tables when it
ends; this command writes those of the finished edits of a folder, for example one that was gathered
from several machines. The workdir gets measures.md and measures.csv: means with intervals, separate
for motion edits and structure-preserving edits, next to those of the sources.
"""

from absl import flags

from experiments.launch import in_one_line, start, workdir_of
from uniedit_jax.reports import edit_set


def run(workdir):
  """Writes the tables; raises ValueError if the folder is not a batch's, or no edit is finished."""
  items = workdir / 'items'
  if not items.is_dir():
    raise ValueError(
      f'workdir is {str(workdir)!r}, which has no items/; '
      'accepted: a folder of experiments.batch_edit'
    )
  ids = sorted(path.name for path in items.iterdir())
  if not edit_set.write_edit_set(workdir, ids):
    raise ValueError(
      f'workdir is {str(workdir)!r}, where none of {len(ids)} edits is finished; '
      'accepted: at least one'
    )


def main(_):
  """Writes the tables, or prints what is wrong."""
  with in_one_line():
    workdir = workdir_of(flags.FLAGS['workdir'])
    run(workdir)
  print(f'{workdir / "measures.md"}\n{workdir / "measures.csv"}')


if __name__ == '__main__':
  flags.DEFINE_string('workdir', None, 'Folder that experiments.batch_edit wrote.', required=True)
  start(main)
