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
        video.dataset.fps = clip.fps; video.poster = clip.poster; video.src = clip.video;
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
keep(); show();
