// The clips of a player start, stop and loop together. The longest leads; the others follow it and
// jump where they are more than a frame off.
const uniedit = (() => {
  const players = new Set();

  // Gradio changes the elements of a page instead of replacing them: a player may get other clips,
  // so that nothing about them is remembered.
  function play(box) {
    const videos = () => [...box.querySelectorAll('video')], fps = () => +box.dataset.fps || 8;
    const part = name => box.querySelector(`.${name}`), length = v => v.duration || 0;
    const lead = () => videos().reduce((a, b) => length(b) > length(a) ? b : a);
    const frames = () => Math.max(1, Math.round(length(lead()) * fps()));
    let playing = true, shown = true;
    const show = () => {
      const at = Math.min(frames() - 1, Math.floor(lead().currentTime * fps() + 1e-3));
      part('scrub').max = frames() - 1; part('scrub').value = at;
      box.querySelector('output').value = `frame ${at} / ${frames() - 1}`;
      part('play').textContent = playing ? 'Pause' : 'Play';
    };
    const move = time => videos().forEach(v => { v.currentTime = Math.min(time, length(v)); });
    const step = n => {
      playing = false;
      // One that still plays would go on from where it is put.
      videos().forEach(v => v.pause());
      move((Math.max(0, Math.min(frames() - 1, n)) + .5) / fps());
    };
    const tick = () => {
      if (!box.isConnected) { players.delete(tick); return; }
      if (!videos().length) return;
      show();
      if (!playing || !shown) { videos().forEach(v => v.paused || v.pause()); return; }
      const first = lead();
      if (first.ended) { move(0); return; }
      videos().forEach(v => {
        if (v.paused && !v.ended) v.play().catch(() => {});
        const lag = Math.min(first.currentTime, length(v)) - v.currentTime;
        if (v !== first && !v.seeking && Math.abs(lag) > 1 / fps()) v.currentTime += lag;
      });
    };
    box.addEventListener('click', ({target}) => {
      if (target === part('play')) playing = !playing;
      if (target === part('back')) step(+part('scrub').value - 1);
      if (target === part('next')) step(+part('scrub').value + 1);
    });
    box.addEventListener('input', ({target}) => {
      if (target === part('scrub')) step(+target.value);
    });
    new IntersectionObserver(([entry]) => { shown = entry.isIntersecting; }).observe(box);
    players.add(tick);
  }

  // What the server sends appears without a word: players are found as they come.
  const seen = new WeakSet(), near = new WeakSet();
  const gallery = new IntersectionObserver(entries => entries.forEach(entry => {
    near[entry.isIntersecting ? 'add' : 'delete'](entry.target);
    entry.isIntersecting ? entry.target.play().catch(() => {}) : entry.target.pause();
  }));
  document.addEventListener('loadeddata', ({target}) => {
    if (near.has(target)) target.play().catch(() => {});
  }, true);
  const look = () => {
    document.querySelectorAll('.uniedit-player').forEach(box => {
      if (!seen.has(box)) { seen.add(box); play(box); }
    });
    document.querySelectorAll('.uniedit-card video').forEach(v => {
      if (!seen.has(v)) { seen.add(v); gallery.observe(v); }
    });
  };
  const beat = () => { players.forEach(tick => tick()); requestAnimationFrame(beat); };
  const begin = () => {
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
    look(); beat();
  };
  if (document.body) begin(); else addEventListener('DOMContentLoaded', begin);
  document.addEventListener('click', event => {
    const button = event.target.closest && event.target.closest('.uniedit-command .copy');
    if (!button) return;
    const say = text => { button.textContent = text; };
    const copied = () => { say('Copied'); setTimeout(say, 1500, 'Copy'); };
    const board = navigator.clipboard;  // only on this machine, or over https
    if (board) board.writeText(button.dataset.text).then(copied, () => {});
  });

  // A range with two handles. Python gets [low, high] when a handle is let go.
  function range(element, props, trigger, watch) {
    const inputs = () => [...element.querySelectorAll('input')];
    const draw = () => {
      const [low, high] = inputs().map(i => +i.value).sort((a, b) => a - b), max = +props.max || 1;
      const bar = element.querySelector('.bar');
      bar.style.left = `${100 * low / max}%`; bar.style.width = `${100 * (high - low) / max}%`;
      element.querySelector('output').value = low === high ? 'off' : `${low} to ${high}`;
    };
    const take = () => {
      const found = inputs(); if (!found.length || !props.value) return;
      found.forEach((input, i) => { input.max = props.max; input.value = props.value[i]; });
      draw();
    };
    element.addEventListener('input', event => { event.stopPropagation(); draw(); });
    element.addEventListener('change', event => {
      event.stopPropagation();
      props.value = inputs().map(i => +i.value).sort((a, b) => a - b);
      trigger('release');
    });
    watch(['value', 'max'], take); take();
  }

  // Masks: frames of the clip under a tint, a brush that adds or takes away.
  const TINT = [255, 64, 64], brush = {size: [0, 0, 0], masks: {}, touched: false};
  const unpack = (text, count) => {
    const bytes = atob(text), bits = new Uint8Array(count);
    for (let i = 0; i < count; i++) bits[i] = bytes.charCodeAt(i >> 3) >> (7 - (i & 7)) & 1;
    return bits;
  };
  const pack = bits => {
    const bytes = new Uint8Array(Math.ceil(bits.length / 8));
    bits.forEach((bit, i) => { if (bit) bytes[i >> 3] |= 128 >> (i & 7); });
    let text = '';
    for (let i = 0; i < bytes.length; i += 4096) {
      text += String.fromCharCode(...bytes.subarray(i, i + 4096));
    }
    return btoa(text);
  };

  function painter(element, props, trigger, watch) {
    const part = name => element.querySelector(`.${name}`);
    const canvas = part('canvas'), context = canvas.getContext('2d'), pictures = {};
    let side = 'source', frame = 0, down = false;
    const draw = () => {
      const [frames, height, width] = brush.size; if (!frames) return;
      canvas.width = width; canvas.height = height;
      const picture = pictures[side] && pictures[side].complete ? pictures[side] : pictures.source;
      if (picture && picture.complete && picture.naturalWidth) {
        const x = frame % brush.columns * width, y = Math.floor(frame / brush.columns) * height;
        context.drawImage(picture, x, y, width, height, 0, 0, width, height);
      }
      const shown = context.getImageData(0, 0, width, height), from = frame * height * width;
      for (let i = 0; i < height * width; i++) {
        if (!brush.masks[side][from + i]) continue;
        TINT.forEach((c, k) => { shown.data[4 * i + k] = (shown.data[4 * i + k] + c) / 2; });
        shown.data[4 * i + 3] = 255;
      }
      context.putImageData(shown, 0, 0);
      part('at').value = `frame ${frame} / ${frames - 1}`;
      part('frame').max = frames - 1; part('frame').value = frame;
    };
    const take = () => {
      if (!props.value) return;
      const given = JSON.parse(props.value), count = given.size.reduce((a, b) => a * b, 1);
      brush.size = given.size; brush.columns = given.columns; brush.touched = false;
      ['source', 'target'].forEach(name => {
        const bits = given.masks[name];
        brush.masks[name] = bits ? unpack(bits, count) : new Uint8Array(count);
        pictures[name] = undefined;
        if (given.sheets[name]) {
          pictures[name] = new Image(); pictures[name].onload = draw;
          pictures[name].src = given.sheets[name];
        }
      });
      frame = Math.min(frame, given.size[0] - 1);
      canvas.classList.toggle('uniedit-sharp', Math.max(given.size[1], given.size[2]) < 160);
      draw();
    };
    const paint = event => {
      const [frames, height, width] = brush.size, box = canvas.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * width;
      const y = (event.clientY - box.top) / box.height * height;
      const radius = +part('radius').value / 100 * Math.min(height, width);
      const erases = part('tool').value === 'remove', every = part('every').checked;
      const from = at => Math.max(0, Math.floor(at - radius));
      const to = (at, size) => Math.min(size - 1, at + radius);
      for (const f of every ? [...Array(frames).keys()] : [frame]) {
        for (let j = from(y); j <= to(y, height); j++) {
          for (let i = from(x); i <= to(x, width); i++) {
            if ((i + .5 - x) ** 2 + (j + .5 - y) ** 2 > Math.max(.5, radius ** 2)) continue;
            brush.masks[side][(f * height + j) * width + i] = erases ? 0 : 1;
          }
        }
      }
      draw();
      if (!brush.touched) { brush.touched = true; trigger('input'); }
    };
    canvas.addEventListener('pointerdown', e => {
      down = true; canvas.setPointerCapture(e.pointerId); paint(e);
    });
    canvas.addEventListener('pointermove', e => { if (down) paint(e); });
    const lift = () => { down = false; };
    ['pointerup', 'pointercancel'].forEach(name => canvas.addEventListener(name, lift));
    part('frame').addEventListener('input', e => { frame = +e.target.value; draw(); });
    part('side').addEventListener('change', e => { side = e.target.value; draw(); });
    part('clear').addEventListener('click', () => {
      brush.masks[side] && brush.masks[side].fill(0); draw();
      brush.touched = true; trigger('input');
    });
    // What happens inside is the painter's own business, but for `trigger`.
    const keep = event => event.stopPropagation();
    ['input', 'change', 'click'].forEach(name => element.addEventListener(name, keep));
    watch('value', take); take();
  }

  // The brushed masks as the last of a list of values on their way to Python.
  const collect = values => {
    const masks = {};
    Object.entries(brush.masks).forEach(([side, bits]) => {
      masks[side] = bits.some(Boolean) ? pack(bits) : '';
    });
    return [...values.slice(0, -1), JSON.stringify(masks)];
  };
  return {range, painter, collect, brush};
})();
window.uniedit = uniedit;
