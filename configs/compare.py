"""UniEdit and what it is compared with, on the same videos: the tables of the paper.

  python -m experiments.compare --config=configs/compare.py --config.checkpoint=checkpoints/lavie \
    --config.manifest=edits.jsonl --workdir=out/compare

A line of the manifest is an edit: `{"id": "1", "task": "motion", "video": "cat.mp4",
"target_prompt": "a cat jumps"}`. It may have source_prompt, mask.source, mask.target and the fields
of its clip too, which every method gets. Methods with masks are left out unless every edit has
them. Any field of a method's edits is a flag:
`--config.setups.uniedit_paper.changes.structure.steps="(0,15)"`. What is finished is kept: the same
command goes on where it was stopped, and once `experiments.user_study` has results in
<workdir>/user_study, it puts them into the tables.
"""

import ml_collections

from configs import common

BASELINES = {
  'plain': 'Plain inversion',
  'masactrl': 'MasaCtrl',
  'tune_a_video': 'Tune-A-Video',
  'fatezero': 'FateZero',
  'tokenflow': 'TokenFlow',
  'rerender': 'Rerender-A-Video',
}
PRESETS = {
  'uniedit_paper': ('UniEdit, as in the paper', 'paper'),
  'uniedit_release': ('UniEdit, as released', 'release'),
}
OFF = (0, 0)  # steps of what is not injected


def get_config(size='full'):
  """Plain inversion, the paper's baselines, and both presets of UniEdit, without and with masks."""
  config = comparison(size)
  add_methods(config, size)
  return config.lock()


def comparison(size):
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
  few = common.is_quick(size)
  # sprites: how many of the 20 of each kind
  config.edits = {'motion': 1 if few else 8, 'appearance': 1 if few else 3}
  config.compared = ()  # methods, of those under `setups.`, in the order of the tables
  # of each method: title, whether it gets masks, the configs of its edits of either task (a file of
  # configs/ and its form, as behind --config=), and what is changed in both
  config.setups = ml_collections.ConfigDict()
  return config


def add(config, name, title, configs, masked=False, changes=None):
  """Adds a method.

  Args:
    config: ConfigDict, changed.
    name: of its files.
    title: str.
    configs: (motion, appearance), 'file:form' of the edit of either task. Checkpoint, dtype, seed,
      cache, clip and prompts are set by the comparison.
    masked: whether it gets masks.
    changes: {dotted field: value} that both edits have in place of the configs'.
  """
  config.compared = (*config.compared, name)
  fields = {'title': title, 'masked': masked, 'motion': configs[0], 'appearance': configs[1]}
  config.setups[name] = ml_collections.ConfigDict(fields | {'changes': {}})
  for field, value in (changes or {}).items():
    change(config, name, field, value)


def change(config, name, field, value):
  """Sets a dotted field of a method's edits in an unlocked config."""
  for part in reversed(field.split('.')):
    value = {part: value}
  config.setups[name].changes.update(value)


def add_methods(config, form):
  """Adds plain inversion, the paper's baselines and the presets of UniEdit.

  Args:
    config: ConfigDict, changed.
    form: of all configs.
  """
  for name, title in BASELINES.items():
    add(config, name, title, [f'baselines/{name}:{form}'] * 2)
  edits = [f'{task}:{form}' for task in common.TASKS]
  for masked in (False, True):
    for name, (title, preset) in PRESETS.items():
      name, title = name + '_masked' * masked, title + ', masks' * masked
      add(config, name, title, edits, masked, {'preset': preset})


def paper_table(form, motion, appearance=0):
  """Starts a table of configs/paper: an unlocked comparison without methods.

  Args:
    form: 'full' and 'quick' are of sprites; 'lavie' and 'lavie,quick' of a manifest, which takes a
      checkpoint too.
    motion, appearance: edits of each kind on sprites.

  Returns:
    (ConfigDict; the form of its edits; their number of steps).
  """
  is_lavie, size = common.lavie_form(form)
  config = comparison(size)
  if is_lavie:
    return config, size, 50
  config.checkpoint = 'sprites'
  most = 1 if common.is_quick(size) else max(motion, appearance)
  config.edits = {'motion': min(motion, most), 'appearance': min(appearance, most)}
  return config, f'sprites,{size}', 25


def add_setting(config, form, name, title, changes, masked=False):
  """Adds UniEdit with some of its fields changed; arguments as of `add`, `form` of both edits."""
  edits = [f'{task}:{form}' for task in common.TASKS]
  add(config, name, title, edits, masked, changes)
