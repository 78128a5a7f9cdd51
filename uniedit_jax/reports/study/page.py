"""The page of a study: one HTML file that asks a rater, works offline, and hides the methods."""

import base64
import json
import shlex
import subprocess
import tempfile

import imageio_ffmpeg

from uniedit_jax.media import video
from uniedit_jax.reports import comparison_format, page
from uniedit_jax.runtime.files import local_copy

# The scores, each from 1 to 5: the question, and the meaning of both ends.
MEASURES = {
  'consistency': ('Do the frames fit together?', 'flickers, falls apart', 'steady and smooth'),
  'alignment': ('Does the edit show what the prompt says?', 'not at all', 'all of it'),
}
SCORES = range(1, 6)
KEYS = {
  'scores': '<kbd>1</kbd> to <kbd>5</kbd> score',
  'pairs': '<kbd>A</kbd> or <kbd>B</kbd> is the better one',
}
# Options of ffmpeg that copy the pictures and nothing else.
COPY_PICTURES = shlex.split(
  '-map 0:v:0 -map_metadata -1 -map_metadata:s -1 -map_chapters -1 -c copy -fflags +bitexact '
  '-movflags +faststart'
)

STYLE, SCRIPT = page.read_static('study.css'), page.read_static('study.js')

BODY = """<div class="top"><progress id="done" value="0"></progress><output id="count"></output>
<button id="save">Save answers</button></div>
<p id="unkept" class="warn" hidden>This browser keeps nothing: save the answers before the page is
closed.</p>
<section id="question">
<p class="prompt"><small>The edit should show</small><b id="target"></b>
<span id="described"><small>The source shows</small> <span id="origin"></span></span></p>
<div class="videos" id="videos">@figures@</div>
@controls@
@scores@
<fieldset id="better">
<legend>Which of the two is the better edit of the source, all in all?</legend>
<div class="choices"><button value="0">A</button><button value="1">B</button></div></fieldset>
<div class="steps"><button id="before">Back</button>
<button id="after" class="main">Next</button></div>
<p><small>Keys: @keys@; <kbd>Enter</kbd> or <kbd>→</kbd> next, <kbd>←</kbd> back, <kbd>space</kbd>
plays. A question can be skipped, and answered later. Who made a clip is not told, and the order is
drawn by lot.</small></p>
</section>
<section id="end" hidden>
<h2>That was the last question</h2>
<p id="left"></p>
<p>Please save the answers and send the file to whoever gave you this page.</p>
<div class="steps"><button id="return">Back</button>
<button id="finish" class="main">Save answers</button></div>
<p><button id="anew" hidden>Start anew, for another rater</button></p>
</section>
<script type="application/json" id="study">@study@</script>
"""


def write_study(path, key, folder, questions=0):
  """Writes the page of an `answer_key.Key` on the comparison in a folder.

  `questions` is the most of each mode that a rater is asked; 0 asks for all.
  """
  clip = lambda edit, name: _clip(comparison_format.clip_path(folder, edit, name))
  items = []
  for edit, fields in key.edits.items():
    names = [name for name, (of, _) in key.clips.items() if of == edit]
    items.append(
      {
        'target': fields['target_prompt'],
        'origin': fields['source_prompt'],
        'source': clip(edit, comparison_format.SOURCE),
        'clips': [{'id': name, **clip(*key.clips[name])} for name in names],
        'pairs': [pair for pair in key.pairs if pair[0] in names],
      }
    )
  study = {'id': key.study, 'modes': key.modes, 'questions': questions, 'items': items}
  video_tag = '<video muted playsinline data-fps="8"></video>'
  parts = {
    'figures': ''.join(
      f'<figure>{video_tag}<figcaption>{name}</figcaption></figure>'
      for name in ('source', 'edit', 'edit')
    ),
    'scores': ''.join(_score(name, *texts) for name, texts in MEASURES.items()),
    'keys': ', '.join(KEYS[mode] for mode in key.modes),
    # Inside a script only its end tag is markup.
    'study': json.dumps(study).replace('<', '\\u003c'),
  }
  page.write_page(path, 'Which edit is good?', BODY, parts, STYLE, SCRIPT)


def _score(name, question, worst, best):
  """The field of one score."""
  buttons = ''.join(f'<button value="{value}">{value}</button>' for value in SCORES)
  return (
    f'<fieldset id="{name}" data-measure="{name}"><legend>{question}</legend>'
    f'<div class="choices">{buttons}</div>'
    f'<div class="ends"><small>{worst}</small><small>{best}</small></div></fieldset>'
  )


def _clip(path):
  """{'fps', 'video': data URI} of a clip."""
  data = base64.b64encode(_without_metadata(path)).decode()
  return {'fps': video.probe(path).fps, 'video': f'data:video/mp4;base64,{data}'}


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
