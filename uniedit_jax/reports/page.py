"""The frame and style of pages, and their videos, which play in step."""

import base64
import html
import importlib.resources
import re

from uniedit_jax.media import video
from uniedit_jax.runtime import files


def read_static(name):
  """The text of a file in static/."""
  return (importlib.resources.files(__package__) / 'static' / name).read_text(encoding='utf-8')


STYLE, SCRIPT = read_static('page.css'), read_static('page.js')
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


def embed(path):
  """A video, the epath.Path of an mp4, as a <video> element that contains the file's bytes.

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
