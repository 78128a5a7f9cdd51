"""The comparison methods through the entry point, on a tiny checkpoint and a real video file."""

import importlib
import json

import numpy as np
import pytest

from configs import motion, rerun
from experiments import edit as edit_entry
from experiments.requests.batch import read_batch
from experiments.requests.edit import read_edit
from experiments.requests.sweep import read_sweep
from tests.helpers.tiny_run import config_of, make_folder
from uniedit_jax.baselines import comparison
from uniedit_jax.runtime import memory
from uniedit_jax.runtime.workdir import begin

# Method -> (fields of its config here, rows of each step, further computations).
METHODS = {
  'tune_a_video': ({'baseline__tuning_steps': 2}, [2, 2], {'inversion_rows': 2, 'tuning_steps': 2}),
  # int(2 * .8) = 1 step of self-attention, int(3 * .8) = 2 of text attention.
  'fatezero': (
    {'target_prompt': 'a cat painting', 'baseline__words': ('painting',)},
    [3, 3],
    {'inversion_rows': 2},
  ),
  'tokenflow': ({'baseline__segment': 2}, [3, 3], {'inversion_rows': 2, 'keyframes_of_a_row': 2}),
  'rerender': ({}, [3, 2], {'inversion_rows': 2, 'optical_flows': 6}),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return make_folder(tmp_path_factory)


def tiny_config(folder, name, **changes):
  module = importlib.import_module(f'configs.baselines.{name}')
  return config_of(
    module, folder, **{'source_prompt': 'a cat'} | METHODS.get(name, ({},))[0] | changes
  )


@pytest.fixture(scope='module')
def plain(folder):
  """The edit by plain inversion."""
  config = tiny_config(folder, 'plain')
  return edit_entry.run(read_edit(config), folder / 'plain')['edit']


@pytest.mark.parametrize('method', METHODS)
def test_an_edit_leaves_what_every_edit_does(folder, plain, method):
  config, workdir = tiny_config(folder, method), folder / method
  request = read_edit(config)
  assert begin(workdir, request.as_tree())
  clips = edit_entry.run(request, workdir)
  assert set(clips) == {'source', 'edit'} and clips['edit'].shape == (4, 64, 64, 3)
  assert not np.array_equal(clips['edit'], plain)
  names = ('source.mp4', 'edit.mp4', 'edit.gif', 'side_by_side.mp4', 'config.json', 'report.html')
  assert all((workdir / name).stat().st_size > 500 for name in names)
  assert len(list((workdir / 'frames').iterdir())) == 4
  metrics, kept = (
    json.loads((workdir / name).read_text()) for name in ('metrics.json', 'run.json')
  )
  assert metrics['edit_source_psnr_db'] > 0 and metrics['vae_round_trip_psnr_db'] > 0
  _, rows, cost = METHODS[method]
  assert request.plan.row_counts == rows and kept['rows'] == sum(rows) and kept['method'] == method
  assert kept['additional_cost'] == cost
  # Its config.json repeats it.
  again = read_edit(rerun.get_config(workdir / 'config.json')).as_tree()
  assert not begin(workdir, again) or not (workdir / 'DONE').exists()
  assert json.loads(json.dumps(again)) == json.loads((workdir / 'config.json').read_text())


@pytest.mark.parametrize('method', METHODS)
def test_every_method_has_a_config_and_forms_of_it(method):
  assert set(METHODS) == set(comparison.METHODS)
  module = importlib.import_module(f'configs.baselines.{method}')
  for form in ('sprites', 'sprites,quick'):
    request = read_edit(module.get_config(form))
    options = module.get_config(form).baseline.to_dict()
    assert request.method.options == comparison.METHODS[method](**options)
  assert len(request.plan.steps) == 5
  assert '  python -m experiments.edit --config=configs/baselines/' in module.__doc__
  assert all(word in module.__doc__ for word in ('Deviations: ', 'Backbone: ', 'Cost: '))


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'method': 'magic'}, "method is 'magic'; accepted: 'injections', 'tune_a_video'"),
    ({'mask__source': 'auto'}, "mask.source is 'auto' with method 'tune_a_video'; accepted: ''"),
    (
      {'structure__steps': (0, 1)},
      "structure.steps is (0, 1) with method 'tune_a_video'; accepted: None",
    ),
    ({'outputs__reconstruction': True}, 'outputs.reconstruction is True with method'),
    ({'inversion__method': 'direct'}, "inversion.method is 'direct' with method"),
    ({'more_target_prompts': ('a hen',)}, 'more_target_prompts is'),
    ({'window__frames': 3, 'window__overlap': 1}, 'the clip is seen in windows of (3, 1)'),
    ({'baseline__tuning_steps': -1}, 'baseline.tuning_steps is -1; accepted: 0 or more'),
    (
      {'baseline__learning_rate': 0.0},
      'baseline.learning_rate is 0.0; accepted: a positive number',
    ),
  ],
)
def test_faults(folder, changes, message):
  with pytest.raises(ValueError) as caught:
    read_edit(tiny_config(folder, 'tune_a_video', **changes))
  assert message in str(caught.value)


def test_a_method_needs_its_own_fields(folder):
  accepted = r'those of configs/baselines/fatezero\.py'
  with pytest.raises(
    ValueError, match=rf"'fatezero' and baseline has the fields \[\]; accepted: {accepted}"
  ):
    read_edit(config_of(motion, folder, method='fatezero'))
  with pytest.raises(
    ValueError, match=rf"fields \['learning_rate', 'sparse_causal', 'tuning_steps'\]; .* {accepted}"
  ):
    read_edit(tiny_config(folder, 'tune_a_video', method='fatezero'))


def test_too_little_memory_is_a_warning_as_no_step_is_split(folder, monkeypatch):
  monkeypatch.setattr(memory, 'available', lambda: 1)
  (warning,) = read_edit(tiny_config(folder, 'tokenflow')).warnings
  assert '3 rows a pass need about' in warning and 'rows_per_pass' not in warning


def test_sweeps_and_batches_are_of_injections(folder, tmp_path):
  config = tiny_config(folder, 'tune_a_video')
  message = "method is 'tune_a_video'; accepted here: 'injections'"
  with pytest.raises(ValueError, match=message):
    read_sweep(config, [{'guidance': 3.0}])
  batch = config_of(
    importlib.import_module('configs.batch'), folder, manifest=str(tmp_path / 'edits.jsonl')
  )
  line = {'id': 'cat', 'target_prompt': 'a fox', 'method': 'tune_a_video'}
  (tmp_path / 'edits.jsonl').write_text(json.dumps(line))
  with pytest.raises(ValueError, match=message):
    read_batch(batch)
