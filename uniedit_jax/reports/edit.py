"""`report.html` of a run: clips, metrics, plan and config on one self-contained page."""

import base64
import json
import math
import pathlib
import re

from etils import epath

from uniedit_jax.metrics.measures import CLIP_NAMES
from uniedit_jax.reports import page
from uniedit_jax.reports.page import escape
from uniedit_jax.reports.tables import format_number
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

STYLE = """\
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: 0; }
.warnings { background: var(--warn); border: 1px solid var(--warn-line); border-radius: 6px;
  margin: 1rem 0; padding: .6rem 1rem; }
.warnings ul { margin: .2rem 0 0; padding-left: 1.2rem; }
.columns { display: grid; gap: 0 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
table { width: 100%; }
th, td { padding: .2rem .5rem .2rem 0; }
th { width: 45%; }
svg { display: block; overflow: visible; margin-bottom: .5rem; }
svg rect { fill: var(--bar); stroke: var(--paper); }
svg text { fill: var(--soft); font-size: 12px; }
figure.sheet { width: fit-content; max-width: 100%; margin: .5rem 0; }
.sheet img { display: block; max-width: none; }
"""

BODY = """@prompts@
@warnings@
@videos@
<div class="columns">
<section><h2>Metrics</h2>@metrics@</section>
<section><h2>Run</h2>@phases@@run@</section>
</div>
@inside@
<details><summary>Resolved config</summary><pre>@config@</pre></details>
"""


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
  faults = []
  config, metrics, run = (
    _without_home(_read_json(workdir / name, faults))
    for name in ('config.json', 'metrics.json', 'run.json')
  )
  warnings = run.pop('warnings', None) or []
  warnings = faults + (warnings if isinstance(warnings, list) else [warnings])
  parts = {
    'prompts': _prompts(config),
    'videos': _videos(workdir),
    'metrics': _table(metrics, 'No metrics were recorded.'),
    'inside': _inside(workdir / 'inspect'),
    'phases': _phases(run.pop('phases', None) or []),
    'run': _table(run, 'No run record was found.'),
    'config': escape(json.dumps(config, indent=2, ensure_ascii=False)),
    'warnings': '',
  }
  if warnings:
    items = ''.join(f'<li>{escape(w)}</li>' for w in warnings)
    parts['warnings'] = f'<div class="warnings" role="alert"><b>Warnings</b><ul>{items}</ul></div>'
  title = f'{workdir.name or "run"}: UniEdit report'
  page.write_page(workdir / 'report.html', title, BODY, parts, STYLE)
  return workdir / 'report.html'


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
  """All texts in the config whose name contains 'prompt'."""
  rows = ''.join(
    f'<dt>{escape(name.replace("_", " "))}</dt><dd>{escape(value) or "(empty)"}</dd>'
    for name, value in flatten(config).items()
    if 'prompt' in name.rpartition('.')[2] and isinstance(value, str)
  )
  return f'<dl>{rows}</dl>' if rows else ''


def _videos(workdir):
  """The grid of videos and the controls."""
  made = [
    path
    for name in ('source', *CLIP_NAMES.values())
    for path in (workdir / f'{name}.mp4', *sorted(workdir.glob(f'{name}_[0-9]*.mp4')))
  ]
  found = [(path, _label(path.stem)) for path in made]
  if (workdir / 'masks').is_dir():
    masks = sorted(p for p in (workdir / 'masks').iterdir() if p.suffix == '.mp4')
    found += [(path, f'mask: {path.stem}') for path in masks]
  figures = [page.figure(path, label) for path, label in found if path.exists()]
  if not figures:
    return '<p class="none">No videos were found.</p>'
  return f'<div class="videos">{"".join(figures)}</div>{page.CONTROLS}'


def _label(name):
  """The caption of a clip."""
  label = name.replace('_', ' ')
  return f'{label}: nothing is injected' if name.startswith('plain') else label


def _inside(folder):
  """The pictures of an inspection, those of a step and block together."""
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
    data = base64.b64encode(path.read_bytes()).decode()
    picture = f'<img loading="lazy" alt="{escape(label)}" src="data:image/png;base64,{data}">'
    by_place.setdefault(title, []).append(
      f'<figure class="sheet"><figcaption>{escape(label)}</figcaption>'
      f'<div class="scroll">{picture}</div></figure>'
    )
  sections = ''.join(
    f'<details{" open" if i == 0 else ""}><summary>{title}</summary>{"".join(figures)}</details>'
    for i, (title, figures) in enumerate(by_place.items())
  )
  return f'<section><h2>Inside</h2>{sections}</section>' if sections else ''


def _table(values, empty):
  """A row a value, with its name; nested names are joined by dots."""
  if not values:
    return f'<p class="none">{empty}</p>'
  rows = ''.join(
    f'<tr><th scope="row">{_breakable(key)}</th><td>{escape(_quantity(key, value))}</td></tr>'
    for key, value in flatten(values).items()
  )
  return f'<table>{rows}</table>'


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


def _phases(phases):
  """The rows of each step as bars; in percent, so that the text keeps its size at any width."""
  phases = [p for p in phases if isinstance(p, dict) and {'start', 'stop', 'rows'} <= p.keys()]
  steps = max((p['stop'] for p in phases), default=0)
  most = max((p['rows'] for p in phases), default=0)
  if not steps or not most:
    return ''
  bars = ''
  for p in phases:
    x, width = 100 * p['start'] / steps, 100 * (p['stop'] - p['start']) / steps
    height = 60 * p['rows'] / most
    hint = f'steps {p["start"]} to {p["stop"] - 1}: {p["rows"]} rows'
    middle = f'x="{x + width / 2:.3f}%" y="{72 - height:.1f}" text-anchor="middle"'
    bars += (
      f'<rect x="{x:.3f}%" width="{width:.3f}%" y="{76 - height:.1f}" height="{height:.1f}">'
      f'<title>{escape(hint)}</title></rect>'
      f'<text {middle}>{p["rows"]}</text>'
      f'<text x="{x:.3f}%" y="90">{p["start"]}</text>'
    )
  return (
    '<div class="none">rows computed in each step</div><svg width="100%" height="94" role="img">'
    f'{bars}<text x="100%" y="90" text-anchor="end">{steps}</text></svg>'
  )


def _breakable(name):
  """A name that a narrow table may break after a dot or an underscore."""
  return re.sub(r'([._])', r'\1<wbr>', escape(name))
