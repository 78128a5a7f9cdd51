"""`report.html`: what one run did, on a page that opens by double click and needs nothing beside it."""

import base64
import html
import json
import math
import re

from etils import epath

from uniedit_jax import video

VIDEOS = 'source', 'reconstruction', 'motion_reference', 'edit'

CONTROLS = """<div class="controls">
<button id="play">Play</button>
<button id="back" aria-label="previous frame">‹</button>
<button id="next" aria-label="next frame">›</button>
<input id="scrub" type="range" min="0" max="0" value="0" step="1" aria-label="frame">
<output id="at"></output>
<select id="rate" aria-label="playback rate"><option value=".25">¼×</option><option value=".5">½×</option>
<option value="1" selected>1×</option><option value="2">2×</option></select>
</div>"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@title@</title>
<style>
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5f6670; --paper: #fff; --card: #f4f5f7;
  --line: #dcdfe4; --bar: #3b6fd4; --warn: #fff4d6; --warn-line: #d9a400; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --soft: #9aa2ad; --paper: #15171a;
  --card: #1e2125; --line: #33383f; --bar: #6f9bf0; --warn: #33290d; --warn-line: #a67c00; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: 0; }
dt, th, figcaption small, .none { color: var(--soft); font-weight: normal; }
dd { margin: 0; }
.warnings { background: var(--warn); border: 1px solid var(--warn-line); border-radius: 6px;
  margin: 1rem 0; padding: .6rem 1rem; }
.warnings ul { margin: .2rem 0 0; padding-left: 1.2rem; }
.videos { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: .8rem;
  margin: 1rem 0 .5rem; }
figure { margin: 0; max-width: 40rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; overflow: hidden; }
video { display: block; width: 100%; background: #000; }
figcaption { padding: .3rem .6rem; }
figcaption small { display: block; }
.controls { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; position: sticky; bottom: 0;
  background: var(--paper); padding: .5rem 0; }
.controls input { flex: 1 1 10rem; min-width: 0; accent-color: var(--bar); }
button, select { font: inherit; padding: .2rem .7rem; }
#play { min-width: 5rem; }
output { font-variant-numeric: tabular-nums; min-width: 6.5rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2rem;
  align-items: start; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .5rem .2rem 0;
  border-bottom: 1px solid var(--line); }
th { width: 45%; }
td.number { font-variant-numeric: tabular-nums; }
svg { display: block; overflow: visible; margin-bottom: .5rem; }
svg rect { fill: var(--bar); stroke: var(--paper); }
svg text { fill: var(--soft); font-size: 12px; }
summary { cursor: pointer; font-weight: bold; margin-top: 1.5rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem;
  overflow: auto; font-size: 13px; overflow-wrap: normal; }
</style>
</head>
<body>
<h1>@title@</h1>
@prompts@
@warnings@
@videos@
<div class="columns">
<section><h2>Metrics</h2>@metrics@</section>
<section><h2>Run</h2>@phases@@run@</section>
</div>
<details><summary>Resolved config</summary><pre>@config@</pre></details>
<script>
// The first video leads. Small drifts of the others are worked off by their playback rate; more than a frame,
// and every jump, stops all of them until each has arrived at the same time.
const videos = [...document.querySelectorAll('video')], lead = videos[0];
if (lead) {
  const get = id => document.getElementById(id), fps = +lead.dataset.fps;
  const scrub = get('scrub'), rate = get('rate');
  let playing = false, wanted = null;
  const count = () => Math.max(1, Math.round((lead.duration || 0) * fps));
  const frame = () => Math.min(count() - 1, Math.floor(lead.currentTime * fps + 1e-3));
  const lag = v => Math.min(lead.currentTime, v.duration || 0) - v.currentTime;
  const show = () => {
    scrub.max = count() - 1; scrub.value = frame(); get('at').value = `frame ${frame()} / ${count() - 1}`;
    get('play').textContent = playing ? 'Pause' : 'Play';
  };
  const arrive = (v, time) => new Promise(done => {
    v.onseeked = done; setTimeout(done, 1000); v.currentTime = Math.min(time, v.duration || 0);
  });
  const jump = async time => {
    const idle = wanted === null;
    wanted = time;
    if (!idle) return;  // the jump under way goes on to the new time
    videos.forEach(v => v.pause());
    do {
      time = wanted; await Promise.all(videos.map(v => arrive(v, time))); show();
    } while (time !== wanted);
    wanted = null;
    if (playing) { videos.forEach(v => v.play().catch(() => {})); requestAnimationFrame(tick); }
  };
  const tick = () => {
    if (!playing || wanted !== null) return;
    if (lead.ended) return jump(0);
    if (videos.some(v => Math.abs(lag(v)) > 1 / fps)) return jump(lead.currentTime);
    videos.forEach(v => { v.playbackRate = rate.value * (1 + Math.max(-.2, Math.min(.2, 2 * lag(v)))); });
    show(); requestAnimationFrame(tick);
  };
  const step = n => { playing = false; jump((Math.max(0, Math.min(count() - 1, n)) + .5) / fps); };
  get('play').onclick = () => { playing = !playing; jump(playing && lead.ended ? 0 : lead.currentTime); };
  get('back').onclick = () => step(frame() - 1);
  get('next').onclick = () => step(frame() + 1);
  scrub.oninput = () => step(+scrub.value);
  lead.onloadedmetadata = show;
  show();
}
</script>
</body>
</html>
"""


def write_report(workdir):
  """Writes `<workdir>/report.html` from what a run left there; parts that are missing are left out.

  Read are config.json, metrics.json (flat, number or null), run.json, source.mp4, reconstruction.mp4,
  motion_reference.mp4, edit.mp4 and masks/*.mp4. The videos become part of the page.

  Args:
    workdir: str or path-like, local or remote.

  Returns:
    epath.Path of the page.

  Raises:
    FileNotFoundError: there is no such folder.
  """
  workdir = epath.Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f'workdir is {workdir!s}, which is no folder; accepted: the folder of a run')
  faults = []
  config, metrics, run = (_read_json(workdir / name, faults) for name in ('config.json', 'metrics.json', 'run.json'))
  warnings = run.pop('warnings', None) or []
  warnings = faults + (warnings if isinstance(warnings, list) else [warnings])
  parts = {
    'title': _escape(f'{workdir.name or "run"}: UniEdit report'),
    'prompts': _prompts(config),
    'videos': _videos(workdir),
    'metrics': _table(metrics, 'No metrics were recorded.'),
    'phases': _phases(run.pop('phases', None) or []),
    'run': _table(run, 'No run record was found.'),
    'config': _escape(json.dumps(config, indent=2, ensure_ascii=False)),
    'warnings': '',
  }
  if warnings:
    items = ''.join(f'<li>{_escape(w)}</li>' for w in warnings)
    parts['warnings'] = f'<div class="warnings" role="alert"><b>Warnings</b><ul>{items}</ul></div>'
  # One pass, so that a prompt that holds such a mark is not filled in itself.
  page = re.sub(r'@(\w+)@', lambda mark: parts[mark[1]], PAGE)
  path = workdir / 'report.html'
  with video.atomic_file(path) as temporary, open(temporary, 'w', encoding='utf-8') as file:
    file.write(page)
  return path


def _read_json(path, faults):
  """A JSON object, {} if there is none; an unreadable one is added to `faults`."""
  if not path.exists():
    return {}
  try:
    value = json.loads(path.read_text())
  except ValueError as error:
    faults.append(f'{path.name} could not be read: {error}')
    return {}
  return value if isinstance(value, dict) else {path.stem: value}


def _flatten(tree, prefix=''):
  """Yields (dotted name, leaf) of nested dicts."""
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      yield from _flatten(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


def _prompts(config):
  """All text in the config whose name speaks of a prompt."""
  found = [(k, v) for k, v in _flatten(config) if 'prompt' in k.rpartition('.')[2] and isinstance(v, str)]
  rows = ''.join(f'<dt>{_escape(k.replace("_", " "))}</dt><dd>{_escape(v) or "(empty)"}</dd>' for k, v in found)
  return f'<dl>{rows}</dl>' if rows else ''


def _videos(workdir):
  """The grid of videos and the controls."""
  made = [path for name in VIDEOS for path in (workdir / f'{name}.mp4', *sorted(workdir.glob(f'{name}_[0-9]*.mp4')))]
  found = [(path, path.stem.replace('_', ' ')) for path in made]
  if (workdir / 'masks').is_dir():
    masks = sorted(p for p in (workdir / 'masks').iterdir() if p.suffix == '.mp4')
    found += [(path, f'mask: {path.stem}') for path in masks]
  figures = [_figure(path, label) for path, label in found if path.exists()]
  if not figures:
    return '<p class="none">No videos were found.</p>'
  return f'<div class="videos">{"".join(figures)}</div>{CONTROLS}'


def _figure(path, label):
  """One video as a data URI, with its label, length and size."""
  try:
    info = video.probe(path)
    note, fps = f'{info.frames} frames, {info.width}×{info.height}, {info.fps:g} fps', info.fps
  except (OSError, ValueError):  # a remote or broken file: the browser may still make sense of it
    note, fps = '', video.FOLDER_FPS
  data = base64.b64encode(path.read_bytes()).decode()
  return (
    f'<figure><video muted playsinline preload="auto" data-fps="{fps:g}" src="data:video/mp4;base64,{data}">'
    f'</video><figcaption><b>{_escape(label)}</b> <small>{_escape(note)}</small></figcaption></figure>'
  )


def _table(values, empty):
  """Name and value, one row each; nested names are joined by dots."""
  if not values:
    return f'<p class="none">{empty}</p>'
  rows = ''.join(
    f'<tr><th scope="row">{_breakable(key)}</th><td class="number">{_escape(_quantity(key, value))}</td></tr>'
    for key, value in _flatten(values)
  )
  return f'<table>{rows}</table>'


def _quantity(key, value):
  """A value as text, with the unit that its name tells."""
  if value is None or isinstance(value, str):
    return value or '—'
  if isinstance(value, (list, dict)):
    return ', '.join(v if isinstance(v, str) else json.dumps(v) for v in value) if value else 'none'
  if isinstance(value, bool):
    return 'yes' if value else 'no'
  words = set(re.split(r'[^a-z0-9]+', key.lower()))
  if 'bytes' in words and math.isfinite(value):
    return f'{value / 2**30:.2f} GiB' if value >= 2**29 else f'{value / 2**20:.1f} MiB'
  units = {'psnr': 'dB', 'db': 'dB', 'seconds': 's', 'ms': 'ms', 'percent': '%', 'fps': 'frames/s'}
  unit = next((f' {name}' for word, name in units.items() if word in words), '')
  number = {math.inf: '∞', -math.inf: '−∞'}.get(value, str(value) if isinstance(value, int) else f'{value:.4g}')
  return number + unit


def _phases(phases):
  """Rows per step as a strip of bars; positions in percent, so that the text keeps its size at any width."""
  phases = [p for p in phases if isinstance(p, dict) and {'start', 'stop', 'rows'} <= p.keys()]
  steps, most = max((p['stop'] for p in phases), default=0), max((p['rows'] for p in phases), default=0)
  if not steps or not most:
    return ''
  bars = ''
  for p in phases:
    x, width = 100 * p['start'] / steps, 100 * (p['stop'] - p['start']) / steps
    height = 60 * p['rows'] / most
    hint = f'steps {p["start"]} to {p["stop"] - 1}: {p["rows"]} rows'
    bars += f'<rect x="{x:.3f}%" width="{width:.3f}%" y="{76 - height:.1f}" height="{height:.1f}">'
    bars += f'<title>{_escape(hint)}</title></rect>'
    bars += f'<text x="{x + width / 2:.3f}%" y="{72 - height:.1f}" text-anchor="middle">{p["rows"]}</text>'
    bars += f'<text x="{x:.3f}%" y="90">{p["start"]}</text>'
  bars += f'<text x="100%" y="90" text-anchor="end">{steps}</text>'
  return f'<div class="none">rows computed in each step</div><svg width="100%" height="94" role="img">{bars}</svg>'


def _breakable(name):
  """A name that a narrow table may break after a dot or an underscore."""
  return re.sub(r'([._])', r'\1<wbr>', _escape(name))


def _escape(value):
  return html.escape(str(value), quote=True)
