"""`report.html` of a run: verdict, clips, measures, plan and config on one self-contained page."""

import json
import math
import pathlib
import re
import shlex

from etils import epath

from uniedit_jax.metrics.explained import by_group
from uniedit_jax.metrics.measures import CLIP_NAMES, distrust
from uniedit_jax.reports import page
from uniedit_jax.reports.tables import format_number
from uniedit_jax.reports.verdict import next_steps, verdict
from uniedit_jax.runtime.faults import line_of
from uniedit_jax.runtime.fields import flatten

# Captions of the pictures that `reports.inspection` writes.
SHEETS = {
  'spatial_q': 'queries of spatial attention, in the colours of their three main components',
  'temporal_map': 'temporal attention: all places together, then from each place to itself in the '
  'next frame',
  'text_map': 'cross-attention to each word',
}
# Home folders on Linux, macOS and Windows, and the one here.
HOME = re.compile(
  rf'(?<![\w/\\])(?:{re.escape(str(pathlib.Path.home()))}|/(?:home|Users)/[^/\s]+|/root|'
  r'[A-Za-z]:\\Users\\[^\\\s]+)(?=[/\\\s]|$)'
)
# Units by the words of a measure's name; the first that fits counts.
UNITS = {'psnr': 'dB', 'db': 'dB', 'seconds': 's', 'ms': 'ms', 'percent': '%', 'fps': 'frames/s'}

# Files of a run that the page leads to.
LINKED = re.compile(r'(edit(_\d+)?\.(mp4|gif)|side_by_side\.mp4|(config|metrics|run)\.json)')
SETTINGS = 'task', 'method', 'preset', 'steps', 'guidance', 'seed'  # named in the head


def write_report(workdir):
  """Writes `<workdir>/report.html` from the files that a run left; missing ones are left out.

  Reads config.json, metrics.json (flat, number or null), run.json, source.mp4, reconstruction.mp4,
  motion_reference.mp4, edit.mp4, masks/*.mp4 and inspect/*.png. Videos and pictures become part of
  the page, whose epath.Path it returns; raises FileNotFoundError if there is no such folder. Pages
  are passed on, so paths in a user's home begin with ~ there.
  """
  workdir = epath.Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(
      f'workdir is {workdir!s}, which is no folder; accepted: the folder of a run'
    )
  page.write_page(workdir / 'report.html', 'report.html', **_content(workdir))
  return workdir / 'report.html'


def _content(workdir):
  """What templates/report.html takes."""
  faults = []
  config, metrics, run = (
    _without_home(_read_json(workdir / name, faults))
    for name in ('config.json', 'metrics.json', 'run.json')
  )
  warnings = run.pop('warnings', None) or []
  warnings = faults + (warnings if isinstance(warnings, list) else [warnings])
  numbers = {k: v for k, v in metrics.items() if v is None or isinstance(v, int | float)}
  # The verdict and what to try next say this already.
  said = distrust(numbers, (config.get('inversion') or {}).get('method'))
  first, others = _films(workdir)
  bars, steps = _bars(run.pop('phases', None) or [])
  rows = by_group(metrics)
  named = [clip for found in rows.values() for values in found.values() for clip in values if clip]
  groups = {
    group: {
      measure: {clip: _quantity(measure, value) for clip, value in values.items()}
      for measure, values in found.items()
    }
    for group, found in rows.items()
  }
  links = sorted(path.name for path in workdir.iterdir() if LINKED.fullmatch(path.name))
  settings = {name: config[name] for name in SETTINGS if config.get(name) not in (None, '')}
  return {
    'title': f'{workdir.name or "run"}: UniEdit report',
    'prompts': _prompts(config),
    'settings': {name: _quantity(name, value) for name, value in settings.items()},
    'verdict': verdict(numbers),
    'warnings': [warning for warning in warnings if warning != said],
    'first': first,
    'others': others,
    'groups': groups,
    # The edits, then what is made without injections, then the source.
    'clips': sorted(dict.fromkeys(named), key=lambda clip: ('eps'.find(clip[0]), clip)) or [''],
    'next': next_steps(numbers, config) if numbers else [],
    'sheets': _sheets(workdir / 'inspect'),
    'machine': _machine(run),
    'bars': bars,
    'steps': steps,
    'run': {name: _quantity(name, value) for name, value in flatten(run).items()},
    'config': json.dumps(config, indent=2, ensure_ascii=False),
    'command': _command(workdir) if config else '',
    'links': links,
  }


def _without_home(value):
  """JSON whose texts have ~ in place of the home folder of whoever made the run."""
  if isinstance(value, dict):
    return {name: _without_home(part) for name, part in value.items()}
  if isinstance(value, list):
    return [_without_home(part) for part in value]
  return HOME.sub('~', value) if isinstance(value, str) else value


def _read_json(path, faults):
  """A JSON object, {} if there is none; an unreadable one is added to `faults`."""
  if not path.exists():
    return {}
  try:
    value = json.loads(path.read_text())
  except (ValueError, RecursionError) as error:
    faults.append(f'{path.name} could not be read: {line_of(error)}')
    return {}
  return value if isinstance(value, dict) else {path.stem: value}


def _prompts(config):
  """The source prompt against each target prompt, their words marked; other prompts as they are."""
  texts = {
    name.rpartition('.')[2]: value
    for name, value in flatten(config).items()
    if 'prompt' in name.rpartition('.')[2] and isinstance(value, str) and value.strip()
  }
  more = config.get('more_target_prompts')
  targets = [texts.get('target_prompt'), *(more if isinstance(more, list) else ())]
  source = texts.get('source_prompt', '')
  return [page.mark_words(source, str(target)) for target in targets if target]


def _films(workdir):
  """(The source and the edit, all other clips and masks), as `page.Film`s."""
  names = [
    path
    for name in ('source', *CLIP_NAMES.values())
    for path in (workdir / f'{name}.mp4', *sorted(workdir.glob(f'{name}_[0-9]*.mp4')))
  ]
  found = [(path, _label(path.stem)) for path in names]
  if (workdir / 'masks').is_dir():
    masks = sorted(p for p in (workdir / 'masks').iterdir() if p.suffix == '.mp4')
    found += [(path, f'mask: {path.stem}') for path in masks]
  films = [page.embed(path, label) for path, label in found if path.exists()]
  first = [film for name in ('source', 'edit') for film in films if film.label == name]
  return first, [film for film in films if film not in first]


def _label(name):
  """The caption of a clip."""
  label = name.replace('_', ' ')
  return f'{label}: nothing is injected' if name.startswith('plain') else label


def _sheets(folder):
  """The pictures of an inspection, {title: list of (label, address)}, by step and block."""
  by_place = {}
  for path in sorted(folder.glob('*.png')) if folder.is_dir() else ():
    kind, at, place = path.stem.partition('_step_')
    step, _, rest = place.partition('_block_')
    block, _, branch = rest.partition('_')
    title = 'Where each branch is heading, step by step'
    if at:
      title = f'Step {int(step)}, block {int(block)}'
    label = SHEETS.get(kind, kind.replace('_', ' '))
    if branch:
      label += f': {branch.replace("_", " ")}'
    picture = page.data_address('image/png', path.read_bytes())
    by_place.setdefault(title, []).append((label, picture))
  return by_place


def _machine(run):
  """The line under which the facts about the run are folded."""
  spent = [run.get(name) for name in ('seconds', 'compile_seconds')]
  seconds = sum(
    value
    for by_phase in spent
    if isinstance(by_phase, dict)
    for phase, value in by_phase.items()
    if phase != 'background' and isinstance(value, int | float)
  )
  devices, commit = run.get('devices'), run.get('git_commit')
  facts = [
    ', '.join(map(str, devices)) if isinstance(devices, list) else '',
    f'preset {run["preset"]}' if run.get('preset') else '',
    f'seed {run["seed"]}' if run.get('seed') is not None else '',
    f'{seconds:.0f} s' if seconds else '',
    f'commit {str(commit)[:8]}' if commit else '',
  ]
  return ', '.join(filter(None, facts))


def _command(workdir):
  """The command that makes the edit again, in a folder next to this one."""
  folder = _without_home(str(workdir))
  parts = f'--config=configs/rerun.py:{folder}/config.json', f'--workdir={folder}_again'
  return ' '.join(['python -m experiments.edit', *map(shlex.quote, parts)])


def _quantity(key, value):
  """A value as text, with the unit that its name implies."""
  if value is None or isinstance(value, str):
    return value or '—'
  if isinstance(value, (list, dict)):
    return ', '.join(v if isinstance(v, str) else json.dumps(v) for v in value) if value else 'none'
  if isinstance(value, bool):
    return 'yes' if value else 'no'
  words = set(re.split(r'[^a-z0-9]+', key.lower()))
  if 'bytes' in words and math.isfinite(value):
    return f'{value / 2**30:.2f} GiB' if value >= 2**29 else f'{value / 2**20:.1f} MiB'
  return format_number(value) + next((f' {UNITS[word]}' for word in UNITS if word in words), '')


def _bars(phases):
  """The rows of each step as bars, in percent, so that the text keeps its size: (bars, steps)."""
  phases = [p for p in phases if isinstance(p, dict) and {'start', 'stop', 'rows'} <= p.keys()]
  steps = max((p['stop'] for p in phases), default=0)
  most = max((p['rows'] for p in phases), default=0)
  bars = []
  for p in phases if steps and most else ():
    x, width = 100 * p['start'] / steps, 100 * (p['stop'] - p['start']) / steps
    height = 60 * p['rows'] / most
    bars.append(
      {
        'x': f'{x:.3f}',
        'width': f'{width:.3f}',
        'middle': f'{x + width / 2:.3f}',
        'y': 76 - height,
        'height': f'{height:.1f}',
        'rows': p['rows'],
        'start': p['start'],
        'hint': f'steps {p["start"]} to {p["stop"] - 1}: {p["rows"]} rows',
      }
    )
  return bars, steps
