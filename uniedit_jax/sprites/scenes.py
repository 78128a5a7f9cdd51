"""The sprites world: its vocabulary and captions, random scenes, and edits of them."""

import dataclasses
import math
import zlib

import numpy as np

# The attributes in the order of the caption; every value is its words there.
ATTRIBUTES = {
  'size': ('small', 'big'),
  'colour': ('red', 'green', 'blue', 'yellow', 'purple', 'white'),
  'shape': ('square', 'triangle', 'cross', 'bar'),
  'motion': (
    'standing still',
    'moving left',
    'moving right',
    'rising',
    'falling',
    'jumping',
    'spinning',
    'growing',
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
TEXTURE_STEP = 4  # pixels of a latent: moving a texture by whole steps only moves its latents
JITTER = 1


@dataclasses.dataclass(frozen=True)
class Scene:
  """A clip of the world, exactly. Lengths are in units of which a frame is 32 wide and high.

  Attributes:
    size, colour, shape, motion, place, background, style: values of `ATTRIBUTES`; the caption names
      them.
    shift: (x, y) of the object off its place, within `JITTER`; not in the caption.
    texture: (x, y) by which the background's texture is moved, 0 <= value < `TEXTURE_PERIOD`; not
      in the caption. Random scenes have multiples of `TEXTURE_STEP`.
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
    subject = f'a {self.size} {self.colour} {self.shape}'
    return f'{subject} {self.motion} {self.place} on {self.background}, {self.style}'

  @property
  def object_words(self):
    """The words of the caption that describe the object and its motion."""
    return [self.size, self.colour, self.shape, self.motion]

  @property
  def held_out(self):
    """Whether training leaves out this combination of `COMBINED`: true for a tenth of them."""
    return zlib.crc32(' '.join(getattr(self, name) for name in COMBINED).encode()) % 10 == 0


def vocabulary():
  """All words that a caption may have, sorted."""
  values = [value for values in ATTRIBUTES.values() for value in values]
  return sorted({'a', 'on', *' '.join(values).split()})


def random_scene(rng, held_out=False):
  """Draws a scene, every attribute uniformly.

  Args:
    rng: `np.random.Generator`.
    held_out: draw from the held-out combinations (True) or from the trained ones.
  """
  while True:
    attributes = {name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()}
    shift = np.round(rng.uniform(-JITTER, JITTER, 2) * (1, 0.5), 2)
    texture = TEXTURE_STEP * rng.integers(0, TEXTURE_PERIOD // TEXTURE_STEP, 2)
    scene = Scene(**attributes, shift=tuple(shift.tolist()), texture=tuple(texture.tolist()))
    if scene.held_out == held_out:
      return scene


@dataclasses.dataclass(frozen=True)
class Edit:
  """An edit with its exact answer: two scenes that differ in one attribute.

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
  """Draws an edit whose source and target are both trained combinations.

  Args:
    rng: `np.random.Generator`.
    kind: a key of `KINDS`.
  """
  attribute = KINDS[kind]
  while True:
    source = random_scene(rng)
    others = [value for value in ATTRIBUTES[attribute] if value != getattr(source, attribute)]
    change = {attribute: others[rng.integers(len(others))]}
    target = dataclasses.replace(source, **change)
    if not target.held_out:
      return Edit(kind, source, target)


def draw_edits(seed, per_kind):
  """Draws a fixed set of distinct edits, `per_kind` of each of `KINDS`.

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
