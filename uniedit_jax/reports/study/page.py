"""The page of a study: one HTML file that asks a rater, works offline, and hides the methods."""

import pathlib
import shlex
import subprocess
import tempfile

import imageio_ffmpeg
from etils import epath

from uniedit_jax.media import video
from uniedit_jax.reports import comparison_format, page
from uniedit_jax.runtime.files import atomic_file, local_copy

# The scores, each from 1 to 5: the question, and the meaning of both ends.
MEASURES = {
  'consistency': ('Do the frames fit together?', 'flickers, falls apart', 'steady and smooth'),
  'alignment': ('Does the edit show what the prompt says?', 'not at all', 'all of it'),
}
SCORES = range(1, 6)
# Options of ffmpeg that copy the pictures and nothing else.
COPY_PICTURES = shlex.split(
  '-map 0:v:0 -map_metadata -1 -map_metadata:s -1 -map_chapters -1 -c copy -fflags +bitexact '
  '-movflags +faststart'
)
MOST_BYTES = 50 * 2**20  # of clips inside of the page; more of them are files next to it
CLIPS = 'clips'  # the folder of these files


def write_study(path, key, folder, questions=0):
  """Writes the page of an `answer_key.Key` on the comparison in a folder.

  `questions` is the most of each mode that a rater is asked; 0 asks for all. Clips of more than
  `MOST_BYTES` are files in clips/ next to the page, under names that say nothing.
  """
  made = {}
  for number, edit in enumerate(key.edits):
    made[f'source{number}'] = edit, comparison_format.SOURCE
  made |= key.clips
  paths = {name: comparison_format.clip_path(folder, *clip) for name, clip in made.items()}
  apart = sum(clip.stat().length for clip in paths.values()) > MOST_BYTES
  clips = {name: _clip(clip, name, path if apart else None) for name, clip in paths.items()}
  items = []
  for number, (edit, fields) in enumerate(key.edits.items()):
    names = [name for name, (of, _) in key.clips.items() if of == edit]
    items.append(
      {
        'target': fields['target_prompt'],
        'origin': fields['source_prompt'],
        'source': clips[f'source{number}'],
        'clips': [{'id': name, **clips[name]} for name in names],
        'pairs': [pair for pair in key.pairs if pair[0] in names],
      }
    )
  page.write_page(
    path,
    'study.html',
    title='Which edit is good?',
    measures=MEASURES,
    scores=SCORES,
    modes=key.modes,
    study={'id': key.study, 'modes': key.modes, 'questions': questions, 'items': items},
  )


def _clip(path, name, beside):
  """{'fps', 'poster', 'video': address} of a clip: its bytes, or a file next to `beside`."""
  data = _without_metadata(path)
  found = {'fps': video.probe(path).fps, 'poster': page.poster_of(path)}
  if beside is None:
    return {**found, 'video': page.data_address('video/mp4', data)}
  with atomic_file(epath.Path(beside).parent / CLIPS / f'{name}.mp4') as temporary:
    pathlib.Path(temporary).write_bytes(data)
  return {**found, 'video': f'{CLIPS}/{name}.mp4'}


def _without_metadata(path):
  """The bytes of an mp4 with its pictures alone: titles and comments could give the method away."""
  with local_copy(path) as name, tempfile.TemporaryDirectory() as folder:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-i', name, *COPY_PICTURES]
    done = subprocess.run([*command, f'{folder}/bare.mp4'], capture_output=True, check=False)
    if done.returncode:
      raise ValueError(
        f'{path} cannot be read: {done.stderr.decode(errors="replace")[-300:]}; accepted: an mp4'
      )
    with open(f'{folder}/bare.mp4', 'rb') as file:
      return file.read()
