"""A user study of a comparison: makes the page for raters, and sums up their answers.

  python -m experiments.user_study --comparison=out/compare --workdir=out/compare/user_study
  python -m experiments.user_study --workdir=out/compare/user_study answers/*.json

The first command leaves study.html for raters: one self-contained file (above 50 MB its clips lie
in clips/ next to it) that hides which method made a clip, keeps the answers in the browser, and
saves them as a file. It also leaves key.json, which is not for raters: what the names in these
files stand for. The second prints means with 95 % intervals and writes results.md, .csv and .json.
A comparison is what `experiments.compare` leaves, or any folder of the same format
(uniedit_jax/reports/comparison_format.py).
"""

from absl import flags
from etils import epath

from experiments.launch import in_one_line, places, start
from uniedit_jax.reports.comparison_format import read_comparison
from uniedit_jax.reports.study import answer_key, answers, page

FLAGS = flags.FLAGS
flags.DEFINE_string('workdir', None, 'Folder of the study.', required=True)
flags.DEFINE_string('comparison', '', 'Folder of the comparison that a new study is made of.')
flags.DEFINE_list(
  'mode',
  list(answer_key.MODES),
  'scores: each clip gets two, from 1 to 5; pairs: the better of two; or both.',
)
flags.DEFINE_string('against', '', 'Method that every pair has one clip of; empty: all pairs.')
flags.DEFINE_integer(
  'questions', 40, 'Most questions of each mode to a rater, drawn by lot; 0: all.', lower_bound=0
)


def main(arguments):
  """Makes a study, or sums up the answers."""
  workdir, paths = epath.Path(FLAGS.workdir).expanduser(), arguments[1:]
  with in_one_line():
    if bool(FLAGS.comparison) == bool(paths):
      raise ValueError(
        f'given are {len(paths)} files of answers and --comparison={FLAGS.comparison!r}; '
        'accepted: --comparison to make a study, or files to sum up'
      )
    if paths:
      print(answers.write_results(workdir, paths, answer_key.read_key(workdir)))
    else:
      make_study(workdir)


def make_study(workdir):
  """Writes the page and the key of a new study."""
  key_path = workdir / answer_key.FILE
  if key_path.exists():
    raise ValueError(
      f'workdir {workdir} holds a study, whose answers would lose their key; '
      'accepted: another folder'
    )
  key = answer_key.draw_key(read_comparison(FLAGS.comparison), FLAGS.mode, FLAGS.against)
  page.write_study(workdir / 'study.html', key, FLAGS.comparison, FLAGS.questions)
  answer_key.write_key(workdir, key)
  (page_address,) = places(workdir, ['study.html'])
  clips = ', with clips/ next to it' if (workdir / page.CLIPS).exists() else ''
  print(f'{page_address}: for raters{clips}\n{key_path}: keep it, and keep it from raters')


if __name__ == '__main__':
  start(main)
