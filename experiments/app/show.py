"""What the page shows, as HTML: players, progress, faults, the gallery and the masks.

Whatever a person or a file says is escaped. Addresses of files are made here alone.
"""

import html
import itertools
import json
import re
import shlex
import urllib.parse

from experiments.app import masks
from experiments.app.previews import columns
from uniedit_jax.reports.tables import format_number
from uniedit_jax.runtime.fields import flatten

SERVED = '/gradio_api/file='  # the address of a file of the session, before its path
CLIPS = ('source', 'reconstruction', 'motion_reference', 'edit', 'plain')
LABELS = {'plain': 'plain: nothing is injected'}
# Measures in groups, by what their names begin with; the rest is left to the report.
GROUPS = {
  'shows it': ('edit_attributes_right', 'edit_clip_text_alignment'),
  'keeps the rest': (
    'edit_kept_background_psnr_db', 'edit_source_background_psnr_db', 'edit_source_ssim',
    'edit_source_psnr_db',
  ),
  'is steady': ('edit_flicker', 'edit_warp_error', 'edit_motion_magnitude'),
  'inversion': ('free_running_reconstruction_psnr_db', 'reconstruction_psnr_db'),
}  # fmt: skip


def escape(value):
  """A value as text of a page."""
  return html.escape(str(value), quote=True)


def address(path):
  """The address of a file, '' if there is none."""
  return SERVED + urllib.parse.quote(str(path)) if path else ''


def player(clips, size, fps):
  """Clips that play in step, with their controls.

  Args:
    clips: list of (label, path of an mp4).
    size: (height, width) in pixels; small clips are enlarged without blur.
    fps: frame rate.
  """
  height, width = size
  sharp = ' uniedit-sharp' if max(size) < 160 else ''
  figures = ''.join(
    f'<figure><video muted playsinline preload="auto" width="{width}" height="{height}" '
    f'src="{escape(address(path))}"></video><figcaption>{escape(label)}</figcaption></figure>'
    for label, path in clips
  )
  controls = (
    '<div class="uniedit-controls"><button type="button" class="play">Pause</button>'
    '<button type="button" class="back" aria-label="previous frame">‹</button>'
    '<button type="button" class="next" aria-label="next frame">›</button>'
    '<input class="scrub" type="range" min="0" max="0" value="0" aria-label="frame">'
    '<output></output></div>'
  )
  many = ' uniedit-many' if len(clips) > 4 else ''
  return (
    f'<div class="uniedit-player{sharp}{many}" data-fps="{fps:g}">'
    f'<div class="uniedit-clips">{figures}</div>{controls}</div>'
  )


def results(edits):
  """The edits of a run next to their source, with what they took: list of `Made` to HTML."""
  if not edits:
    return '<p class="uniedit-soft">The edit appears here, in step with its source.</p>'
  first, clips = edits[0], []
  several = len(edits) > 1
  for edit in edits:
    for name in CLIPS:
      shared = name in ('source', 'reconstruction')
      if (path := edit.path(f'{name}.mp4')) and not (shared and edit is not first):
        label = LABELS.get(name, name.replace('_', ' '))
        clips.append((f'{label} {edit.number}' if several and not shared else label, path))
  size = first.config['clip']['height'], first.config['clip']['width']
  lines = ''.join(
    f'<li><b>edit {edit.number}</b> {escape(edit.config["target_prompt"])} '
    f'<span class="uniedit-cost">{escape(edit.cost.text) if several else ""}</span></li>'
    for edit in edits
  )
  return f'{player(clips, size, first.fps)}<ul class="uniedit-lines">{lines}</ul>'


def source(path, size, fps, note):
  """The clip as the model sees it, before it is edited."""
  return player([('source', path)], size, fps) + f'<p class="uniedit-soft">{escape(note)}</p>'


def progress(text, share):
  """A bar with its text."""
  width = 0 if share is None else round(100 * share)
  busy = ' uniedit-busy' if share is None else ''
  return (
    f'<div class="uniedit-progress{busy}" role="progressbar" aria-valuenow="{width}" '
    f'aria-valuemin="0" aria-valuemax="100"><div style="width: {width}%"></div></div>'
    f'<p class="uniedit-status">{escape(text)}</p>'
  )


def status(text, kind='done'):
  """One line about the last run; `kind` is 'done' or 'failed'."""
  return f'<p class="uniedit-status uniedit-{kind}" role="status">{escape(text)}</p>'


def faults(found, folder):
  """A list of faults, '' if there are none; of an upload's path its name is left."""
  upload = re.compile(rf'{re.escape(str(folder))}/(?:[0-9a-f]+/)?')
  shown = [upload.sub('', fault) for fault in found]
  items = ''.join(f'<li>{escape(fault)}</li>' for fault in shown)
  return f'<ul class="uniedit-faults" role="alert">{items}</ul>' if items else ''


def gallery(edits):
  """The edits of the session, the latest first: list of `Made` to HTML."""
  if not edits:
    return '<p class="uniedit-soft">No edits yet.</p>'
  before = {edit.number: other for other, edit in itertools.pairwise(edits)}
  cards = [_card(edit, before.get(edit.number)) for edit in reversed(edits)]
  return f'<div class="uniedit-gallery">{"".join(cards)}</div>'


def _card(edit, before):
  """An edit with its settings, measures, files and command."""
  sharp = ' uniedit-sharp' if max(edit.config['clip'][n] for n in ('height', 'width')) < 160 else ''
  changed = _changes(edit, before)
  settings = ''.join(
    f'<dt>{escape(name)}</dt><dd>{escape(_shown(value))}</dd>' for name, value in changed.items()
  )
  files = {
    'mp4': 'edit.mp4',
    'gif': 'edit.gif',
    'config.json': 'config.json',
    'side by side': 'side_by_side.mp4',
    'measures': 'metrics.json',
  }
  links = ' '.join(
    f'<a href="{escape(address(edit.path(name)))}" '
    f'download="edit_{edit.number:03d}{"" if name.startswith("edit.") else "_"}'
    f'{name.removeprefix("edit")}">{label}</a>'
    for label, name in files.items()
    if edit.path(name)
  )
  links += f' <a href="{escape(address(edit.path("report.html")))}" target="_blank">report</a>'
  warnings, count = ''.join(f'<p>{escape(text)}</p>' for text in edit.warnings), len(edit.warnings)
  if warnings:
    title = f'{count} warning{"" if count == 1 else "s"}'
    warnings = f'<details class="uniedit-warnings"><summary>{title}</summary>{warnings}</details>'
  line, clip = command(edit), address(edit.path('edit.mp4'))
  return (
    f'<article class="uniedit-card{sharp}" data-number="{edit.number}">'
    f'<video muted loop playsinline preload="metadata" src="{escape(clip)}"></video><div>'
    f'<h4>{edit.number}. {escape(edit.config["target_prompt"])}</h4>'
    f'<p class="uniedit-cost">{escape(edit.cost.text)}</p>'
    f'{_measures(edit.measures)}'
    f'<details><summary>{"what changed" if before else "settings"} ({len(changed)})</summary>'
    f'<dl>{settings}</dl></details>{warnings}'
    f'<p class="uniedit-links">{links}</p>'
    f'<div class="uniedit-command"><code>{escape(line)}</code>'
    f'<button type="button" class="copy" data-text="{escape(line)}">Copy</button></div>'
    '</div></article>'
  )


def command(edit):
  """The command that repeats an edit."""
  config, workdir = edit.folder / 'config.json', f'out/again_{edit.number:03d}'
  words = ['python', '-m', 'experiments.edit', f'--config=configs/rerun.py:{config}']
  return shlex.join([*words, f'--workdir={workdir}'])


def _changes(edit, before):
  """{field: value} of what an edit has and the one before had not; of the first, what it sets."""
  now = flatten(edit.config)
  if before:
    then = flatten(before.config)
    return {name: value for name, value in now.items() if then.get(name) != value}
  left_out = 'cache', 'outputs', 'schedule', 'inspect', 'more_target_prompts'
  return {
    name: value
    for name, value in now.items()
    if not name.startswith(left_out) and value not in ('', None, ())
  }


def _measures(measures):
  """The measures that fit a card, in groups."""
  rows = ''
  for group, names in GROUPS.items():
    found = [
      (name, value)
      for start in names
      for name, value in measures.items()
      if name.startswith(start) and value is not None
    ]
    items = ', '.join(f'{_label(name)} <b>{format_number(value)}</b>' for name, value in found[:2])
    rows += f'<dt>{group}</dt><dd>{items}</dd>' if items else ''
  return f'<dl class="uniedit-measures">{rows}</dl>'


def _label(name):
  """The name of a measure in words."""
  unit = ' (dB)' if name.endswith('_db') else ''
  return escape(name.removeprefix('edit_').removesuffix('_db').replace('_', ' ')) + unit


def _shown(value):
  return value if isinstance(value, str) else json.dumps(value)


def painter(sheets, found, size):
  """What masks are brushed on, as JSON for the page.

  Args:
    sheets: dict {side: path of a picture of all frames}.
    found: dict {side: bool[F, H, W]} of the masks that there are.
    size: (frames, height, width).
  """
  data = {
    'size': size,
    'columns': columns(size[0]),
    'sheets': {side: address(path) for side, path in sheets.items()},
    'masks': {side: masks.to_bits(found[side]) for side in masks.SIDES if side in found},
  }
  return json.dumps(data)


def painter_of(edit):
  """`painter` with the masks and clips of an edit (`Made`)."""
  clip = edit.config['clip']
  return painter(edit.sheets, edit.masks, [clip[n] for n in ('frames', 'height', 'width')])
