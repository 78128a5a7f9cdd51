"""What people look at of a benchmark: clips side by side, a table, and a page that needs nothing
beside it.
"""

import itertools

from etils import epath

from uniedit_jax.media import grids, video
from uniedit_jax.reports import page
from uniedit_jax.reports.page import escape
from uniedit_jax.sprites.scenes import ATTRIBUTES
from uniedit_jax.sprites.scoring import LEAST_CHANGED, MOST_CHANGED

ENLARGED = 3  # times, so that clips of 32 pixels can be seen
EXACT = ('source', 'exact target')  # the clips that come first and are not judged

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
article { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .7rem;
  margin: .7rem 0; }
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
<label>all injections <select id="success"><option value="">any result</option><option value="1">success</option>
<option value="0">no success</option></select></label>
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
  video.write_mp4(
    path, grids.side_by_side({label: enlarge(frames) for label, frames in clips.items()}), fps
  )


def write_page(path, summary, rows, folder):
  """Writes the page.

  Args:
    path: of the file.
    summary: dict, as in summary.json.
    rows: list of dicts, what `scoring.judge` says of every edit and method; 'edit' numbers the
      edits.
    folder: path of <edit>.mp4, three digits, of every edit; a missing one is left out.
  """
  kinds = dict.fromkeys(row['kind'] for row in rows)
  edits = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row['edit'])]
  parts = {
    'checks': _checks(summary),
    'captions': _captions(summary['text_to_video']),
    'components': _components(summary['kinds']),
    'kinds': ''.join(f'<option>{escape(kind)}</option>' for kind in kinds),
    'edits': ''.join(
      _edit(edit, epath.Path(folder) / f'{edit[0]["edit"]:03d}.mp4') for edit in edits
    ),
  }
  page.write_page(
    path, f'Edits with rendered answers: {summary["split"]}', BODY, parts, STYLE, FILTER
  )


def _checks(summary):
  """What was edited how, and why the judge is to be trusted."""
  probe, texts = summary['probe'], []
  for task, methods in summary['methods'].items():
    texts.append(
      f'In {task} editing, <i>all</i> is {escape(" + ".join(methods["all"]) or "nothing")}.'
    )
  return (
    f'<p>{summary["edits"]} edits. {" ".join(texts)} A clip is a success if all seven attributes are read from its '
    'pixels as the target has them; it is changed if the edited one is. The reconstruction is held against the source. '
    'Intervals have 95 %: Wilson for rates, bootstrap for gains in dB.</p>'
    f'<p>The reading was checked on exact clips: {probe["exact_targets_changed"]:.1%} of the targets are read as '
    f'changed (at least {LEAST_CHANGED:.0%}), {probe["unedited_sources_changed"]:.1%} of the unedited sources '
    f'(at most {MOST_CHANGED:.0%}).</p>'
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
    cells = ''.join(f'<td>{_rate(rates[attribute])}</td>' for rates in groups.values())
    body += f'<tr><th scope="row">{escape(attribute)}</th>{cells}</tr>'
  return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _components(kinds):
  """The table of components: methods (rows) by kind."""
  columns = (
    'kind',
    'method',
    'success',
    'changed',
    'background PSNR',
    'PSNR',
    'SSIM',
    'frame difference',
  )
  units = (
    '',
    '',
    '',
    '',
    'mean, median dB',
    'mean, median dB',
    'mean, median',
    'mean, of the exact clip',
  )
  head = ''.join(
    f'<th scope="col">{column} <small>{unit}</small></th>'
    for column, unit in zip(columns, units, strict=True)
  )
  bodies = ''
  for kind, methods in kinds.items():
    body = ''
    for method, found in methods.items():
      pair = lambda name, digits, found=found: ', '.join(
        f'{found[name][of]:.{digits}f}' for of in ('mean', 'median')
      )
      cells = [
        _rate(found['success']),
        _rate(found['changed']),
        pair('background_psnr', 1) + _gain(found),
        pair('psnr', 1),
      ]
      cells += [
        pair('ssim', 3),
        ', '.join(f'{found[f"{of}frame_difference"]["mean"]:.4f}' for of in ('', 'exact_')),
      ]
      first = '' if body else f'<th scope="rowgroup" rowspan="{len(methods)}">{escape(kind)}</th>'
      body += (
        f'<tr>{first}<td>{escape(method)}</td>'
        + ''.join(f'<td>{cell}</td>' for cell in cells)
        + '</tr>'
      )
    bodies += f'<tbody>{body}</tbody>'
  return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{bodies}</table></div>'


def _edit(rows, path):
  """One edit: the captions, the clips, and what is right and wrong with each of them under it."""
  before, after = rows[0]['source'], rows[0]['target']
  marks = '<div></div>' * len(EXACT) + ''.join(map(_mark, rows))
  clips = page.embed(path)[0] if path.exists() else ''
  success = int(next(row['success'] for row in rows if row['method'] == 'all'))
  width = len(EXACT) + len(rows)
  return (
    f'<article data-kind="{escape(rows[0]["kind"])}" data-success="{success}">'
    f'<p><small>{rows[0]["edit"]:03d} {escape(rows[0]["kind"])}</small><br>{_difference(before, after)}</p>'
    f'<div class="scroll"><div style="min-width: {8 * width}rem; max-width: {9 * width}rem">{clips}'
    f'<div class="marks">{marks}</div></div></div></article>'
  )


def _difference(before, after):
  """The caption before, with the words that go and come marked."""
  old, new = before.split(' '), after.split(' ')
  start = sum(
    1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
  )
  ends = zip(reversed(old[start:]), reversed(new[start:]), strict=False)
  end = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], ends))
  gone, come = (' '.join(words[start : len(words) - end]) for words in (old, new))
  changed = [
    f'<{tag}>{escape(words)}</{tag}>' for tag, words in (('del', gone), ('ins', come)) if words
  ]
  return ' '.join(
    filter(None, [escape(' '.join(old[:start])), *changed, escape(' '.join(old[len(old) - end :]))])
  )


def _mark(row):
  """Green for success; red with the attributes that are wrong."""
  wrong = [attribute for attribute in ATTRIBUTES if not row[f'{attribute}_right']]
  kind, sign = ('bad', '✗') if wrong else ('good', '✓')
  told = f'<small>{escape(", ".join(wrong))}</small>' if wrong else ''
  return f'<div class="{kind}">{sign} {escape(row["method"])}{told}</div>'


def _rate(rate):
  """A rate with its interval, in percent."""
  return f'{rate["rate"]:.0%}<small>{rate["low"]:.0%} to {rate["high"]:.0%}</small>'


def _gain(found):
  """What a method adds to the background over plain inversion, where that was measured."""
  gain = found.get('background_gain')
  return (
    f'<small>{gain["mean"]:+.2f} ({gain["low"]:.2f} to {gain["high"]:.2f}) over inversion</small>'
    if gain
    else ''
  )
