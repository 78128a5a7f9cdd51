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

STYLE = """body { max-width: 64rem; }
[hidden] { display: none !important; }
.top { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: center; }
.top progress { flex: 1 1 8rem; accent-color: var(--bar); }
#count { min-width: 0; }
.prompt { margin: .6rem 0; max-width: 60rem; }
.prompt b { display: block; font-size: 1.1rem; }
.videos { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .5rem;
  margin: .5rem 0; }
.videos figure { max-width: 30rem; }
video.small { image-rendering: pixelated; }
.controls { position: static; padding: 0; }
fieldset { border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0;
  padding: .3rem .6rem .6rem; min-width: 0; }
legend { float: left; width: 100%; padding: 0 0 .2rem; }
legend + * { clear: both; }
fieldset.active { border-color: var(--bar); box-shadow: 0 0 0 1px var(--bar); }
.choices { display: flex; gap: .4rem; max-width: 30rem; }
.choices button { flex: 1; min-height: 2.6rem; }
.ends { display: flex; justify-content: space-between; gap: 1rem; max-width: 30rem; }
.ends small:last-child { text-align: right; }
button { border: 1px solid var(--line); border-radius: 6px; background: var(--card);
  color: var(--ink); }
button[aria-pressed=true] { background: var(--bar); border-color: var(--bar); color: #fff; }
button.main { border-color: var(--bar); font-weight: bold; }
button:disabled { opacity: .5; }
.steps { display: flex; gap: .6rem; margin: .8rem 0; }
.steps button { flex: 1; max-width: 12rem; min-height: 2.6rem; }
.warn { background: var(--warn); border: 1px solid var(--warn-line); border-radius: 6px;
  padding: .4rem .6rem; }
kbd { border: 1px solid var(--line); border-radius: 4px; padding: 0 .3rem; }
@media (max-width: 40rem) {
  #back, #next, #at, #rate { display: none; }
  .three figure:first-child { grid-column: 1 / -1; width: 42%; justify-self: center; }
}
"""

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

SCRIPT = """
const study = JSON.parse(get('study').textContent), kept = `study ${study.id}`;
const items = Object.values(study.items), clips = {};
items.forEach(item => item.clips.forEach(clip => { clips[clip.id] = {...clip, item}; }));
const measures = [...document.querySelectorAll('fieldset[data-measure]')]
  .map(field => field.dataset.measure);
const figures = [...document.querySelectorAll('figure')];

// The questions of this rater: item after item, so that the methods of one are judged in a row. A
// question is one clip or two, its name the clips in order.
const shuffled = list => {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1)); [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
};
const draw = mode => {
  const ask = item =>
    mode === 'scores' ? item.clips.map(clip => [clip.id]) : item.pairs.map(shuffled);
  const asked = shuffled(items).flatMap(item => shuffled(ask(item)));
  return asked.slice(0, study.questions || undefined);
};
const begin = () => ({
  rater: [...crypto.getRandomValues(new Uint8Array(6))]
    .map(x => x.toString(16).padStart(2, '0')).join(''),
  questions: study.modes.flatMap(draw), answers: {}, at: 0,
});
const read = () => {
  try { return JSON.parse(localStorage.getItem(kept)); } catch { return null; }
};
const state = read() || begin();
const keep = () => {
  try {
    localStorage.setItem(kept, JSON.stringify(state));
  } catch { get('unkept').hidden = false; }
};

const nameOf = question => [...question].sort().join(' ');
const answerTo = question => state.answers[nameOf(question)] || {};
const complete = question => question.length === 2 ? 'better' in answerTo(question)
  : measures.every(measure => measure in answerTo(question));
const current = () => state.questions[state.at];
const fieldsOf = question => question.length === 2 ? ['better'] : measures;
let active = 0;  // which field of the question the digits answer

const mark = () => {
  const question = current(), answered = state.questions.filter(complete).length;
  get('done').max = state.questions.length; get('done').value = answered;
  get('count').value = `${answered} of ${state.questions.length}`;
  const left = state.questions.length - answered;
  get('left').textContent = left
    ? `${left} questions are not answered.` : 'All questions are answered. Thank you!';
  if (!question) return;
  const fields = fieldsOf(question), answer = answerTo(question);
  [...measures, 'better'].forEach(name => {
    get(name).hidden = !fields.includes(name);
    get(name).classList.toggle('active', name === fields[active]);
    get(name).querySelectorAll('button').forEach(button => {
      const chosen = name === 'better' ? question[button.value] : +button.value;
      button.setAttribute('aria-pressed', answer[name] === chosen);
    });
  });
  get('after').textContent = complete(question) ? 'Next' : 'Skip';
};
const show = () => {
  const question = current();
  get('question').hidden = !question; get('end').hidden = !!question;
  if (question) {
    const item = clips[question[0]].item;
    const shown = [item.source, ...question.map(name => clips[name])];
    get('target').textContent = item.target; get('origin').textContent = item.origin;
    get('described').hidden = !item.origin;
    get('videos').classList.toggle('three', question.length === 2);
    figures.forEach((figure, i) => {
      const video = figure.querySelector('video'), clip = shown[i];
      figure.hidden = !clip; figure.dataset.clip = clip && clip.id || '';
      if (clip && video.src !== clip.video) {
        video.dataset.fps = clip.fps; video.src = clip.video;
      }
      const label = question.length === 2 ? 'AB'[i - 1] : 'edit';
      if (i) figure.querySelector('figcaption').textContent = label;
    });
    active = Math.max(0, fieldsOf(question).findIndex(name => !(name in answerTo(question))));
    get('before').disabled = !state.at;
  }
  mark();
};
const go = to => {
  state.at = Math.max(0, Math.min(state.questions.length, to)); keep(); show(); scrollTo(0, 0);
};
const choose = (name, value) => {
  const question = current(), fields = fieldsOf(question);
  state.answers[nameOf(question)] = {...answerTo(question), [name]: value};
  active = Math.min(fields.indexOf(name) + 1, fields.length - 1);
  keep(); mark();
};
const save = () => {
  const out = {study: study.id, rater: state.rater, scores: [], pairs: []};
  state.questions.filter(complete).forEach(question => {
    const answer = answerTo(question);
    if (question.length === 1) out.scores.push({clip: question[0], ...answer});
    else out.pairs.push({
      better: answer.better, worse: question.find(name => name !== answer.better)
    });
  });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(
    new Blob([JSON.stringify(out, null, 2)], {type: 'application/json'}));
  link.download = `answers-${state.rater}.json`; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  get('anew').hidden = false;
};

document.querySelectorAll('fieldset button').forEach(button => {
  const name = button.closest('fieldset').id;
  button.onclick = event => {
    choose(name, name === 'better' ? current()[button.value] : +button.value);
    // After a click or touch, Enter shall go on and not choose once more.
    if (event.detail) button.blur();
  };
});
get('before').onclick = get('return').onclick = () => go(state.at - 1);
get('after').onclick = () => go(state.at + 1);
get('save').onclick = get('finish').onclick = save;
get('anew').onclick = () => {
  try { localStorage.removeItem(kept); } catch { }
  location.reload();
};
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, select')) return;
  const question = current(), onButton = event.target.closest('button');
  if (event.key === 'ArrowLeft') go(state.at - 1);
  else if (event.key === 'ArrowRight' || event.key === 'Enter' && !onButton) go(state.at + 1);
  else if (event.key === ' ' && !onButton) get('play').click();
  else if (question) {
    const name = fieldsOf(question)[active], two = question.length === 2;
    const letter = two ? 'ab'.indexOf(event.key.toLowerCase()) : -1;
    const value = letter >= 0 ? letter : two ? event.key - 1 : +event.key;
    const button = event.key !== ' ' && get(name).querySelector(`button[value="${value}"]`);
    if (!button) return;
    button.click();
  } else return;
  event.preventDefault();
});
videos.forEach(v => v.addEventListener('loadedmetadata',
  () => v.classList.toggle('small', v.videoWidth < 160)));
keep(); show(); get('play').click();
"""


def write_study(path, key, folder, questions=0):
  """Writes the page.

  Args:
    path: of the file.
    key: `answer_key.Key`.
    folder: path of the comparison.
    questions: most questions of each mode that a rater is asked; 0 asks for all.
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
