// The videos on and near the screen play in step, the others rest. The longest of them, the first
// of equals, leads, so that nothing is cut off; a shorter one waits at its end. Small drifts of the
// others are worked off by their playback rate; more than a frame, and every jump, stops all of
// them until each has arrived at the same time.
const get = id => document.getElementById(id), videos = [...document.querySelectorAll('video')];
const all = (query, inside = document) => [...inside.querySelectorAll(query)];

// The one rule of enlargement: small videos without blur, others never pixelated.
const enlarge = v => v.classList.toggle('small',
  (v.videoWidth || +v.getAttribute('width') || Infinity) < +document.body.dataset.small);
videos.forEach(enlarge);

// A slider draws the source over the edit, from the left. The file is on the page once.
all('.wipe').forEach(figure => {
  const over = figure.querySelector('.over'), slider = figure.querySelector('input');
  over.src = get('clip-source').src;
  slider.oninput = () => { over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`; };
});

if (videos.length) {
  const scrub = get('scrub'), rate = get('rate'), near = new Set();
  // Whoever asked their system for less motion starts the videos.
  let playing = !matchMedia('(prefers-reduced-motion: reduce)').matches;
  let group = [], lead = videos[0], goal = null, beat = 0;
  const fps = () => +lead.dataset.fps, now = () => goal ? goal.time : lead.currentTime;
  const count = () => Math.max(1, Math.round((lead.duration || 0) * fps()));
  const frame = () => Math.min(count() - 1, Math.floor(now() * fps() + 1e-3));
  // The lag of a video whose source has just changed is not known, hence 0.
  const lag = v => Math.min(lead.currentTime, v.duration) - v.currentTime || 0;
  const show = () => {
    scrub.max = count() - 1; scrub.value = frame();
    get('at').value = `frame ${frame()} / ${count() - 1}`;
    get('play').textContent = playing ? 'Pause' : 'Play';
  };
  const arrive = (v, time) => new Promise(done => {
    v.addEventListener('seeked', done, {once: true}); setTimeout(done, 1000);
    v.currentTime = Math.min(time, v.duration);
  });
  const move = async time => {
    const idle = !goal;
    goal = {time};
    if (!idle) return;  // the move under way goes on to the new goal
    cancelAnimationFrame(beat); videos.forEach(v => v.pause());
    let reached;
    do {
      reached = goal; show();
      // With none near, the lead keeps the time for those that come.
      const moved = new Set([lead, ...group].filter(v => v.readyState));
      await Promise.all([...moved].map(v => arrive(v, reached.time)));
    } while (goal !== reached);
    goal = null;
    // To play a video that has ended would start it again.
    if (playing && group.length) {
      group.forEach(v => v.ended || v.play().catch(() => {})); tick();
    }
  };
  const tick = () => {
    if (lead.ended) return move(0);
    if (group.some(v => Math.abs(lag(v)) > 1 / v.dataset.fps)) return move(lead.currentTime);
    group.forEach(v => {
      v.playbackRate = rate.value * (1 + Math.max(-.2, Math.min(.2, 2 * lag(v))));
    });
    show(); beat = requestAnimationFrame(tick);
  };
  const regroup = () => {
    const found = videos.filter(v => near.has(v) && v.readyState), time = now();
    if (found.length === group.length && found.every((v, i) => v === group[i])) return;
    group = found; lead = group.reduce((a, b) => b.duration > a.duration ? b : a, group[0] || lead);
    move(time);
  };
  const watch = new IntersectionObserver(changes => {
    changes.forEach(change => near[change.isIntersecting ? 'add' : 'delete'](change.target));
    regroup();
  }, {rootMargin: '25%'});
  videos.forEach(v => {
    // A page may change the source of an element.
    v.onloadedmetadata = v.onemptied = () => { enlarge(v); regroup(); show(); };
    watch.observe(v);
  });
  const step = n => {
    playing = false; move((Math.max(0, Math.min(count() - 1, n)) + .5) / fps());
  };
  get('play').onclick = () => { playing = !playing; move(now()); };
  get('back').onclick = () => step(frame() - 1);
  get('next').onclick = () => step(frame() + 1);
  scrub.oninput = () => step(+scrub.value);
  show();
}

// Heads of tables sort their columns: numbers by value, all else by name; once more turns it round.
all('.sortable thead th').forEach(head => {
  const column = [...head.parentNode.children].indexOf(head);
  head.onclick = () => {
    const body = head.closest('table').tBodies[0];
    const up = head.getAttribute('aria-sort') !== 'ascending';
    const text = row => row.cells[column].firstChild?.textContent.trim() ?? '';
    const value = row => text(row) === '∞' ? Infinity : parseFloat(text(row));
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || text(a).localeCompare(text(b));
      return x - y || 0;
    });
    body.append(...(up ? rows : rows.reverse()));
    all('th', head.parentNode).forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  };
});

// A sweep: the chosen measure stands under every clip, the better the greener.
if (get('measure')) {
  const measures = JSON.parse(get('values').textContent);
  const colour = () => {
    const {better, shown, values} = measures[get('measure').value];
    const known = Object.values(values).filter(Number.isFinite);
    const low = Math.min(...known), high = Math.max(...known);
    all('.cell').forEach(cell => {
      const output = cell.querySelector('.value'), value = values[cell.dataset.setting];
      output.textContent = `${get('measure').value} ${shown[cell.dataset.setting] || '–'}`;
      const share = Number.isFinite(value) && high > low ? (value - low) / (high - low) : null;
      const hue = better ? '--good' : '--bar', best = better < 0 ? 1 - share : share;
      output.style.background = share === null ? 'none'
        : `color-mix(in srgb, var(${hue}) ${Math.round(60 * best)}%, var(--card))`;
    });
  };
  get('measure').onchange = colour;
  colour();
}

// A comparison: a click on a clip shows it large, next to the source.
if (get('large')) {
  const [left, right] = all('figure', get('large'));
  const put = (figure, from) => {
    const v = figure.querySelector('video'), other = from.querySelector('video');
    v.dataset.fps = other.dataset.fps; v.poster = other.poster; v.src = other.src;
    figure.querySelector('b').textContent = from.querySelector('b').textContent;
  };
  all('article figure').forEach(figure => {
    figure.querySelector('video').onclick = () => {
      put(left, figure.parentNode.firstElementChild); put(right, figure); get('large').showModal();
    };
  });
  get('close').onclick = () => get('large').close();
}

// A scoring run: only edits of a kind and a result.
if (get('kind')) {
  const edits = all('article');
  const filter = () => {
    const keep = (edit, name) => !get(name).value || edit.dataset[name] === get(name).value;
    edits.forEach(edit => { edit.hidden = !(keep(edit, 'kind') && keep(edit, 'success')); });
    get('shown').value = `${edits.filter(edit => !edit.hidden).length} of ${edits.length} edits`;
  };
  get('kind').onchange = get('success').onchange = filter;
  filter();
}

// The frame of a notebook is as high as the page in it.
try {
  if (frameElement) {
    document.documentElement.classList.add('framed');
    new ResizeObserver(() => {
      frameElement.style.height = `${document.documentElement.offsetHeight}px`;
    }).observe(document.documentElement);
  }
} catch { /* The frame is of another origin. */ }
