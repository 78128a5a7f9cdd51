"""Scoring: judgements of exact clips, of hand-made outcomes, and the methods that are compared."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.plans import plan_of
from uniedit_jax.method.injection import Injections, StructureControl, preset
from uniedit_jax.metrics import statistics
from uniedit_jax.sprites import scores, scoring
from uniedit_jax.sprites.render import render
from uniedit_jax.sprites.scenes import ATTRIBUTES, KINDS, Edit, Scene, draw_edits

STEPS, BLOCKS = 10, 16
SIZE, FRAMES = 32, 8
MOTION, APPEARANCE = (
  preset('paper', task, False, STEPS, BLOCKS) for task in ('motion', 'appearance')
)
TURNED = Edit('motion', Scene(motion='rising'), Scene(motion='falling'))


def judged(edit, **clips):
  """The rows of `judge` by method."""
  drawn = [render(scene, SIZE, FRAMES) for scene in (edit.source, edit.target)]
  return {row['method']: row for row in scoring.judge(edit, *drawn, clips)}


def outcome(kind='motion', method='all', changed=True, success=True, psnr=20.0):
  measures = ('background_psnr', 'psnr', 'ssim', 'frame_difference', 'exact_frame_difference')
  return {
    'kind': kind,
    'method': method,
    'changed': changed,
    'success': success,
    **dict.fromkeys(measures, psnr),
  }


@pytest.mark.parametrize(
  'count, total, low, high', [(0, 10, 0, 0.2775), (8, 10, 0.4902, 0.9433), (100, 100, 0.9630, 1)]
)
def test_wilson_intervals_of_the_literature(count, total, low, high):
  np.testing.assert_allclose(statistics.wilson(count, total), (low, high), atol=5e-5)


def test_no_edit_is_in_both_splits():
  sets = [draw_edits(seed, 100) for seed in scoring.SPLITS.values()]
  assert len(scoring.SPLITS) == 2 and not set(sets[0]) & set(sets[1])
  captions = [{(edit.source.caption, edit.target.caption) for edit in edits} for edits in sets]
  shared = captions[0] & captions[1]
  assert len(shared) <= 2, shared


def test_methods_are_the_rows_of_the_papers_table():
  chosen = scoring.methods_of(MOTION)
  assert list(chosen) == ['inversion', 'structure', 'content', 'content + motion', 'all']
  parts = {method: scoring.parts(injections) for method, injections in chosen.items()}
  assert parts['inversion'] == [] and parts['content + motion'] == ['content', 'motion']
  assert chosen['all'] == MOTION and chosen['structure'] == Injections(structure=MOTION.structure)


def test_what_equals_all_is_not_listed_twice():
  assert list(scoring.methods_of(APPEARANCE)) == ['inversion', 'all']
  without = dataclasses.replace(MOTION, structure=StructureControl())
  assert list(scoring.methods_of(without)) == ['inversion', 'content', 'all']
  assert list(scoring.methods_of(Injections())) == ['all']


def test_motion_injection_alone_is_plain_inversion():
  alone = Injections(motion=MOTION.motion)
  rows = lambda *settings: (
    plan_of('motion', settings, STEPS, targets=[1, 1], blocks=BLOCKS).row_counts
  )
  assert rows(Injections(), alone) == rows(Injections())
  assert rows(Injections(), Injections(content=MOTION.content)) != rows(Injections())


def test_the_exact_target_is_a_success():
  for edit in draw_edits(3, 2):
    row = judged(edit, all=render(edit.target, SIZE, FRAMES).frames)['all']
    assert row['success'] and row['changed'] and all(row[f'{name}_right'] for name in ATTRIBUTES)
    assert row['psnr'] == row['background_psnr'] == np.inf and row['ssim'] == 1
    assert (
      row['frame_difference'] == row['exact_frame_difference'] > 0
      or edit.target.motion == 'standing still'
    )
    assert (row['kind'], row['source'], row['target']) == (
      edit.kind,
      edit.source.caption,
      edit.target.caption,
    )


def test_the_unedited_source_is_not_changed_and_nothing_else_is_wrong():
  for edit in draw_edits(3, 2):
    row = judged(edit, all=render(edit.source, SIZE, FRAMES).frames)['all']
    assert not row['changed'] and not row['success']
    assert [name for name in ATTRIBUTES if not row[f'{name}_right']] == [KINDS[edit.kind]]
    # The background of most kinds is the source's, but for the ink of sketches, which reaches a
    # little further.
    assert (row['background_psnr'] > 30) == (edit.kind not in ('style', 'background'))


def test_a_changed_clip_with_another_mistake_is_no_success():
  wrong = render(dataclasses.replace(TURNED.target, colour='blue'), SIZE, FRAMES).frames
  row = judged(TURNED, all=wrong)['all']
  assert row['changed'] and not row['success'] and not row['colour_right'] and row['motion_right']
  assert row['background_psnr'] == np.inf and row['psnr'] < 30


def test_the_reconstruction_is_held_against_the_source():
  source = render(TURNED.source, SIZE, FRAMES).frames
  rows = judged(TURNED, reconstruction=source, all=source)
  assert rows['reconstruction']['success'] and rows['reconstruction']['psnr'] == np.inf
  assert not rows['all']['success'] and rows['all']['psnr'] < 30


def test_the_background_is_outside_of_both_objects_and_their_edges():
  source, target = (render(scene, SIZE, FRAMES) for scene in (TURNED.source, TURNED.target))
  near = scoring._grown(source.masks | target.masks)
  for spoiled, kept in ((near, True), (~near, False)):
    frames = np.where(spoiled[..., None], 255 - target.frames, target.frames)
    assert (
      scoring.judge(TURNED, source, target, {'all': frames})[0]['background_psnr'] == np.inf
    ) == kept
  assert not (source.masks & ~near).any() and not (target.masks & ~near).any()


def test_masks_grow_by_one_pixel_and_not_into_other_frames():
  masks = np.zeros((3, 5, 5), bool)
  masks[1, 2, 2] = masks[1, 0, 0] = True
  grown = scoring._grown(masks)
  wanted = np.zeros((5, 5), bool)
  wanted[1:4, 1:4] = wanted[:2, :2] = True
  np.testing.assert_array_equal(
    grown, np.stack([np.zeros_like(wanted), wanted, np.zeros_like(wanted)])
  )


def test_the_reader_is_checked():
  assert scoring.check_reader(draw_edits(3, 1), SIZE, FRAMES) == {
    'exact_targets_changed': 1.0,
    'unedited_sources_changed': 0.0,
  }


@pytest.mark.parametrize(
  'answer, message', [(False, '0.0% of the exact targets'), (True, '100.0% of the unedited')]
)
def test_a_bad_reader_stops_the_run(monkeypatch, answer, message):
  class Reading:
    def matches(self, scene):
      return dict.fromkeys(ATTRIBUTES, answer)

  monkeypatch.setattr(scoring.reader, 'read', lambda frames: Reading())
  with pytest.raises(RuntimeError, match='cannot be trusted') as caught:
    scoring.check_reader(draw_edits(3, 1), SIZE, FRAMES)
  assert message in str(caught.value)


def test_rates_and_means_by_kind_and_method():
  rows = [outcome(psnr=p, success=s) for p, s in ((10, True), (20, False), (60, False), (70, True))]
  rows += [outcome(method='structure', changed=False, success=False)]
  rows += [outcome('style', success=False, psnr=40), outcome('style', 'reconstruction')]
  summary = scores.summarise(rows)
  assert {kind: list(methods) for kind, methods in summary.items()} == {
    'motion': ['all', 'structure'],
    'style': ['all', 'reconstruction'],
    scores.ALL_KINDS: ['all'],
  }
  found = summary['motion']['all']
  assert (
    found['psnr'] == {'mean': 40, 'median': 40}
    and summary[scores.ALL_KINDS]['all']['psnr']['mean'] == 40
  )
  assert found['success'] == {'rate': 0.5, 'low': 0.15, 'high': 0.85, 'count': 4}
  assert found['changed']['rate'] == 1 and summary['motion']['structure']['changed']['rate'] == 0
  assert summary[scores.ALL_KINDS]['all']['success']['rate'] == 0.4


def test_gains_are_paired():
  base = np.arange(20.0) ** 2  # the spread between edits says nothing of the gain
  found = statistics.gain(base + np.tile([1, 2, 3, -2], 5), base)
  assert found['mean'] == 1 and found['better'] == 15 and found['count'] == 20
  spread = 1.96 * np.std([1, 2, 3, -2]) / np.sqrt(20)
  np.testing.assert_allclose([found['low'], found['high']], [1 - spread, 1 + spread], atol=0.1)


def test_gains_are_over_plain_inversion():
  rows = [
    {**outcome(method=method), 'background_psnr': value}
    for method, value in (('inversion', 30), ('all', 32.5))
  ]
  found = scores.summarise([*rows, outcome(method='reconstruction')])['motion']
  assert found['all']['background_gain']['mean'] == 2.5
  assert not any('background_gain' in found[method] for method in ('inversion', 'reconstruction'))
  assert 'background_gain' not in scores.summarise(rows[1:])['motion']['all']


def test_captions_are_right_as_a_whole_only_if_every_attribute_is():
  right = dict.fromkeys(ATTRIBUTES, True)
  found = scores.summarise_captions(
    [right, right, {**right, 'shape': False}, {**right, 'size': False}]
  )
  assert found['shape']['rate'] == found['size']['rate'] == 0.75 and found['colour']['rate'] == 1
  assert found['all together']['rate'] == 0.5 and list(found) == [*ATTRIBUTES, 'all together']
