"""Parts of the page that gradio has not: a range with two handles, and masks to brush on."""

import pathlib

import gradio as gr

STATIC = pathlib.Path(__file__).parent / 'static'
RANGE = """<div class="uniedit-range"><label><span>@label@</span><output></output></label>
<div class="track"><div class="inner"><div class="bar"></div>
<input type="range" min="0" max="1" step="1" aria-label="@label@, from">
<input type="range" min="0" max="1" step="1" aria-label="@label@, to"></div></div></div>"""
PAINTER = """<div class="uniedit-painter"><canvas class="canvas"></canvas><div class="tools">
<label>mask of <select class="side"><option value="source">the source</option>
<option value="target">the edit</option></select></label>
<label>brush <select class="tool"><option value="add">adds</option>
<option value="remove">takes away</option></select></label>
<label>size <input class="radius" type="range" min="1" max="30" value="8"></label>
<label><input class="every" type="checkbox"> in all frames</label>
<button type="button" class="clear">Clear</button></div><div class="tools">
<input class="frame" type="range" min="0" max="0" value="0" aria-label="frame of the mask">
<output class="at"></output></div></div>"""
# The names of events stand in the scripts, as gradio finds them there.
ON_LOAD = "uniedit.@kind@(element, props, name => trigger(name), watch); /* '@event@' */"


def styles():
  """The CSS of the page."""
  return (STATIC / 'app.css').read_text(encoding='utf-8')


def script():
  """The script of the page, for its head."""
  return f'<script>{(STATIC / "app.js").read_text(encoding="utf-8")}</script>'


def make_range(label, value, largest, name):
  """A range slider with the value [low, high]; its event is `release`."""
  return gr.HTML(
    value=value,
    html_template=RANGE.replace('@label@', label),
    js_on_load=ON_LOAD.replace('@kind@', 'range').replace('@event@', 'release'),
    apply_default_css=False,
    elem_id=f'range-{name.replace(".", "-")}',
    max=largest,
  )


def make_painter():
  """The masks, whose value is what `show.painter` makes; its event is `input`, the first stroke."""
  return gr.HTML(
    value='',
    html_template=PAINTER,
    js_on_load=ON_LOAD.replace('@kind@', 'painter').replace('@event@', 'input'),
    apply_default_css=False,
    elem_id='painter',
  )
