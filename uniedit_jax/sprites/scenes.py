"""The sprites world: its vocabulary and captions, random scenes, and edits of them."""

import dataclasses
import math
import zlib
from typing import NamedTuple

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
OBJECT_WORDS = ('size', 'colour', 'shape', 'motion')
# The kinds of edits of the UniEdit paper, and the attribute that each of them changes.
KINDS = {
  'motion': 'motion',
  'style': 'style',
  'background': 'background',
  'rigid object': 'colour',
  'non-rigid object': 'shape',
}
PROMPTS = ('full', 'short')  # how much the prompts of an edit tell
# A combination of these five is either trained on or held out.
COMBINED = ('shape', 'colour', 'background', 'style', 'motion')
TEXTURE_PERIOD = 16
TEXTURE_STEP = 4  # pixels of a latent: moving a texture by whole steps only moves its latents
JITTER = (4.0, 1.5)  # of the object's position, x and y; places are 4 apart in y
# The light of the first and the last frame: most clips grow lighter, the others are steady.
DAWN, DAY = 0.6, 1.0
STEADY = 0.25  # share of the clips
CORNERS = ('top left', 'top right', 'bottom left', 'bottom right')
# How often a caption of training tells an attribute. Size, colour and motion need the object.
TOLD = {'size': 0.9, 'colour': 0.95, 'shape': 0.95, 'motion': 0.85}
TOLD |= dict.fromkeys(('place', 'background', 'style'), 0.5)
FULL = 0.25  # share of the captions of training that tell everything


class Bystander(NamedTuple):
  """A second object, small, which stands still in a corner behind the first.

  Attributes:
    colour, shape: values of `ATTRIBUTES`.
    corner: one of `CORNERS`.
  """

  colour: str
  shape: str
  corner: str


@dataclasses.dataclass(frozen=True)
class Scene:
  """A clip of the world, exactly. Lengths are in units of which a frame is 32 wide and high.

  Attributes:
    size, colour, shape, motion, place, background, style: values of `ATTRIBUTES`. A caption names
      all or some of them, and nothing of what follows.
    shift: (x, y) of the object off its place, within `JITTER`.
    texture: (x, y) by which the background's texture is moved, 0 <= value < `TEXTURE_PERIOD`.
      Random scenes have multiples of `TEXTURE_STEP`.
    light: of the first and of the last frame, even in between.
    bystander: `Bystander` or None.
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
  light: tuple[float, float] = (DAWN, DAY)
  bystander: Bystander | None = None

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
    """The sentence that names all attributes."""
    return self.describe(ATTRIBUTES)

  def describe(self, told):
    """The sentence that names only the attributes in `told`, in the order of the caption."""
    says = lambda name: getattr(self, name) if name in told else ''
    words = [says(name) for name in ('size', 'colour', 'shape', 'motion', 'place')]
    article = 'a' if any(words[:3]) else ''
    ground = f'on {self.background}' if 'background' in told else ''
    scene = ' '.join(filter(None, (article, *words, ground)))
    return ', '.join(filter(None, (scene, says('style'))))

  def object_words(self, told):
    """The words of `describe(told)` for the object and its motion."""
    return [getattr(self, name) for name in OBJECT_WORDS if name in told]

  @property
  def held_out(self):
    """Whether training leaves out this combination of `COMBINED`: true for a tenth of them."""
    return zlib.crc32(' '.join(getattr(self, name) for name in COMBINED).encode()) % 10 == 0


def vocabulary():
  """All words that a caption may have, sorted."""
  values = [value for values in ATTRIBUTES.values() for value in values]
  return sorted({'a', 'on', *' '.join(values).split()})


def random_scene(rng, held_out=False):
  """Draws a scene, every attribute uniformly, and all that no caption tells.

  Args:
    rng: `np.random.Generator`.
    held_out: draw from the held-out combinations (True) or from the trained ones.
  """
  while True:
    attributes = {name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()}
    scene = Scene(**attributes, **random_untold(rng, attributes['colour']))
    if scene.held_out == held_out:
      return scene


def random_untold(rng, colour):
  """Draws what no caption tells of a scene whose object has this colour: {field of `Scene`: value}.

  The bystander has another colour, so that their pixels can be told apart.
  """
  pick = lambda values: values[rng.integers(len(values))]
  shift = np.round(rng.uniform(-1, 1, 2) * JITTER, 2)
  texture = TEXTURE_STEP * rng.integers(0, TEXTURE_PERIOD // TEXTURE_STEP, 2)
  level = float(np.round(rng.uniform(DAWN, DAY), 2))
  light = (level, level) if rng.random() < STEADY else (DAWN, DAY)
  others = [other for other in ATTRIBUTES['colour'] if other != colour]
  return {
    'shift': tuple(shift.tolist()),
    'texture': tuple(texture.tolist()),
    'light': light,
    'bystander': Bystander(pick(others), pick(ATTRIBUTES['shape']), pick(CORNERS)),
  }


def random_told(rng, full=FULL):
  """Draws the attributes that a caption of training tells: a list of names, in order.

  Args:
    rng: `np.random.Generator`.
    full: share of captions that tell everything.
  """
  if rng.random() < full:
    return list(ATTRIBUTES)
  told = [name for name in ATTRIBUTES if rng.random() < TOLD[name]]
  return told if 'shape' in told else [name for name in told if name not in ('size', 'colour')]


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

  def told(self, prompts):
    """The attributes that its prompts tell: with 'short' ones, the object's and the one that
    changes; with 'full' ones, all.
    """
    return ATTRIBUTES if prompts == 'full' else {'size', 'colour', 'shape', self.attribute}


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
    hidden = source.bystander.colour == target.colour
    if not target.held_out and not hidden:
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
