"""From intent to routes: the presets row by row, the order of copies, ranges, faults and masks."""

import dataclasses

import numpy as np
import pytest

from uniedit_jax.method import injection
from uniedit_jax.method.injection import (
  Branch,
  ContentPreservation,
  Injection,
  Injections,
  MotionInjection,
  StructureControl,
  compose,
  preset,
)
from uniedit_jax.method.token_masks import token_masks

R, M, T = Branch('reconstruction'), Branch('main'), Branch('motion')
ALL, EARLY, DECODER, EVERY_BLOCK = (0, 50), (0, 25), (10, 16), (0, 16)


def structure(readers, steps):
  return [
    (f'spatial_{t}', r, 'reconstruction', 'everywhere', steps, EVERY_BLOCK)
    for r in readers
    for t in 'qk'
  ]


def temporal(where):
  return [(f'temporal_{tensor}', 'main', 'motion', where, ALL, EVERY_BLOCK) for tensor in 'qk']


def content(tensors, where, steps):
  return [(f'spatial_{t}', 'main', 'reconstruction', where, steps, DECODER) for t in tensors]


def motion_query(steps):
  return [('spatial_q', 'main', 'motion', 'inside', steps, DECODER)]


# What every preset copies: (slot, reader, source, where, steps, blocks) in order, and the steps
# that are guided.
BOTH, MAIN = ('main', 'motion'), ('main',)
PRESETS = {
  ('paper', 'motion', False): (
    [*structure(BOTH, EARLY), *content('v', 'everywhere', ALL), *temporal('everywhere')],
    None,
  ),
  ('paper', 'motion', True): (
    [
      *structure(BOTH, EARLY),
      *content('v', 'outside', ALL),
      *motion_query(ALL),
      *temporal('inside'),
    ],
    ALL,
  ),
  ('paper', 'appearance', False): (structure(MAIN, EARLY), None),
  ('paper', 'appearance', True): (structure(MAIN, EARLY), ALL),
  ('release', 'motion', False): (
    [*structure(BOTH, (0, 15)), *content('kv', 'everywhere', (4, 50)), *temporal('everywhere')],
    None,
  ),
  ('release', 'motion', True): (
    [
      *structure(BOTH, (0, 15)),
      *content('kv', 'outside', (4, 50)),
      *motion_query((4, 50)),
      *temporal('everywhere'),
    ],
    None,
  ),
  ('release', 'appearance', False): (structure(MAIN, (0, 20)), None),
  ('release', 'appearance', True): (
    [
      *structure(MAIN, EARLY),
      ('spatial_v', 'main', 'reconstruction', 'outside', EARLY, EVERY_BLOCK),
    ],
    None,
  ),
}
each_preset = pytest.mark.parametrize('name, task, masked', PRESETS)


@each_preset
def test_preset(name, task, masked):
  chosen = preset(name, task, masked)
  copies, guided = PRESETS[name, task, masked]
  made = [
    (*copy[:4], copy.injection.steps, copy.injection.blocks)
    for copy in injection.copies(chosen, masked)
    if copy.injection.on
  ]
  assert made == copies
  assert (chosen.guided.steps, chosen.guided.blocks) == (guided or (0, 0), EVERY_BLOCK)
  assert chosen.faults(50) == []


@pytest.mark.parametrize(
  'steps, windows', [(50, [15, 4]), (25, [8, 2]), (20, [6, 2]), (4, [1, 0]), (100, [30, 8])]
)
def test_presets_rescale_to_other_step_counts(steps, windows):
  chosen = preset('release', 'motion', True, steps)
  assert chosen.structure.steps == (0, windows[0])
  assert chosen.content.steps == chosen.motion_query.steps == (windows[1], steps)
  assert chosen.motion.steps == (0, steps)
  assert chosen.content.blocks == DECODER
  assert chosen.faults(steps) == []


def test_unknown_preset():
  with pytest.raises(
    ValueError, match=r"preset is 'papers' for task 'motion'; accepted: 'paper' or 'release'"
  ):
    preset('papers', 'motion', False)
  with pytest.raises(ValueError, match=r"preset is 'paper' for task 'style'"):
    preset('paper', 'style', False)


def release_order(branches, injections, masked, step, block):
  """The routes of one step and block as the release makes them: tensors edited in place, one line
  after another.
  """
  held = {
    (b.kind, slot): {'inside': k, 'outside': k}
    for k, b in enumerate(branches)
    for slot in injection.SLOTS
  }
  on = lambda i: i.steps[0] <= step < i.steps[1] and i.blocks[0] <= block < i.blocks[1]
  kinds = [b.kind for b in branches]

  def assign(slot, reader, source, sides=('inside', 'outside')):
    if reader in kinds:
      held[reader, slot].update({side: held[source, slot][side] for side in sides})

  sides = lambda side: (side,) if masked else ('inside', 'outside')
  if on(injections.structure):
    for reader in injections.structure.branches:
      assign('spatial_q', reader, 'reconstruction')
      assign('spatial_k', reader, 'reconstruction')
  if on(injections.content):
    for tensor in injections.content.tensors:
      assign(f'spatial_{tensor}', 'main', 'reconstruction', sides('outside'))
  if on(injections.background):
    assign('spatial_v', 'main', 'reconstruction', sides('outside'))
  if on(injections.motion_query):
    assign('spatial_q', 'main', 'motion', sides('inside'))
  if on(injections.motion):
    for slot in ('temporal_q', 'temporal_k'):
      assign(
        slot,
        'main',
        'motion',
        sides('inside') if injections.motion.masked else ('inside', 'outside'),
      )
  return held


@each_preset
def test_routes_equal_edits_in_place(name, task, masked):
  branches = [R, M, T] if task == 'motion' else [R, M]
  chosen = preset(name, task, masked, 10)
  routes = compose(branches, [chosen], 10, masked=masked)
  for step, block in np.ndindex(10, 16):
    held = release_order(branches, chosen, masked, step, block)
    for slot in injection.SLOTS:
      for side in ('inside', 'outside'):
        expected = [held[b.kind, slot][side] for b in branches]
        assert getattr(getattr(routes, slot), side)[step, block].tolist() == expected, (
          step,
          block,
          slot,
          side,
        )


def routes_of(injections, masked=True, branches=(R, M, T), steps=3):
  """compose for reading: {(slot, side): rows read by main at (step, block)}."""
  routes = compose(branches, [injections], steps, masked=masked)
  return lambda slot, side, step, block, k=1: int(
    getattr(getattr(routes, slot), side)[step, block, k]
  )


def test_masked_query_reads_what_structure_control_has_replaced():
  query = Injection((0, 3), DECODER)
  read = routes_of(
    Injections(structure=StructureControl((0, 2), branches=BOTH), motion_query=query)
  )
  assert read('spatial_q', 'inside', 1, 10) == 0  # motion's q, which is reconstruction's here
  assert read('spatial_q', 'inside', 2, 10) == 2  # after structure control
  assert read('spatial_q', 'outside', 2, 10) == 1
  assert read('spatial_q', 'inside', 2, 9) == 1
  # Where structure control leaves motion alone, its own q is read.
  read = routes_of(Injections(structure=StructureControl((0, 2)), motion_query=query))
  assert [read('spatial_q', side, 1, 10) for side in ('inside', 'outside')] == [2, 0]


def test_structure_control_holds_inside_the_mask_of_content_preservation():
  both = Injections(StructureControl((0, 1)), ContentPreservation((0, 2), DECODER, ('k', 'v')))
  read = routes_of(both)
  sides = lambda slot, step: [read(slot, side, step, 10) for side in ('inside', 'outside')]
  assert sides('spatial_k', 0) == [0, 0]
  assert sides('spatial_k', 1) == [1, 0]
  assert sides('spatial_v', 0) == sides('spatial_v', 1) == [1, 0]
  assert sides('spatial_v', 2) == [1, 1]


def test_motion_is_masked_only_on_wish_and_with_masks():
  for wish, masked, outside in [(False, True, 2), (True, True, 1), (True, False, 2)]:
    read = routes_of(Injections(motion=MotionInjection((0, 3), masked=wish)), masked)
    assert read('temporal_q', 'inside', 0, 0) == 2
    assert read('temporal_k', 'outside', 0, 0) == outside


def test_settings_share_the_reconstruction_and_nothing_else():
  branches = [R, M, T, Branch('main', 1), Branch('motion', 1)]
  settings = [
    Injections(structure=StructureControl((0, 1), branches=BOTH)),
    Injections(motion=MotionInjection((0, 3)), guided=Injection((1, 2), (3, 4))),
  ]
  routes = compose(branches, settings, 3, masked=True)
  assert routes.spatial_q.inside[0, 0].tolist() == [0, 0, 0, 3, 4]
  assert routes.temporal_q.inside[2, 5].tolist() == [0, 1, 2, 4, 4]
  assert np.argwhere(routes.guided).tolist() == [[1, 3, 3]]


def test_first_frame_is_read_where_content_is_preserved_and_by_that_setting_alone():
  branches = [R, M, T, Branch('main', 1), Branch('motion', 1)]
  content = ContentPreservation((1, 3), DECODER, ('k', 'v'))
  settings = [
    Injections(content=content),
    Injections(content=dataclasses.replace(content, reference='first')),
  ]
  first = compose(branches, settings, 3).first_frame
  expected = np.zeros((3, 16, 5), bool)
  expected[1:3, 10:16, 3] = True
  np.testing.assert_array_equal(first, expected)
  assert compose(branches, settings[:1] * 2, 3).first_frame is None


def test_nothing_injected_is_every_branch_itself():
  routes = compose([R, M, T], [Injections()], 3)
  for slot in injection.SLOTS:
    for table in getattr(routes, slot):
      assert table.dtype == np.int32
      np.testing.assert_array_equal(table, np.broadcast_to([0, 1, 2], (3, 16, 3)))
  assert not routes.guided.any()


def test_every_fault_is_listed_with_field_value_and_what_is_accepted():
  wrong = Injections(
    structure=StructureControl((0, 60), branches='main'),
    content=ContentPreservation((5, 4), (10, 17), ('w',), 'last'),
    motion=MotionInjection((-1, 5)),
    guided=Injection((1, 2, 3)),
  )
  expected = [
    ('structure.steps is (0, 60)', '0 <= start <= stop <= 50'),
    ('content.steps is (5, 4)', '0 <= start <= stop <= 50'),
    ('content.blocks is (10, 17)', '0 <= start <= stop <= 16'),
    ('motion.steps is (-1, 5)', '0 <= start <= stop <= 50'),
    ('guided.steps is (1, 2, 3)', '(start, stop)'),
    ("structure.branches is 'main'", "a tuple of ('main', 'motion')"),
    ("content.tensors is ('w',)", "a tuple of ('k', 'v')"),
    ("content.reference is 'last'", "'own', 'first'"),
  ]
  faults = wrong.faults(50)
  for fault, (start, accepted) in zip(faults, expected, strict=True):
    assert fault.startswith(f'{start}; accepted: ')
    assert accepted in fault
  with pytest.raises(ValueError) as error:
    compose([R, M, T], [wrong], 50)
  assert str(error.value) == '; '.join(faults)


def test_values_of_the_first_frame_need_its_keys():
  (fault,) = Injections(content=ContentPreservation((0, 2), reference='first')).faults(3)
  assert fault.startswith(
    "content.tensors is ('v',) with content.reference='first'; accepted: ('k', 'v')"
  )


@pytest.mark.parametrize('name', ['motion_query', 'background', 'guided'])
def test_what_needs_masks_says_so(name):
  with pytest.raises(ValueError, match=rf'{name}.steps is \(0, 2\) but there is no mask'):
    compose([R, M, T], [Injections(**{name: Injection((0, 2))})], 3)
  # Ranges that hold nothing need none.
  compose([R, M, T], [Injections(**{name: Injection((0, 2), (4, 4))})], 3)


def test_a_branch_that_is_not_there():
  with pytest.raises(
    ValueError, match='temporal_q of main is to be read from motion, a branch that is not there'
  ):
    compose([R, M], [Injections(motion=MotionInjection((0, 1)))], 3)
  # A reader that is not there reads nothing: a motion setting of structure control fits appearance
  # editing.
  compose([R, M], [Injections(structure=StructureControl((0, 1), branches=BOTH))], 3)


def test_settings_are_plain_frozen_data():
  with pytest.raises(dataclasses.FrozenInstanceError):
    Injections().structure = None
  assert Injections() == Injections()
  assert not Injection((2, 2)).on


def test_token_masks(rng):
  source, target = rng.random((2, 3, 8, 12)) < 0.5
  grids = [(8, 12), (4, 6), (3, 5), (4, 6)]
  masks = token_masks({'source': source, 'target': target}, grids)
  assert sorted(masks) == sorted(set(grids))
  for (h, w), mask in masks.items():
    for f, i, j in np.ndindex(3, h, w):
      token, pixel = (f, i * w + j, 0), (f, i * 8 // h, j * 12 // w)
      # Foreground is inside. Queries and time follow the edit; keys and values follow the source.
      assert mask.spatial_q[token] == mask.temporal[token] == target[pixel]
      assert mask.spatial_kv[token] == source[pixel]
    assert mask.guided_q is mask.guided_k is None


def test_masks_of_guided_attention_and_of_a_missing_target(rng):
  source, target = rng.random((2, 3, 8, 12)) < 0.5
  mask = token_masks({'source': source, 'target': target}, [(8, 12)], guided=True)[8, 12]
  np.testing.assert_array_equal(mask.guided_q[..., 0], target.reshape(3, -1))
  np.testing.assert_array_equal(mask.guided_k[..., 0], source.reshape(3, -1))
  mask = token_masks({'source': source}, [(8, 12)])[8, 12]
  np.testing.assert_array_equal(mask.spatial_q, mask.spatial_kv)
