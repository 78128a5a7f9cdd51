"""Edits one clip or several with many settings, those of a clip side by side.

  python -m experiments.sweep --config=configs/ablate_injection.py --sweep=components --workdir=out/components

The settings are what the function `sweep_<name>(config)` of the config's file yields: dicts of
fields and values. The workdir gets index.html, which shows all of it, results.csv (a row a
setting), settings/<number>/ with edit.mp4 and the config.json that repeats it (configs/rerun.py),
and sources/<number>/ with the source and the reconstruction of each pass. The same command goes on
where an interrupted sweep stopped.
"""

import hashlib
import importlib.util
import json

from absl import flags
from etils import epath
from ml_collections import config_flags

from experiments import progress, stages
from experiments.launch import launch
from experiments.requests.sweep import read_sweep, resolve_sweep
from uniedit_jax.reports import sweep, tables
from uniedit_jax.runtime.run_log import RunLog
from uniedit_jax.runtime.workdir import once, write_json

_SWEEP = flags.DEFINE_string(
  'sweep', None, 'Name of a function sweep_<name> in the file of --config.'
)


def run(config, passes, workdir):
  """Makes all settings.

  Args:
    config: ConfigDict of an edit.
    passes: `read_sweep(config, settings)`.
    workdir: path.

  Returns:
    list of dicts, the rows of results.csv.
  """
  workdir = epath.Path(workdir)
  log = RunLog(dict.fromkeys(w for one in passes for w in one.request.warnings), progress.announce)
  rows, model, loaded = [], None, None
  for number, one in enumerate(passes):
    progress.announce(f'pass {number + 1} of {len(passes)}: {len(one.settings)} settings')
    if loaded != (needed := (one.config.checkpoint, one.request.dtype)):
      model, loaded = stages.load(one.config, one.request.dtype, log), needed
    facts = json.dumps([resolve_sweep(config, [one]), model.hash])
    key, path = (
      hashlib.sha256(facts.encode()).hexdigest(),
      workdir / 'passes' / f'{number:03d}.json',
    )
    rows += once(path, _make, one, model, workdir, number, log, key=key)
  rows.sort(key=lambda row: row['setting'])
  tables.write_csv(workdir / 'results.csv', rows)
  log.facts |= {
    'passes': [
      {'settings': len(p.settings), 'phases': p.request.layout.plan.phases} for p in passes
    ]
  }
  write_json(workdir / 'run.json', log.as_dict())
  swept = list(next(iter(passes[0].settings.values())))
  sweep.write_sweep(workdir, f'{workdir.name}: {", ".join(swept)}', rows, swept, log.as_dict())
  return rows


def _make(one, model, workdir, number, log):
  """Makes the settings of a pass: their rows of results.csv."""
  source, rows = stages.prepare(one.config, one.request, model, log), []
  for setting, clips, measures in stages.make_settings(one, model, source, log):
    sweep.write_clips(workdir, setting, number, clips, source.fps, one.resolved[setting])
    rows.append({'setting': setting, 'pass': number, **one.settings[setting], **measures})
  return rows


def read_settings(path, name, config):
  """The settings of a sweep.

  Args:
    path: of the config's file.
    name: of a function in it, without its "sweep_".
    config: ConfigDict, for the function.

  Returns:
    list of dicts {field: value}.

  Raises:
    ValueError: the file has no such function.
  """
  spec = importlib.util.spec_from_file_location('swept_config', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  names = [key.removeprefix('sweep_') for key in vars(module) if key.startswith('sweep_')]
  if name not in names:
    raise ValueError(f'sweep is {name!r}; accepted with {path}: {", ".join(names) or "none"}')
  return list(getattr(module, f'sweep_{name}')(config))


def _read(config):
  # file.py:form
  path, _, _ = config_flags.get_config_filename(flags.FLAGS['config']).partition(':')
  return read_sweep(config, read_settings(path, _SWEEP.value, config))


if __name__ == '__main__':
  launch(_read, run, ['index.html', 'results.csv'], resolve_sweep)
