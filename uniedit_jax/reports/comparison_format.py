"""Comparisons: folders with the same edits made by several methods.

  <folder>/comparison.json
  <folder>/items/<edit>/source.mp4
  <folder>/items/<edit>/<method>.mp4    one of every method

comparison.json is `{"methods": {"<method>": "<title>", ...}, "edits": {"<edit>": {"task": "motion"
or "appearance", "source_prompt": "...", "target_prompt": "..."}, ...}}`. Names of methods and edits
are those of the files: letters, digits, _, - and ., no . first. The source prompt may be ''.
"""

import dataclasses
import json
import re

from etils import epath

from uniedit_jax.runtime.files import atomic_file

SOURCE = 'source'  # the clip that is no method's
TASKS = ('motion', 'appearance')
FIELDS = ('task', 'source_prompt', 'target_prompt')


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What comparison.json says.

  Attributes:
    methods: {name: title}.
    edits: {name: {'task', 'source_prompt', 'target_prompt'}}.
  """

  methods: dict[str, str]
  edits: dict[str, dict[str, str]]

  def faults(self):
    """Lists what is wrong with it."""
    faults = []
    for what, names in (('methods', self.methods), ('edits', self.edits)):
      if not names:
        faults.append(f'{what} is empty; accepted: at least one')
      for name in names:
        if not re.fullmatch(r'[\w-][\w.-]*', name):
          faults.append(f'{what} has {name!r}; accepted: letters, digits, _, - and ., no . first')
    if SOURCE in self.methods:
      faults.append(f'methods has {SOURCE!r}, the name of the source clip; accepted: another name')
    for name, title in self.methods.items():
      if not isinstance(title, str):
        faults.append(f'methods.{name} is {title!r}; accepted: a title')
    for name, edit in self.edits.items():
      given = edit if isinstance(edit, dict) else {}
      texts = all(isinstance(given.get(field), str) for field in FIELDS)
      if not (texts and given['task'] in TASKS and given['target_prompt'].strip()):
        faults.append(
          f'edits.{name} is {edit!r}; accepted: texts for {", ".join(FIELDS)}, with a task of {TASKS}'
        )
    return faults


def clip_path(folder, edit, name):
  """The path of a method's clip of an edit, or of its `SOURCE`."""
  return epath.Path(folder) / 'items' / edit / f'{name}.mp4'


def write(folder, comparison):
  """Writes comparison.json; the clips are written to their `clip_path`."""
  with (
    atomic_file(epath.Path(folder) / 'comparison.json') as name,
    open(name, 'w', encoding='utf-8') as file,
  ):
    json.dump(dataclasses.asdict(comparison), file, indent=2, ensure_ascii=False)


def read(folder):
  """Reads a comparison.

  Args:
    folder: path.

  Returns:
    `Comparison`, all clips of which are there.

  Raises:
    ValueError: lists all faults.
  """
  path = epath.Path(folder) / 'comparison.json'
  if not path.exists():
    raise ValueError(
      f'comparison is {str(folder)!r}, which has no comparison.json; accepted: {__doc__}'
    )
  try:
    given = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path} is no JSON: {error}') from error
  if not isinstance(given, dict) or not all(
    isinstance(given.get(name), dict) for name in ('methods', 'edits')
  ):
    raise ValueError(f'{path} has not the objects methods and edits; accepted: {__doc__}')
  comparison = Comparison(given['methods'], given['edits'])
  faults = comparison.faults()
  if not faults:
    clips = (
      clip_path(folder, edit, name)
      for edit in comparison.edits
      for name in (SOURCE, *comparison.methods)
    )
    faults = [f'{clip} is missing' for clip in clips if not clip.exists()]
  if faults:
    raise ValueError(
      f'the comparison in {folder} cannot be read:\n'
      + '\n'.join(f'  - {fault}' for fault in faults)
    )
  return comparison
