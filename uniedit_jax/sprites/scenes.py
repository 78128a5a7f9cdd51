"""What can be in a clip of the sprites world: the vocabulary, captions, random scenes, and edits of
them.
"""

import dataclasses
import math
import zlib

import numpy as np

# What a scene is said to be, in the order of the caption. Every value is the words that name it
# there.
ATTRIBUTES = {
  'size': ('small', 'big'),
  'colour': ('red', 'green', 'blue', 'yellow', 'purple', 'white'),
  'shape': ('square', 'triangle', 'cross', 'bar'),
  'motion': (
    *('standing still', 'moving left', 'moving right', 'rising', 'falling'),
    *('jumping', 'spinning', 'growing'),
  ),
  'place': ('at the top', 'in the middle', 'at the bottom'),
  'background': ('grass', 'bricks', 'water', 'sand'),
  'style': ('photo', 'night', 'sunset', 'sketch'),
}
# The kinds of edits of the UniEdit paper, and the attribute that each of them changes.
KINDS = {
  'motion': 'motion',
  'style': 'style',
  'background': 'background',
  'rigid object': 'colour',
  'non-rigid object': 'shape',
}
# A combination of these five is either trained on or held out.
COMBINED = ('shape', 'colour', 'background', 'style', 'motion')
TEXTURE_PERIOD = 16
TEXTURE_STEP = 4  # a latent covers as many pixels, so a moved texture is the same latents elsewhere
JITTER = 1


@dataclasses.dataclass(frozen=True)
class Scene:
  """A clip of the world, exactly. Lengths are in units of which a frame is 32 wide and high.

  Attributes:
    size, colour, shape, motion, place, background, style: values of `ATTRIBUTES`; the caption names
      them.
    shift: (x, y) of the object off its place, within `JITTER`; the caption does not tell.
    texture: (x, y) by which the background's texture is moved, 0 <= value < `TEXTURE_PERIOD`; nor
      this. Random scenes have multiples of `TEXTURE_STEP`.
  """

  size: str = 'big'
  colour: str = 'red'
  shape: str = 'square'
  motion: str = 'standing still'
  place: str = 'in the middle'
  background: str = 'grass'
  style: str = 'photo'
  shift: tuple[float, float] = (0.0, 0.0)
  texture: tuple[int, int] = (0, 0)

  def __post_init__(self):
    faults = [
      f'{name} is {getattr(self, name)!r}; accepted: {", ".join(map(repr, values))}'
      for name, values in ATTRIBUTES.items()
      if getattr(self, name) not in values
    ]
    if faults:
      raise ValueError('; '.join(faults))

  @property
  def caption(self):
    """The sentence the model is trained with."""
    return f'a {self.size} {self.colour} {self.shape} {self.motion} {self.place} on {self.background}, {self.style}'

  @property
  def object_words(self):
    """The words of the caption that speak of the object: what it is like and what it does."""
    return [self.size, self.colour, self.shape, self.motion]

  @property
  def held_out(self):
    """Whether the model never saw this combination of `COMBINED`: true for a tenth of them."""
    return zlib.crc32(' '.join(getattr(self, name) for name in COMBINED).encode()) % 10 == 0


def vocabulary():
  """All words that a caption may have, sorted."""
  words = {
    'a',
    'on',
    *(word for values in ATTRIBUTES.values() for value in values for word in value.split()),
  }
  return sorted(words)


def random_scene(rng, held_out=False):
  """Draws a scene, every attribute uniformly.

  Args:
    rng: `np.random.Generator`.
    held_out: draw among the combinations that are held out (True), or among those that are trained
      on.
  """
  while True:
    scene = Scene(
      **{name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()},
      shift=tuple(float(x) for x in np.round(rng.uniform(-JITTER, JITTER, 2) * (1, 0.5), 2)),
      texture=tuple(
        int(x) for x in TEXTURE_STEP * rng.integers(0, TEXTURE_PERIOD // TEXTURE_STEP, 2)
      ),
    )
    if scene.held_out == held_out:
      return scene


@dataclasses.dataclass(frozen=True)
class Edit:
  """An edit with its right answer: two scenes that differ in one attribute.

  Attributes:
    kind: a key of `KINDS`.
    source, target: `Scene`.
  """

  kind: str
  source: Scene
  target: Scene

  @property
  def attribute(self):
    """The attribute that changes."""
    return KINDS[self.kind]


def random_edit(rng, kind):
  """Draws an edit; source and target are both combinations that are trained on.

  Args:
    rng: `np.random.Generator`.
    kind: a key of `KINDS`.
  """
  attribute = KINDS[kind]
  while True:
    source = random_scene(rng)
    others = [value for value in ATTRIBUTES[attribute] if value != getattr(source, attribute)]
    target = dataclasses.replace(source, **{attribute: others[rng.integers(len(others))]})
    if not target.held_out:
      return Edit(kind, source, target)


def draw_edits(seed, per_kind):
  """A fixed set of edits, `per_kind` of each of `KINDS`; no two of them are equal.

  Args:
    seed: int; another seed gives another set.
    per_kind: int.

  Returns:
    list of `Edit`, by kind.
  """
  rng = np.random.default_rng(seed)
  edits = {}
  for kind in KINDS:
    wanted = len(edits) + per_kind
    while len(edits) < wanted:
      edits[random_edit(rng, kind)] = None
  return list(edits)


def combinations():
  """Number of combinations of `COMBINED`."""
  return math.prod(len(ATTRIBUTES[name]) for name in COMBINED)
