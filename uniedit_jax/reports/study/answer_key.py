"""The key of a study: what the opaque names on its page stand for. Raters never see it."""

import dataclasses
import functools
import itertools
import secrets

from etils import epath

from uniedit_jax.runtime.files import read_json
from uniedit_jax.runtime.workdir import write_json

MODES = ('scores', 'pairs')
FILE = 'key.json'


@dataclasses.dataclass(frozen=True)
class Key:
  """The questions of a study.

  Attributes:
    study: opaque name of the study.
    modes: of `MODES`; 'scores': a clip is scored, 'pairs': the better one of two is chosen.
    methods: {name: title}.
    edits: {name: dict}, as in `comparison_format.Comparison`.
    clips: {opaque name: (edit, method)}, sorted by the names, that is, shuffled.
    against: the method that each pair has one clip of, or '' for all pairs.
  """

  study: str
  modes: tuple[str, ...]
  methods: dict[str, str]
  edits: dict[str, dict[str, str]]
  clips: dict[str, tuple[str, str]]
  against: str = ''

  @functools.cached_property
  def pairs(self):
    """The pairs that raters are asked about, each a sorted pair of opaque names."""
    if 'pairs' not in self.modes:
      return []
    return [pair for pair in itertools.combinations(sorted(self.clips), 2) if self._asks(*pair)]

  def _asks(self, one, other):
    """Whether two clips are of the same edit, and one of them by `against`, if that is set."""
    (edit, method), (other_edit, other_method) = self.clips[one], self.clips[other]
    return edit == other_edit and self.against in ('', method, other_method)


def draw_key(comparison, modes=MODES, against=''):
  """Draws the opaque names of a new study: `Key`. Nothing public leads from them to the methods.

  Args:
    comparison: `comparison_format.Comparison`.
    modes: some of `MODES`.
    against: a method, or ''.

  Raises:
    ValueError: there is no such mode or method, or there are no pairs.
  """
  faults, methods = [], list(comparison.methods)
  if not modes or not set(modes) <= set(MODES):
    faults.append(f'mode is {",".join(modes)!r}; accepted: some of {", ".join(MODES)}')
  if against and against not in methods:
    faults.append(f'against is {against!r}; accepted: one of {", ".join(methods)}')
  if 'pairs' in modes and len(methods) < 2:
    faults.append(
      f'mode has pairs, but the comparison has one method, {methods[0]!r}; '
      'accepted: two or more, or scores'
    )
  if faults:
    raise ValueError('; '.join(faults))
  clips = list(itertools.product(comparison.edits, methods))
  names = set()
  while len(names) < len(clips):
    names.add(secrets.token_hex(4))
  drawn = dict(sorted(zip(names, clips, strict=True)))
  modes = tuple(mode for mode in MODES if mode in modes)
  return Key(secrets.token_hex(8), modes, comparison.methods, comparison.edits, drawn, against)


def write_key(folder, key):
  """Writes key.json."""
  write_json(epath.Path(folder) / FILE, dataclasses.asdict(key))


def read_key(folder):
  """Reads key.json; raises ValueError if there is none, or another file."""
  path = epath.Path(folder) / FILE
  if not path.exists():
    raise ValueError(
      f'{path} does not exist; accepted: the folder of a study, made with --comparison'
    )
  given, known = read_json(path), [field.name for field in dataclasses.fields(Key)]
  try:
    clips = {name: (edit, method) for name, (edit, method) in given['clips'].items()}
    key = Key(**{**given, 'modes': tuple(given['modes']), 'clips': clips})
    sound = set(key.modes) <= set(MODES) and isinstance(key.study, str)
    sound &= all(edit in key.edits and method in key.methods for edit, method in clips.values())
  except (AttributeError, KeyError, TypeError, ValueError):
    sound = False
  if not sound:
    raise ValueError(f'{path} is no key of a study; accepted: one with {", ".join(known)}')
  return key
