"""Side-by-side videos and a self-contained HTML page of a scoring run."""

import itertools

from etils import epath

from uniedit_jax.media import grids, video
from uniedit_jax.reports import page
from uniedit_jax.reports.page import escape
from uniedit_jax.sprites.scenes import ATTRIBUTES
from uniedit_jax.sprites.scoring import LEAST_CHANGED, MOST_CHANGED

ENLARGED = 3  # times, as clips have 32 pixels
EXACT = ('source', 'exact target')  # the clips that come first and are not judged
COLUMNS = {  # heading: unit
  'kind': '',
  'method': '',
  'success': '',
  'changed': '',
  'background PSNR': 'mean, median dB',
  'PSNR': 'mean, median dB',
  'SSIM': 'mean, median',
  'frame difference': 'mean, of the exact clip',
}

STYLE = """:root { --good: #1a7f37; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --good: #57c76f; --bad: #ff7b72; } }
p { margin: .3rem 0; max-width: 60rem; }
table { overflow-wrap: normal; }
th, td { padding: .2rem 1rem .2rem 0; }
td { white-space: nowrap; }
table small { display: block; }
tbody + tbody tr:first-child > * { border-top: 2px solid var(--soft); }
.filters { bottom: auto; top: 0; }
@media (max-width: 40rem) { .filters { position: static; } }
article { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .5rem .7rem; margin: .7rem 0; }
article[hidden] { display: none; }
article p del { color: var(--bad); }
article p ins { color: var(--good); text-decoration: none; font-weight: bold; }
video { image-rendering: pixelated; }
.marks { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 4px; line-height: 1.2;
  padding-top: .2rem; }
.marks small { display: block; }
.good { color: var(--good); }
.bad { color: var(--bad); }
"""

BODY = """@checks@
<h2>Text to video</h2>
@captions@
<h2>Edits</h2>
@components@
<section>
<h2>Every edit</h2>
<div class="controls filters">
<label>kind <select id="kind"><option value="">all</option>@kinds@</select></label>
<label>all injections <select id="success"><option value="">any result</option>
<option value="1">success</option><option value="0">no success</option></select></label>
<output id="shown"></output>
</div>
@edits@
@controls@
</section>
"""

FILTER = """
const edits = [...document.querySelectorAll('article')];
const filter = () => {
  const keep = (edit, name) => !get(name).value || edit.dataset[name] === get(name).value;
  edits.forEach(edit => { edit.hidden = !(keep(edit, 'kind') && keep(edit, 'success')); });
  get('shown').value = `${edits.filter(edit => !edit.hidden).length} of ${edits.length} edits`;
};
get('kind').onchange = get('success').onchange = filter;
filter();
get('play').click();
"""


def write_clips(path, clips, fps):
  """Writes clips side by side as an mp4.

  Args:
    path: of the file.
    clips: dict {label: u8[F, H, W, 3]}.
    fps: frame rate.
  """
  enlarge = lambda frames: frames.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
  clips = {label: enlarge(frames) for label, frames in clips.items()}
  video.write_mp4(path, grids.side_by_side(clips), fps)


def write_page(path, summary, rows, folder):
  """Writes the page.

  Args:
    path: of the file.
    summary: dict, as in summary.json.
    rows: list of dicts, `scoring.judge` of every edit and method; 'edit' is the edit's number.
    folder: path of the clips <edit>.mp4, three digits; missing ones are left out.
  """
  folder, kinds = epath.Path(folder), dict.fromkeys(row['kind'] for row in rows)
  edits = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row['edit'])]
  parts = {
    'checks': _checks(summary),
    'captions': _captions(summary['text_to_video']),
    'components': _components(summary['kinds']),
    'kinds': ''.join(f'<option>{escape(kind)}</option>' for kind in kinds),
    'edits': ''.join(_edit(edit, folder / f'{edit[0]["edit"]:03d}.mp4') for edit in edits),
  }
  title = f'Edits with rendered answers: {summary["split"]}'
  page.write_page(path, title, BODY, parts, STYLE, FILTER)


def _checks(summary):
  """The methods, the criteria, and how reliable the reading is."""
  checked, texts = summary['reader_check'], []
  for task, methods in summary['methods'].items():
    injections = escape(' + '.join(methods['all']) or 'nothing')
    texts.append(f'In {task} editing, <i>all</i> is {injections}.')
  return (
    f'<p>{summary["edits"]} edits. {" ".join(texts)} A clip is a success if all seven attributes '
    'are read from its pixels as the target has them; it is changed if the edited attribute is. '
    'The reconstruction is compared with the source. 95 % intervals: Wilson for rates, bootstrap '
    'for gains in dB.</p><p>The reading was checked on exact clips: '
    f'{checked["exact_targets_changed"]:.1%} of the targets are read as changed '
    f'(at least {LEAST_CHANGED:.0%}), {checked["unedited_sources_changed"]:.1%} of the unedited '
    f'sources (at most {MOST_CHANGED:.0%}).</p>'
  )


def _captions(groups):
  """Rates of the attributes (rows) for every group of captions (columns)."""
  if not groups:
    return '<p class="none">Was left out.</p>'
  head = ''.join(
    f'<th scope="col">{escape(name)} ({rates["all together"]["count"]} clips)</th>'
    for name, rates in groups.items()
  )
  body = ''
  for attribute in (*ATTRIBUTES, 'all together'):
    cells = _cells(_rate(rates[attribute]) for rates in groups.values())
    body += f'<tr><th scope="row">{escape(attribute)}</th>{cells}</tr>'
  return _table(f'<th></th>{head}', f'<tbody>{body}</tbody>')


def _components(kinds):
  """The table of components: methods (rows) by kind."""
  head = ''.join(
    f'<th scope="col">{column} <small>{unit}</small></th>' for column, unit in COLUMNS.items()
  )
  bodies = ''
  for kind, methods in kinds.items():
    first, body = f'<th scope="rowgroup" rowspan="{len(methods)}">{escape(kind)}</th>', ''
    for method, scores in methods.items():
      body += f'<tr>{first}{_cells(_component(method, scores))}</tr>'
      first = ''
    bodies += f'<tbody>{body}</tbody>'
  return _table(head, bodies)


def _component(method, scores):
  """The cells of a method in the order of `COLUMNS`, without the kind."""
  pair = lambda name, form: f'{scores[name]["mean"]:{form}}, {scores[name]["median"]:{form}}'
  difference, exact = (scores[f'{of}frame_difference']['mean'] for of in ('', 'exact_'))
  return [
    escape(method),
    _rate(scores['success']),
    _rate(scores['changed']),
    pair('background_psnr', '.1f') + _gain(scores),
    pair('psnr', '.1f'),
    pair('ssim', '.3f'),
    f'{difference:.4f}, {exact:.4f}',
  ]


def _cells(contents):
  return ''.join(f'<td>{content}</td>' for content in contents)


def _table(head, bodies):
  """A table that scrolls when the window is narrow."""
  table = f'<table><thead><tr>{head}</tr></thead>{bodies}</table>'
  return f'<div class="scroll">{table}</div>'


def _edit(rows, path):
  """One edit: its captions, its clips, and the judgement of each clip under it."""
  before, after = rows[0]['source'], rows[0]['target']
  marks = '<div></div>' * len(EXACT) + ''.join(map(_mark, rows))
  clips = page.embed(path)[0] if path.exists() else ''
  success = int(next(row['success'] for row in rows if row['method'] == 'all'))
  width = len(EXACT) + len(rows)
  return (
    f'<article data-kind="{escape(rows[0]["kind"])}" data-success="{success}">'
    f'<p><small>{rows[0]["edit"]:03d} {escape(rows[0]["kind"])}</small><br>'
    f'{_difference(before, after)}</p>'
    f'<div class="scroll"><div style="min-width: {8 * width}rem; max-width: {9 * width}rem">{clips}'
    f'<div class="marks">{marks}</div></div></div></article>'
  )


def _difference(before, after):
  """The caption before, with the removed and the added words marked."""
  old, new = before.split(' '), after.split(' ')
  start = _shared(old, new)
  end = _shared(old[start:][::-1], new[start:][::-1])
  gone, come = (escape(' '.join(words[start : len(words) - end])) for words in (old, new))
  parts = [
    escape(' '.join(old[:start])),
    gone and f'<del>{gone}</del>',
    come and f'<ins>{come}</ins>',
    escape(' '.join(old[len(old) - end :])),
  ]
  return ' '.join(filter(None, parts))


def _shared(old, new):
  """The number of words at which two captions begin alike."""
  pairs = zip(old, new, strict=False)
  return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _mark(row):
  """Green for success; red with the attributes that are wrong."""
  wrong = [attribute for attribute in ATTRIBUTES if not row[f'{attribute}_right']]
  kind, sign = ('bad', '✗') if wrong else ('good', '✓')
  names = f'<small>{escape(", ".join(wrong))}</small>' if wrong else ''
  return f'<div class="{kind}">{sign} {escape(row["method"])}{names}</div>'


def _rate(rate):
  """A rate and its interval, in percent."""
  return f'{rate["rate"]:.0%}<small>{rate["low"]:.0%} to {rate["high"]:.0%}</small>'


def _gain(scores):
  """The gain in background PSNR over plain inversion, where it was measured."""
  if not (gain := scores.get('background_gain')):
    return ''
  interval = f'{gain["low"]:.2f} to {gain["high"]:.2f}'
  return f'<small>{gain["mean"]:+.2f} ({interval}) over inversion</small>'
