"""Side-by-side videos and a self-contained HTML page of a scoring run."""

import itertools

from etils import epath

from uniedit_jax.media import grids, video
from uniedit_jax.reports import page
from uniedit_jax.sprites.scenes import ATTRIBUTES
from uniedit_jax.sprites.scoring import LEAST_CHANGED, MOST_CHANGED

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


def write_clips(path, clips, fps):
  """Writes clips side by side as an mp4.

  Args:
    path: of the file.
    clips: dict {label: u8[F, H, W, 3]}.
    fps: frame rate.
  """
  video.write_mp4(path, grids.side_by_side(clips), fps)


def write_page(path, summary, rows, folder):
  """Writes the page.

  Args:
    path: of the file.
    summary: dict, as in summary.json.
    rows: list of dicts, `scoring.judge` of every edit and method; 'edit' is the edit's number.
    folder: path of the clips <edit>.mp4, three digits; missing ones are left out.
  """
  folder = epath.Path(folder)
  edits = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row['edit'])]
  checked, methods = summary['reader_check'], summary['methods']
  page.write_page(
    path,
    'scoring.html',
    title=f'Edits with rendered answers: {summary["split"]}',
    methods={task: ' + '.join(found['all']) or 'nothing' for task, found in methods.items()},
    checked={
      'changed': f'{checked["exact_targets_changed"]:.1%}',
      'least': f'{LEAST_CHANGED:.0%}',
      'unedited': f'{checked["unedited_sources_changed"]:.1%}',
      'most': f'{MOST_CHANGED:.0%}',
    },
    captions=_captions(summary['text_to_video']),
    columns=COLUMNS,
    kinds={
      kind: [_component(method, scores) for method, scores in methods.items()]
      for kind, methods in summary['kinds'].items()
    },
    filters=list(dict.fromkeys(row['kind'] for row in rows)),
    edits=[_edit(edit, folder / f'{edit[0]["edit"]:03d}.mp4') for edit in edits],
  )


def _captions(groups):
  """Rates of the attributes (rows) for every group of captions (columns); None without groups."""
  if not groups:
    return None
  rows = [
    (name, [_rate(rates[name]) if name in rates else ('',) for rates in groups.values()])
    for name in (*ATTRIBUTES, 'all together')
  ]
  counts = [(name, rates['all together']['count']) for name, rates in groups.items()]
  return {'groups': counts, 'rows': rows}


def _component(method, scores):
  """The cells of a method in the order of `COLUMNS`, without the kind: tuples of lines."""
  pair = lambda name, form: f'{scores[name]["mean"]:{form}}, {scores[name]["median"]:{form}}'
  difference, exact = (scores[f'{of}frame_difference']['mean'] for of in ('', 'exact_'))
  return [
    (method,),
    _rate(scores['success']),
    _rate(scores['changed']),
    (pair('background_psnr', '.1f'), _gain(scores)),
    (pair('psnr', '.1f'),),
    (pair('ssim', '.3f'),),
    (f'{difference:.4f}, {exact:.4f}',),
  ]


def _edit(rows, path):
  """One edit: its captions, its clips, and the judgement of each clip under it."""
  return {
    'kind': rows[0]['kind'],
    'number': f'{rows[0]["edit"]:03d}',
    'success': int(next(row['success'] for row in rows if row['method'] == 'all')),
    'prompts': page.mark_words(rows[0]['source'], rows[0]['target']),
    'film': page.embed(path) if path.exists() else None,
    'unjudged': len(EXACT),
    'width': len(EXACT) + len(rows),
    'marks': [(row['method'], ', '.join(_wrong(row))) for row in rows],
  }


def _wrong(row):
  """The attributes that are wrong."""
  return [attribute for attribute in ATTRIBUTES if not row[f'{attribute}_right']]


def _rate(rate):
  """A rate and its interval, in percent."""
  return f'{rate["rate"]:.0%}', f'{rate["low"]:.0%} to {rate["high"]:.0%}'


def _gain(scores):
  """The gain in background PSNR over plain inversion, where it was measured."""
  if not (gain := scores.get('background_gain')):
    return ''
  return f'{gain["mean"]:+.2f} ({gain["low"]:.2f} to {gain["high"]:.2f}) over inversion'
