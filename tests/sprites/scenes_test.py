"""The world's vocabulary, its held-out combinations, and edits with exact answers."""

import dataclasses
import itertools

import numpy as np
import pytest

from uniedit_jax.sprites import scenes
from uniedit_jax.sprites.scenes import ATTRIBUTES, COMBINED, KINDS, Scene


def combinations():
  for values in itertools.product(*map(ATTRIBUTES.get, COMBINED)):
    yield dict(zip(COMBINED, values, strict=True))


def test_a_tenth_of_the_combinations_is_held_out():
  held_out = [Scene(**combination).held_out for combination in combinations()]
  assert (sum(held_out), len(held_out)) == (296, scenes.combinations())


def test_every_value_is_held_out_in_some_combinations_and_trained_in_others():
  for name in COMBINED:
    for value in ATTRIBUTES[name]:
      share = np.mean([Scene(**c).held_out for c in combinations() if c[name] == value])
      assert 0.05 < share < 0.15, (name, value)


def test_nothing_else_decides_what_is_held_out(rng):
  for combination in itertools.islice(combinations(), 0, None, 31):
    others = {
      name: rng.choice(ATTRIBUTES[name]).item() for name in ATTRIBUTES.keys() - combination.keys()
    }
    moved = Scene(**combination, **others, shift=(1.0, -0.5), texture=(3, 4))
    assert moved.held_out == Scene(**combination).held_out


@pytest.mark.parametrize('held_out', [False, True])
def test_random_scenes(rng, held_out):
  drawn = [scenes.random_scene(rng, held_out) for _ in range(300)]
  assert {scene.held_out for scene in drawn} == {held_out}
  for name, values in ATTRIBUTES.items():
    assert {getattr(scene, name) for scene in drawn} == set(values)
  shifts = np.array([scene.shift for scene in drawn])
  assert (np.abs(shifts) <= (scenes.JITTER, scenes.JITTER / 2)).all()
  assert (np.abs(shifts).max(0) > (0.9 * scenes.JITTER, 0.45 * scenes.JITTER)).all()
  offsets = range(0, scenes.TEXTURE_PERIOD, scenes.TEXTURE_STEP)
  assert {offset for scene in drawn for offset in scene.texture} == set(offsets)


def test_edits_change_one_attribute():
  edits = scenes.draw_edits(0, 40)
  assert [edit.kind for edit in edits] == [kind for kind in KINDS for _ in range(40)]
  for edit in edits:
    source, target = dataclasses.asdict(edit.source), dataclasses.asdict(edit.target)
    changed = [name for name in source if source[name] != target[name]]
    assert changed == [edit.attribute] == [KINDS[edit.kind]]
    assert not edit.source.held_out and not edit.target.held_out


def test_edits_are_distinct_and_the_seed_decides_them():
  edits = scenes.draw_edits(0, 40)
  assert len(set(edits)) == len(edits)
  assert scenes.draw_edits(0, 40) == edits
  assert not set(scenes.draw_edits(1, 40)) & set(edits)


def test_every_edit_of_an_attribute_is_drawn():
  edits = scenes.draw_edits(0, 400)
  for kind, name in KINDS.items():
    pairs = {(getattr(e.source, name), getattr(e.target, name)) for e in edits if e.kind == kind}
    assert pairs == set(itertools.permutations(ATTRIBUTES[name], 2))


def test_captions_have_at_most_14_words_of_the_vocabulary():
  rows = itertools.product(*ATTRIBUTES.values())
  captions = {Scene(*row).caption for row in rows}
  assert len(captions) == np.prod([len(values) for values in ATTRIBUTES.values()])
  words = [caption.replace(',', '').split() for caption in captions]
  assert max(map(len, words)) <= 14
  assert sorted({word for caption in words for word in caption}) == scenes.vocabulary()


def test_caption():
  assert Scene().caption == 'a big red square standing still in the middle on grass, photo'


def test_faults_name_field_value_and_what_is_accepted():
  with pytest.raises(ValueError) as error:
    Scene(size='huge', style='oil')
  assert str(error.value) == (
    "size is 'huge'; accepted: 'small', 'big'; "
    "style is 'oil'; accepted: 'photo', 'night', 'sunset', 'sketch'"
  )
