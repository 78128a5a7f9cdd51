"""Comparisons: folders with the same edits made by several methods.

  <folder>/comparison.json
  <folder>/items/<edit>/source.mp4
  <folder>/items/<edit>/<method>.mp4    one of every method

comparison.json is `{"methods": {"<method>": "<title>", ...}, "edits": {"<edit>": {"task": "motion"
or "appearance", "source_prompt": "...", "target_prompt": "..."}, ...}}`. Names of methods and edits
are those of the files: letters, digits, '_', '-', '.'; not starting with '.'. The source prompt may
be ''.
"""

import dataclasses
import json
import re

from etils import epath

from uniedit_jax.runtime.faults import Faults
from uniedit_jax.runtime.files import read_json, write_text

SOURCE = 'source'  # the name of the unedited clip among those of the methods
TASKS = ('motion', 'appearance')
FIELDS = ('task', 'source_prompt', 'target_prompt')


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The content of comparison.json.

  Attributes:
    methods: {name: title}.
    edits: {name: {'task', 'source_prompt', 'target_prompt'}}.
  """

  methods: dict[str, str]
  edits: dict[str, dict[str, str]]

  def faults(self):
    """Lists its faults."""
    faults = []
    for field, names in (('methods', self.methods), ('edits', self.edits)):
      if not names:
        faults.append(f'{field} is empty; accepted: at least one')
      accepted = "letters, digits, '_', '-', '.'; not starting with '.'"
      for name in names:
        if not re.fullmatch(r'[\w-][\w.-]*', name):
          faults.append(f'{field} has {name!r}; accepted: {accepted}')
    if SOURCE in self.methods:
      faults.append(f'methods has {SOURCE!r}, the name of the source clip; accepted: another name')
    for name, title in self.methods.items():
      if not isinstance(title, str):
        faults.append(f'methods.{name} is {title!r}; accepted: a title')
    accepted = f'texts for {", ".join(FIELDS)}, with a task of {TASKS}'
    for name, edit in self.edits.items():
      texts = isinstance(edit, dict) and all(isinstance(edit.get(field), str) for field in FIELDS)
      if not (texts and edit['task'] in TASKS and edit['target_prompt'].strip()):
        faults.append(f'edits.{name} is {edit!r}; accepted: {accepted}')
    return faults


def clip_path(folder, edit, name):
  """The path of a method's clip of an edit, or of its `SOURCE`."""
  return epath.Path(folder) / 'items' / edit / f'{name}.mp4'


def write_comparison(folder, comparison):
  """Writes comparison.json; the clips are written to their `clip_path`."""
  text = json.dumps(dataclasses.asdict(comparison), indent=2, ensure_ascii=False)
  write_text(epath.Path(folder) / 'comparison.json', text)


def read_comparison(folder):
  """Reads the `Comparison` of a folder, whose clips all exist; raises ValueError of all faults."""
  path = epath.Path(folder) / 'comparison.json'
  if not path.exists():
    raise ValueError(
      f'comparison is {str(folder)!r}, which has no comparison.json; accepted: {__doc__}'
    )
  given, parts = read_json(path), ('methods', 'edits')
  if not all(isinstance(given.get(part), dict) for part in parts):
    raise ValueError(f'{path} has not the objects methods and edits; accepted: {__doc__}')
  comparison = Comparison(given['methods'], given['edits'])
  faults = Faults(comparison.faults())
  if not faults:
    names = (SOURCE, *comparison.methods)
    clips = (clip_path(folder, edit, name) for edit in comparison.edits for name in names)
    faults += [f'{clip} is missing' for clip in clips if not clip.exists()]
  faults.stop(f'the comparison in {folder} cannot be read')
  return comparison
