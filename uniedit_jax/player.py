"""What pages with videos share: their looks, and videos that play in step."""

import base64
import html
import re

from uniedit_jax import video

STYLE = """:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5f6670; --paper: #fff; --card: #f4f5f7;
  --line: #dcdfe4; --bar: #3b6fd4; --warn: #fff4d6; --warn-line: #d9a400; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --soft: #9aa2ad; --paper: #15171a;
  --card: #1e2125; --line: #33383f; --bar: #6f9bf0; --warn: #33290d; --warn-line: #a67c00; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
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
"""

CONTROLS = """<div class="controls">
<button id="play">Play</button>
<button id="back" aria-label="previous frame">‹</button>
<button id="next" aria-label="next frame">›</button>
<input id="scrub" type="range" min="0" max="0" value="0" step="1" aria-label="frame">
<output id="at"></output>
<select id="rate" aria-label="playback rate"><option value=".25">¼×</option><option value=".5">½×</option>
<option value="1" selected>1×</option><option value="2">2×</option></select>
</div>"""

SCRIPT = """
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
"""


def figure(path, label, text=''):
  """One video as a data URI, with its label, length, size and perhaps more text (HTML)."""
  try:
    info = video.probe(path)
    note, fps = f'{info.frames} frames, {info.width}×{info.height}, {info.fps:g} fps', info.fps
  except (OSError, ValueError):  # a remote or broken file: the browser may still make sense of it
    note, fps = '', video.FOLDER_FPS
  data = base64.b64encode(path.read_bytes()).decode()
  return (
    f'<figure><video muted playsinline preload="auto" data-fps="{fps:g}" src="data:video/mp4;base64,{data}">'
    f'</video><figcaption><b>{escape(label)}</b> <small>{escape(note)}</small>{text}</figcaption></figure>'
  )


def write_page(path, page, parts):
  """Writes a page.

  Args:
    path: of the file.
    page: str with marks @name@; those of `style` and `script` are filled in here.
    parts: dict {name: str} of the others.
  """
  parts = {'style': STYLE, 'script': SCRIPT, **parts}
  # One pass, so that a prompt that holds such a mark is not filled in itself.
  filled = re.sub(r'@(\w+)@', lambda mark: parts[mark[1]], page)
  with video.atomic_file(path) as name, open(name, 'w', encoding='utf-8') as file:
    file.write(filled)


def escape(value):
  """Text for a page."""
  return html.escape(str(value), quote=True)
