"""Pages from the templates of this folder, and their videos, which play in step.

A page is one file with the style, the script and, unless they are linked, the videos inside.
Templates escape whatever they are given; only files of this folder are taken as they are.
"""

import base64
import concurrent.futures
import difflib
import functools
import importlib.resources
from typing import NamedTuple

from uniedit_jax.media import video
from uniedit_jax.media.decoding import address, run_ffmpeg
from uniedit_jax.media.grids import SMALL
from uniedit_jax.metrics.explained import ARROWS, explain, explain_name
from uniedit_jax.reports.tables import format_number
from uniedit_jax.runtime import files
from uniedit_jax.runtime.files import local_copy

# The most pixels of a poster's width: of a few clips in a page, and of many next to it.
POSTER, SMALL_POSTER = 960, 320


class Film(NamedTuple):
  """A video of a page.

  Attributes:
    source: its address: relative to the page, or the bytes of the file.
    poster: the first frame as an address, '' where it cannot be read.
    label: the caption.
    fps: frame rate.
    note: length, size and frame rate in words, or ''.
    size: (width, height), or None where they are not known.
  """

  source: str
  poster: str
  label: str
  fps: float
  note: str = ''
  size: tuple[int, int] | None = None


def embed(path, label=''):
  """A `Film` that contains the bytes of the mp4 at an epath.Path."""
  try:
    info = video.probe(path)
    note = f'{info.frames} frames, {info.width}×{info.height}, {info.fps:g} fps'
    # With its size the page knows its layout before the video is loaded.
    size, fps = (info.width, info.height), info.fps
  except (OSError, ValueError):
    # The file is remote or broken: the browser may still be able to play it.
    note, size, fps = '', None, video.FOLDER_FPS
  source = data_address('video/mp4', path.read_bytes())
  return Film(source, poster_of(path) if size else '', label, fps, note, size)


def link(target, path, fps, label=''):
  """A `Film` that stays a file: `target` is its address from the page, `path` its epath.Path."""
  return Film(target, poster_of(path, SMALL_POSTER), label, fps)


def link_all(links):
  """The `Film`s of many arguments of `link`; their posters are read several at a time."""
  with concurrent.futures.ThreadPoolExecutor() as pool:
    return list(pool.map(lambda given: link(*given), links))


def poster_of(path, width=POSTER):
  """The first frame of a video as an address that contains it; '' where it cannot be read."""
  options = ['-frames:v', '1', '-f', 'image2pipe']
  options += ['-vf', f"scale='min({width},iw)':-1", '-c:v', 'mjpeg', '-q:v', '4', '-']
  try:
    with local_copy(path) as name:
      done = run_ffmpeg('-v', 'error', '-nostdin', '-i', address(name), *options)
  except (OSError, ValueError):
    return ''
  return data_address('image/jpeg', done.stdout) if done.stdout else ''


def data_address(kind, data):
  """Bytes as an address that contains them."""
  return f'data:{kind};base64,{base64.b64encode(data).decode()}'


def mark_words(before, after):
  """Compares two prompts word by word: list of ('', 'del' or 'ins'; words).

  Without a prompt before, nothing is marked.
  """
  if not before.strip():
    return [('', after)]
  old, new, parts = before.split(), after.split(), []
  matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
  for kind, *at in matcher.get_opcodes():
    gone, come = ' '.join(old[at[0] : at[1]]), ' '.join(new[at[2] : at[3]])
    pairs = [('', gone)] if kind == 'equal' else [('del', gone), ('ins', come)]
    parts += [part for part in pairs if part[1]]
  return parts


def write_page(path, template, **content):
  """Writes the page of a template in templates/, which lists what it takes."""
  files.write_text(path, render(template, **content))


def render(template, **content):
  """The page of a template as text."""
  return _environment().get_template(template).render(content)


@functools.cache
def _environment():
  """The templates, with what all of them use."""
  # Late, as no page is written before the first step of a run.
  import jinja2
  import markupsafe

  made = jinja2.Environment(
    loader=jinja2.FunctionLoader(lambda name: read_file('templates', name)),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  breakable = lambda name: markupsafe.Markup('<wbr>').join(_parts(name))
  made.globals |= {
    'static': lambda name: markupsafe.Markup(read_file('static', name)),
    'small': SMALL,
    'explain': explain,
    'explain_name': explain_name,
    'arrows': ARROWS,
  }
  made.filters |= {'number': format_number, 'breakable': breakable}
  return made


def _parts(name):
  """A name in the pieces between which a narrow table may break it."""
  return name.replace('_', '_\0').replace('.', '.\0').split('\0')


def read_file(folder, name):
  """The text of a file in static/ or templates/."""
  return (importlib.resources.files(__package__) / folder / name).read_text(encoding='utf-8')
