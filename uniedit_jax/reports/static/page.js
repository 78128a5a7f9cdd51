// The videos on and near the screen play in step, the others rest. The longest of them, the first
// of equals, leads, so that nothing is cut off; a shorter one waits at its end. Small drifts of the
// others are worked off by their playback rate; more than a frame, and every jump, stops all of
// them until each has arrived at the same time.
const get = id => document.getElementById(id), videos = [...document.querySelectorAll('video')];
if (videos.length) {
  const scrub = get('scrub'), rate = get('rate'), near = new Set();
  let group = [], lead = videos[0], playing = false, goal = null, beat = 0;
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
    v.onloadedmetadata = v.onemptied = () => { regroup(); show(); };
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
