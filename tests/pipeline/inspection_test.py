"""Looking inside: what is seen is what is sampled, and sampling does not notice."""

import dataclasses

import numpy as np
import pytest

from configs import motion
from experiments import edit
from experiments.requests.edit import read_edit
from tests.helpers.plans import edit_of, plan_of
from tests.helpers.tiny_run import config_of, make_folder
from tests.helpers.tolerances import UNET, agreement
from tests.method.sampling_test import (
  FRAMES,
  SCHEDULE,
  SIZE,
  STEPS,
  clip,
  masks,
  plan_small,
  small_preset,
)
from uniedit_jax.method.diffusion import ddim_update
from uniedit_jax.method.injection import Injections, StructureControl
from uniedit_jax.method.sampling import Conditioning, Network, Sampler, sample_edit
from uniedit_jax.models.presets import VIDEOCRAFTER2_SCHEDULE
from uniedit_jax.pipeline import inspection
from uniedit_jax.reports.inspection import draw_queries, draw_temporal_maps, draw_text_map

SAMPLER = Sampler(SCHEDULE, STEPS, 3.0)


def look_inside(tiny, clip, plan, every_row, masks, trajectory=None):
  """Samples, and collects the latents before every step and the looks at all steps."""
  start, texts = clip
  inspected = inspection.Inspection(tuple(range(STEPS)), (1, 3), every_row)
  latents, looks = [], {}
  network = Network(tiny.apply, tiny.params)
  conditioning = Conditioning(texts, masks, trajectory)
  visit = inspection.visitor(network, inspected, plan, SAMPLER, conditioning, looks.__setitem__)

  def both(step, now):
    latents.append(now[0])
    visit(step, now)

  found = sample_edit(network, start, plan, SAMPLER, conditioning, visit=both)
  return found, latents, looks


@pytest.mark.parametrize('rows_per_pass', [None, 3])
def test_what_a_branch_is_heading_for_is_where_it_goes(tiny, clip, masks, rows_per_pass):
  lay = lambda **options: plan_small(
    'motion',
    [small_preset('release', 'motion', True)],
    wanted=('main', 'motion'),
    masked=True,
    **options,
  )
  plan = lay(rows_per_pass=rows_per_pass)
  found, latents, looks = look_inside(
    tiny, clip, plan, lay(rows_per_pass=rows_per_pass, exact_savings=False), masks
  )
  plain = edit_of(tiny, *clip, plan, SAMPLER, masks=masks)
  for branch, frames in plain.items():
    np.testing.assert_array_equal(found[branch], frames)
  levels = SCHEDULE.levels(STEPS)
  latents.append(
    np.stack([found.get(branch, latents[-1][k]) for k, branch in enumerate(plan.branches)])
  )
  compared = 0
  for step in range(STEPS):
    updated = plan.steps[step].updated
    for k, branch in enumerate(plan.branches):
      if branch in looks[step].predicted and updated[k]:
        (signal, power), now = levels[step], latents[step][k]
        noise = (now - np.sqrt(signal) * looks[step].predicted[branch]) / np.sqrt(power)
        following = ddim_update(*levels[step : step + 2])(now, now, noise)
        assert agreement(following, latents[step + 1][k]) < 10 * UNET, (step, branch)
        compared += 1
  assert compared >= 2 * STEPS


def test_what_a_branch_is_heading_for_has_no_signal_scale(rng):
  clean, noise = rng.standard_normal((2, FRAMES, SIZE, SIZE, 4)).astype(np.float32)
  apply = lambda variables, *_: (variables['params'], {})
  plan = plan_of('appearance', [Injections()], STEPS, blocks=1)
  sampler = Sampler(VIDEOCRAFTER2_SCHEDULE, STEPS)
  for step in range(STEPS):
    signal, power = np.sqrt(sampler.schedule.levels(STEPS)[step])
    latents = np.float32([signal * clean + power * noise] * len(plan.branches))
    seen = inspection.look(
      Network(apply, noise),
      latents,
      inspection.Inspection((step,), (), plan),
      step,
      sampler,
      Conditioning(np.zeros((2, 7, 16), np.float32)),
    )
    for predicted in seen.predicted.values():
      assert agreement(predicted, clean) < UNET


def test_maps_are_those_that_injections_leave(tiny, clip, masks):
  injections = dataclasses.replace(
    small_preset('paper', 'motion', True),
    structure=StructureControl((0, 2), (0, 4), ('main', 'motion')),
  )
  lay = lambda **options: plan_small(
    'motion', [injections], wanted=('main', 'motion', 'reconstruction'), masked=True, **options
  )
  _, _, looks = look_inside(tiny, clip, lay(), lay(exact_savings=False), masks)
  reconstruction, main, _ = lay().branches
  queried = lambda step: looks[step].maps[1]['spatial_q']
  # structure control
  np.testing.assert_allclose(queried(1)[main], queried(1)[reconstruction], rtol=1e-6)
  assert agreement(queried(3)[main], queried(3)[reconstruction]) > 0.01
  for block, maps in looks[0].maps.items():
    tokens = np.prod(tiny.config.grids(SIZE, SIZE)[block])
    assert maps['temporal_map'][main].shape == (tokens, FRAMES, FRAMES)
    assert maps['text_map'][main].shape == (FRAMES, tokens, clip[1].shape[1])
    for name in ('temporal_map', 'text_map'):
      np.testing.assert_allclose(maps[name][main].sum(-1), 1, rtol=1e-5)


def test_branches_whose_latents_are_stale_are_not_shown(tiny, clip, masks):
  lay = lambda **options: plan_small(
    'appearance', [small_preset('paper', 'appearance', False)], **options
  )
  _, _, looks = look_inside(tiny, clip, lay(), lay(exact_savings=False), None)
  reconstruction, main = lay().branches
  assert [reconstruction in looks[step].predicted for step in range(STEPS)] == [
    True,
    True,
    False,
    False,
  ]
  assert all(main in looks[step].predicted for step in range(STEPS))
  trajectory = (
    np.random.default_rng(0).standard_normal((STEPS + 1, *clip[0].shape)).astype(np.float32)
  )
  stored = lay(stored=STEPS)
  _, latents, looks = look_inside(
    tiny, clip, stored, lay(stored=STEPS, exact_savings=False), None, trajectory
  )
  assert all(reconstruction in looks[step].predicted for step in range(STEPS))
  np.testing.assert_array_equal(latents[2][0], trajectory[STEPS - 2])


def test_faults():
  assert inspection.faults((0, 24), (10,), 25, 16) == []
  wrong = inspection.faults((0, 25), 3, 25, 16)
  assert wrong == [
    'inspect.steps is (0, 25); accepted: a tuple of numbers from 0 to 24',
    'inspect.blocks is 3; accepted: a tuple of numbers from 0 to 15',
  ]


def test_sheets_show_every_place_of_every_frame():
  maps = np.zeros((6, 4, 4), np.float32)
  maps[4, 1, 2] = 1  # place 4 of a 2 x 3 grid attends from frame 1 to frame 2
  rows, labels = draw_temporal_maps({'edit': maps}, (2, 3))
  assert labels == ['all places', '0 to 1', '1 to 2', '2 to 3']
  brightest = [
    np.unravel_index(picture.sum(-1).argmax(), picture.shape[:2]) for picture in rows['edit']
  ]
  assert (
    brightest[0] == (1, 2)
    and brightest[2] == (1, 1)
    and rows['edit'][1].max() == rows['edit'][1].min() + 3
  )
  attention = np.zeros((12, 6, 5), np.float32)
  attention[11, 2, 3] = 1
  rows, labels = draw_text_map(attention, {'fox': [3], 'a': [1]}, (2, 3))
  assert len(rows['fox']) == 8 and labels[-1] == 'frame 11' and rows['fox'][-1][0, 2].sum() > 600
  assert np.ptp(rows['a'], axis=(0, 1, 2)).max() == 0


def test_equal_queries_have_equal_colours(rng):
  tokens = rng.standard_normal((2, 6, 8)).astype(np.float32)
  rows, _ = draw_queries({'reconstruction': tokens, 'edit': tokens[:, ::-1]}, (2, 3))
  shown = rows['reconstruction'].reshape(2, 6, 3)
  np.testing.assert_array_equal(rows['edit'].reshape(2, 6, 3), shown[:, ::-1])
  assert np.ptp(shown, axis=(0, 1)).min() > 200


def test_an_inspected_run_is_the_run(tmp_path_factory):
  folder = make_folder(tmp_path_factory)
  plain = config_of(motion, folder, source_prompt='a cat')
  inspected = config_of(
    motion, folder, source_prompt='a cat', inspect__steps=(0, 1), inspect__blocks=(2,)
  )
  wanted, found = (
    edit.run(read_edit(config), folder / name)
    for name, config in (('plain', plain), ('inside', inspected))
  )
  for name, frames in wanted.items():
    np.testing.assert_array_equal(found[name], frames)
  assert not (folder / 'plain/inspect').exists()
  names = {path.stem for path in (folder / 'inside/inspect').iterdir()}
  branches = ('edit', 'motion_reference', 'reconstruction')
  assert names == {
    *(f'predicted_{branch}' for branch in branches),
    *(
      f'{kind}_step_{step:03d}_block_02'
      for kind in ('spatial_q', 'temporal_map')
      for step in (0, 1)
    ),
    *(f'text_map_step_{step:03d}_block_02_{branch}' for step in (0, 1) for branch in branches),
  }
  text = (folder / 'inside/report.html').read_text()
  assert 'Step 1, block 2' in text and text.count('class="sheet"') == len(names)
  assert 'class="sheet"' not in (folder / 'plain/report.html').read_text()


def test_an_inspection_that_cannot_be(tmp_path_factory):
  folder = make_folder(tmp_path_factory)
  with pytest.raises(
    ValueError, match=r'inspect.steps is \(2,\); accepted: a tuple of numbers from 0 to 1'
  ):
    read_edit(config_of(motion, folder, inspect__steps=(2,)))
  with pytest.raises(ValueError, match=r'inspect.steps is \(0,\) for a clip in windows of'):
    read_edit(config_of(motion, folder, inspect__steps=(0,), window__frames=2, window__overlap=1))
