"""The frame and style of pages, and their videos, which play in step."""

import base64
import html
import re

from uniedit_jax.media import video
from uniedit_jax.runtime import files

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@title@</title>
<style>
{style}</style>
</head>
<body>
<h1>@title@</h1>
{body}<script>
{script}</script>
</body>
</html>
"""

STYLE = """:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5f6670; --paper: #fff;
  --card: #f4f5f7; --line: #dcdfe4; --bar: #3b6fd4; --warn: #fff4d6; --warn-line: #d9a400; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --soft: #9aa2ad; --paper: #15171a;
  --card: #1e2125; --line: #33383f; --bar: #6f9bf0; --warn: #33290d; --warn-line: #a67c00; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
small, dt, th, .none { color: var(--soft); font-weight: normal; }
dd { margin: 0; }
summary { cursor: pointer; font-weight: bold; margin-top: 1.5rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem;
  overflow: auto; font-size: 13px; overflow-wrap: normal; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td { font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.videos { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr));
  gap: .8rem; margin: 1rem 0 .5rem; }
figure { margin: 0; max-width: 40rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; overflow: hidden; }
video { display: block; width: 100%; height: auto; background: #000; }
figcaption { padding: .3rem .6rem; }
figcaption small { display: block; }
.controls { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; position: sticky;
  bottom: 0; background: var(--paper); padding: .5rem 0; }
.controls input { flex: 1 1 10rem; min-width: 0; accent-color: var(--bar); }
button, select { font: inherit; padding: .2rem .7rem; }
#play { min-width: 5rem; }
output { font-variant-numeric: tabular-nums; min-width: 6.5rem; }
"""

CONTROLS = """<div class="controls">
<button id="play">Play</button>
<button id="back" aria-label="previous frame">‹</button>
<button id="next" aria-label="next frame">›</button>
<input id="scrub" type="range" min="0" max="0" value="0" step="1" aria-label="frame">
<output id="at"></output>
<select id="rate" aria-label="playback rate"><option value=".25">¼×</option>
<option value=".5">½×</option><option value="1" selected>1×</option>
<option value="2">2×</option></select>
</div>"""

SCRIPT = """
// The videos on and near the screen play in step, the others rest. The longest of them, the first
// of equals, leads, so that nothing is cut off; a shorter one waits at its end. Small drifts of the
// others are worked off by their playback rate; more than a frame, and every jump, stops all of
// them until each has arrived at the same time.
const get = id => document.getElementById(id), videos = [...document.querySelectorAll('video')];
if (videos.length) {
  const scrub = get('scrub'), rate = get('rate'), near = new Set();
  let group = [], lead = videos[0], playing = false, goal = null, beat = 0;
  const fps = () => +lead.dataset.fps, now = () => goal ? goal.time : lead.currentTime;
  const count = () => Math.max(1, Math.round((lead.duration || 0) * fps()));
  const frame = () => Math.min(count() - 1, Math.floor(now() * fps() + 1e-3));
  // The lag of a video whose source has just changed is not known, hence 0.
  const lag = v => Math.min(lead.currentTime, v.duration) - v.currentTime || 0;
  const show = () => {
    scrub.max = count() - 1; scrub.value = frame();
    get('at').value = `frame ${frame()} / ${count() - 1}`;
    get('play').textContent = playing ? 'Pause' : 'Play';
  };
  const arrive = (v, time) => new Promise(done => {
    v.addEventListener('seeked', done, {once: true}); setTimeout(done, 1000);
    v.currentTime = Math.min(time, v.duration);
  });
  const move = async time => {
    const idle = !goal;
    goal = {time};
    if (!idle) return;  // the move under way goes on to the new goal
    cancelAnimationFrame(beat); videos.forEach(v => v.pause());
    let reached;
    do {
      reached = goal; show();
      // With none near, the lead keeps the time for those that come.
      const moved = new Set([lead, ...group].filter(v => v.readyState));
      await Promise.all([...moved].map(v => arrive(v, reached.time)));
    } while (goal !== reached);
    goal = null;
    // To play a video that has ended would start it again.
    if (playing && group.length) {
      group.forEach(v => v.ended || v.play().catch(() => {})); tick();
    }
  };
  const tick = () => {
    if (lead.ended) return move(0);
    if (group.some(v => Math.abs(lag(v)) > 1 / v.dataset.fps)) return move(lead.currentTime);
    group.forEach(v => {
      v.playbackRate = rate.value * (1 + Math.max(-.2, Math.min(.2, 2 * lag(v))));
    });
    show(); beat = requestAnimationFrame(tick);
  };
  const regroup = () => {
    const found = videos.filter(v => near.has(v) && v.readyState), time = now();
    if (found.length === group.length && found.every((v, i) => v === group[i])) return;
    group = found; lead = group.reduce((a, b) => b.duration > a.duration ? b : a, group[0] || lead);
    move(time);
  };
  const watch = new IntersectionObserver(changes => {
    changes.forEach(change => near[change.isIntersecting ? 'add' : 'delete'](change.target));
    regroup();
  }, {rootMargin: '25%'});
  videos.forEach(v => {
    // A page may change the source of an element.
    v.onloadedmetadata = v.onemptied = () => { regroup(); show(); };
    watch.observe(v);
  });
  const step = n => {
    playing = false; move((Math.max(0, Math.min(count() - 1, n)) + .5) / fps());
  };
  get('play').onclick = () => { playing = !playing; move(now()); };
  get('back').onclick = () => step(frame() - 1);
  get('next').onclick = () => step(frame() + 1);
  scrub.oninput = () => step(+scrub.value);
  show();
}
"""


def embed(path):
  """A video as a <video> element that contains the file's bytes.

  Args:
    path: epath.Path of an mp4.

  Returns:
    (HTML, its length, size and frame rate as text); the text is '' where they cannot be read.
  """
  try:
    info = video.probe(path)
    note = f'{info.frames} frames, {info.width}×{info.height}, {info.fps:g} fps'
    # With its size the page knows its layout before the video is loaded.
    size, fps = f'width="{info.width}" height="{info.height}" ', info.fps
  except (OSError, ValueError):
    # The file is remote or broken: the browser may still be able to play it.
    note, size, fps = '', '', video.FOLDER_FPS
  data = base64.b64encode(path.read_bytes()).decode()
  return _element(f'data:video/mp4;base64,{data}', fps, size), note


def link(address, fps, label):
  """A figure with a linked video, `address` relative to the page, and its label (HTML)."""
  return f'<figure>{_element(escape(address), fps)}<figcaption>{label}</figcaption></figure>'


def _element(source, fps, size=''):
  attributes = f'{size}muted playsinline preload="metadata" data-fps="{fps:g}"'
  return f'<video {attributes} src="{source}"></video>'


def figure(path, label, text=''):
  """A figure with an embedded video, its label, length, size, and further text (HTML)."""
  element, note = embed(path)
  caption = f'<b>{escape(label)}</b> <small>{escape(note)}</small>{text}'
  return f'<figure>{element}<figcaption>{caption}</figcaption></figure>'


def write_page(path, title, body, parts, style='', script=''):
  """Writes a page.

  Args:
    path: of the file.
    title: str, also the heading.
    body: HTML with marks @name@ for the parts; @controls@ is filled in here.
    parts: dict {name: HTML} of the others.
    style: CSS of this page.
    script: JavaScript of this page; runs after that of the videos, whose `get(id)` it may use.
  """
  parts = {'title': escape(title), 'controls': CONTROLS} | parts
  page = PAGE.format(style=STYLE + style, body=body, script=SCRIPT + script)
  # All marks are replaced in one pass, so that a prompt that holds such a mark is left alone.
  files.write_text(path, re.sub(r'@(\w+)@', lambda mark: parts[mark[1]], page))


def escape(value):
  """A value as text for a page."""
  return html.escape(str(value), quote=True)
