"""Edits one clip or several with many settings, those of a clip side by side.

  python -m experiments.sweep --config=configs/ablate_injection.py --sweep=components \
    --workdir=out/components

The settings are what the function `sweep_<name>(config)` of the config's file yields: dicts of
fields and values. The workdir gets index.html, which shows all of it, results.csv (a row a
setting), settings/<number>/ with edit.mp4 and the config.json that repeats it (configs/rerun.py),
and sources/<number>/ with the source and the reconstruction of each pass. The same command goes on
where an interrupted sweep stopped.
"""

import hashlib
import json

from absl import flags
from etils import epath
from ml_collections import config_flags

from experiments.launch import launch
from experiments.requests.sweep import read_settings, read_sweep, resolve_sweep
from uniedit_jax.pipeline import edit as pipeline_edit
from uniedit_jax.pipeline.passes import make_settings
from uniedit_jax.pipeline.sources import fingerprints, read_source
from uniedit_jax.reports import sweep as sweep_report
from uniedit_jax.reports import tables
from uniedit_jax.runtime import progress
from uniedit_jax.runtime.workdir import once, without_cache, write_json
from uniedit_jax.sprites import world

_SWEEP = flags.DEFINE_string('sweep', None, 'Name of a function sweep_<name> of --config.')


def run(passes, workdir):
  """Makes the settings of all `SettingsPass`es; returns the rows of results.csv, dicts."""
  workdir = epath.Path(workdir)
  log = progress.shown_log(dict.fromkeys(w for one in passes for w in one.edit.warnings))
  rows, model, loaded = [], None, None
  for number, one in enumerate(passes):
    progress.announce(f'pass {number + 1} of {len(passes)}: {len(one.settings)} settings')
    request = one.edit.request
    if loaded != (needed := (request.checkpoint, one.edit.dtype)):
      model, loaded = pipeline_edit.load(*needed, request.cache, log), needed
    config = resolve_sweep([one])
    facts = json.dumps([without_cache(config), fingerprints(config), model.hash])
    key = hashlib.sha256(facts.encode()).hexdigest()
    path = workdir / 'passes' / f'{number:03d}.json'
    rows += once(path, _make, one, model, workdir, number, log, key=key)
  rows.sort(key=lambda row: row['setting'])
  tables.write_csv(workdir / 'results.csv', rows)
  log.facts |= {
    'passes': [{'settings': len(one.settings), 'phases': one.edit.plan.phases} for one in passes]
  }
  write_json(workdir / 'run.json', log.as_dict())
  swept = list(next(iter(passes[0].settings.values())))
  title = f'{workdir.name}: {", ".join(swept)}'
  sweep_report.write_sweep(workdir, title, rows, swept, log.as_dict())
  return rows


def finished(passes, workdir):
  """How many settings are finished, in words."""
  done = [
    len(one.settings)
    for number, one in enumerate(passes)
    if (workdir / 'passes' / f'{number:03d}.json').exists()
  ]
  return f'{sum(done)} of {sum(len(one.settings) for one in passes)} settings'


def _make(one, model, workdir, number, log):
  """Makes the settings of a pass: their rows of results.csv."""
  source, rows = read_source(one.edit), []
  (prepared,) = pipeline_edit.prepare(model, [one.edit], [source], log)
  world.warn(one.edit, prepared, log)
  judge = world.judge_of(model.config)
  for setting, clips, measures in make_settings(one, model, prepared, log, judge):
    resolved = one.resolved[setting]
    sweep_report.write_clips(workdir, setting, number, clips, prepared.fps, resolved)
    rows.append({'setting': setting, 'pass': number, **one.settings[setting], **measures})
  return rows


def _read(config):
  # The flag is file.py:form.
  path, _, _ = config_flags.get_config_filename(flags.FLAGS['config']).partition(':')
  return read_sweep(config, read_settings(path, _SWEEP.value, config))


if __name__ == '__main__':
  again = 'python -m experiments.edit --config=configs/rerun.py:{}/settings/000/config.json ...'
  tell = lambda workdir: ['Try next one of the settings as an edit:', f'  {again.format(workdir)}']
  launch(_read, run, ['index.html', 'results.csv'], resolve_sweep, finished, tell=tell)
