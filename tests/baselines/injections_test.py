"""The baselines that are settings of injections: plain DDIM inversion and MasaCtrl."""

import functools

import numpy as np
import pytest

from configs.baselines import masactrl, plain
from experiments.requests.edit import read_edit
from tests.helpers.plans import edit_of, plan_of, sampler_of
from tests.helpers.setups import sample_plainly
from tests.helpers.tolerances import UNET, agreement
from tests.helpers.trace import row_names, trace
from uniedit_jax.method.diffusion import NoiseSchedule
from uniedit_jax.method.injection import Branch, ContentPreservation, Injections

STEPS, BLOCKS = 4, 4
SOURCE, MAIN = Branch('reconstruction'), Branch('main')


def request(module, form='full', **fields):
  config = module.get_config(form)
  config.checkpoint, config.video = 'sprites', 'sprites'
  config.target_prompt = 'a big red square on grass, night'
  config.update(fields)
  return read_edit(config)


def test_masactrl_reads_what_its_authors_say():
  texts = ['null', 'target']
  plan = request(masactrl).plan
  # Source and edit start alike, so that in step 0 one row stands for three.
  assert row_names(plan, texts, 0) == ['reconstruction:null', 'main:target']
  assert row_names(plan, texts, 1) == ['reconstruction:null', 'main:null', 'main:target']
  late = (4, 50), (10, 16)
  assert trace(plan, texts) == {
    (f'spatial_{tensor}', f'main:{text}', 'reconstruction:null'): late
    for tensor in 'kv'
    for text in texts
  }


def test_masactrl_reads_the_same_half_where_the_source_has_a_prompt():
  texts = ['null', 'source', 'target']
  plan = request(masactrl, source_prompt='a big red square on grass, photo').plan
  late = (4, 50), (10, 16)
  assert trace(plan, texts) == {
    (f'spatial_{tensor}', f'main:{target}', f'reconstruction:{source}'): late
    for tensor in 'kv'
    for target, source in (('null', 'null'), ('target', 'source'))
  }


def test_plain_inversion_reads_nothing():
  for masks in (
    {},
    {'mask': {'source': 'auto', 'source_prompt': 'a big red square on grass, photo'}},
  ):
    assert trace(request(plain, **masks).plan, ['null', 'target', 'source']) == {}


@pytest.mark.parametrize(
  'module, rows, alone',
  [(plain, [2] + [3] * 49, [2] * 50), (masactrl, [2] + [3] * 49, [2] + [3] * 49)],
)
def test_rows(module, rows, alone):
  assert request(module).plan.row_counts == rows
  assert request(module, outputs={'reconstruction': False}).plan.row_counts == alone


@pytest.mark.parametrize('module', [plain, masactrl])
def test_short_forms_of_the_shipped_clip(module):
  quick = read_edit(module.get_config('sprites,quick'))
  assert len(quick.plan.steps) == 5 and quick.plan.row_counts[-1] == 4


plan_small = functools.partial(
  plan_of, 'appearance', steps=STEPS, blocks=BLOCKS, wanted=('reconstruction', 'main')
)
MASACTRL = Injections(content=ContentPreservation((1, STEPS), (2, BLOCKS), ('k', 'v')))


@pytest.fixture(scope='module')
def edited(tiny):
  """Edits with (injections, text of the target); text 1 is that of the source."""
  rng = np.random.default_rng(3)
  start = rng.standard_normal((3, 4, 4, 4)).astype(np.float32)
  texts = rng.standard_normal((3, 7, 16)).astype(np.float32)

  def run(injections, target):
    plan = plan_small([injections], source=1, targets=[target], exact_savings=False)
    return edit_of(tiny, start, texts, plan, sampler_of(NoiseSchedule(), STEPS))

  return start, texts, run


def test_equal_prompts_give_the_source_to_the_bit(edited):
  *_, run = edited
  for injections in (MASACTRL, Injections()):
    found = run(injections, 1)
    np.testing.assert_array_equal(found[MAIN], found[SOURCE])


def test_masactrl_differs_from_plain_inversion_and_from_the_source(edited):
  *_, run = edited
  found, plainly = run(MASACTRL, 2), run(Injections(), 2)
  assert agreement(found[MAIN], plainly[MAIN]) > 0.01
  assert agreement(found[MAIN], found[SOURCE]) > 0.01
  np.testing.assert_array_equal(found[SOURCE], plainly[SOURCE])


def test_plain_inversion_is_guided_ddim_of_the_target(tiny, edited):
  start, texts, run = edited
  predict = functools.partial(tiny.denoise, tiny.params)
  x = sample_plainly(predict, start, (texts[0], texts[2]), STEPS)
  assert agreement(run(Injections(), 2)[MAIN], x) < UNET
