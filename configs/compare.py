"""UniEdit and what it is compared with, on the same videos: the tables of the paper.

  python -m experiments.compare --config=configs/compare.py --config.checkpoint=checkpoints/lavie \
    --config.manifest=edits.jsonl --workdir=out/compare

A line of the manifest is an edit: `{"id": "1", "task": "motion", "video": "cat.mp4",
"target_prompt": "a cat jumps"}`. It may have source_prompt, mask.source, mask.target and the fields
of its clip too, which every method gets. Methods with masks are left out unless every edit has
them. What is finished is kept: the same command goes on where it was stopped, and once
`experiments.user_study` has results in <workdir>/user_study, it puts them into the tables.
"""

import ml_collections

from configs import common
from configs.baselines import fatezero, masactrl, plain, rerender, tokenflow, tune_a_video

BASELINES = {
  'plain': ('Plain inversion', plain),
  'masactrl': ('MasaCtrl', masactrl),
  'tune_a_video': ('Tune-A-Video', tune_a_video),
  'fatezero': ('FateZero', fatezero),
  'tokenflow': ('TokenFlow', tokenflow),
  'rerender': ('Rerender-A-Video', rerender),
}
PRESETS = {
  'uniedit_paper': ('UniEdit, as in the paper', 'paper'),
  'uniedit_release': ('UniEdit, as released', 'release'),
}


def get_config(size='full'):
  """Plain inversion, the paper's baselines, and both presets of UniEdit, without and with masks."""
  config = comparison()
  add_methods(config, lambda task: common.edit(task, 'paper'), 'full')
  return common.sized(config, size)


def comparison():
  """A comparison without methods."""
  config = ml_collections.ConfigDict()
  config.checkpoint = ''  # of all methods: a folder, or a name
  config.dtype = 'auto'
  config.seed = 0
  # compiled programs; inversions are made anew, as they are part of the cost
  config.cache = '~/.cache/uniedit_jax'
  # jsonl or csv of the edits; '' = edits of the sprites world, whose right answers are known
  config.manifest = ''
  config.split = 'benchmark'  # sprites: which edits; or 'validation'
  config.edits = {'motion': 8, 'appearance': 3}  # sprites: how many of the 20 of each kind
  config.compared = ()  # methods, of those under `setups.`, in the order of the tables
  # of each method: title, whether it gets masks, and its edit of either task (motion, appearance)
  # as a config
  config.setups = ml_collections.ConfigDict()
  return config


def add(config, name, title, motion, appearance=None, masked=False):
  """Adds a method.

  Args:
    config: ConfigDict, changed.
    name: of its files.
    title: str.
    motion, appearance: config of its edit of either task; one for both if there is no second.
      Checkpoint, dtype, seed, cache, clip and prompts are set by the comparison.
    masked: whether it gets masks.
  """
  config.compared = (*config.compared, name)
  appearance = motion if appearance is None else appearance
  config.setups[name] = ml_collections.ConfigDict({'title': title, 'masked': masked})
  config.setups[name].motion = motion.copy_and_resolve_references()
  config.setups[name].appearance = appearance.copy_and_resolve_references()


def add_methods(config, edit, form):
  """Adds plain inversion, the paper's baselines and the presets of UniEdit.

  Args:
    config: ConfigDict, changed.
    edit: task -> config of an edit with the preset 'paper'.
    form: of the baselines' configs, 'full' or 'sprites'.
  """
  for name, (title, module) in BASELINES.items():
    add(config, name, title, module.get_config(form))
  for masked in (False, True):
    for name, (title, preset) in PRESETS.items():
      edits = [edit(task) for task in common.TASKS]
      for one in edits:
        one.preset = preset
      add(config, name + '_masked' * masked, title + ', masks' * masked, *edits, masked=masked)
