// The last 24 hours of a stream in one thin line.
import { html, useEffect, useRef, useState } from '../lib.js';
import { fetchCoverage } from '../coverage.js';
import { serverNow, now } from '../store.js';
import { colours } from '../colours.js';
import { span } from '../format.js';
import { theme } from '../store.js';

const DAY = 864e5;
const kept = new Map(); // name -> {at, data}
let running = 0;
const queue = [];

/** At most four questions at once, however large the wall. */
function ask(name) {
  return new Promise((done, fail) => { queue.push({ name, done, fail }); turn(); });
}

function turn() {
  while (running < 4 && queue.length) {
    const j = queue.shift();
    running++;
    const to = serverNow();
    fetchCoverage(j.name, to - DAY, to, 60e3).then(j.done, j.fail).finally(() => { running--; turn(); });
  }
}

export function Strip({ stream, seen = true }) {
  const ref = useRef(null);
  const [data, setData] = useState(kept.get(stream.name)?.data || null);
  const minute = Math.floor(now.value / 60e3);
  const tint = theme.value;
  useEffect(() => {
    const had = kept.get(stream.name);
    if (!seen || (had && Date.now() - had.at < 50e3 && had.state === stream.state)) return undefined;
    let here = true;
    ask(stream.name).then((d) => {
      kept.set(stream.name, { at: Date.now(), data: d, state: stream.state });
      if (here) setData(d);
    }, () => {});
    return () => { here = false; };
  }, [stream.name, stream.state, seen, minute]);
  useEffect(() => { if (data) paint(ref.current, data); }, [data, tint]);
  const sum = data ? data.spans.reduce((n, s) => n + Math.max(0, Math.min(s.end, data.to) - Math.max(s.start, data.from)), 0) : 0;
  const text = data ? `recorded ${span(sum)} of the last 24 hours${data.gaps.length ? `, ${data.gaps.length} ${data.gaps.length === 1 ? 'gap' : 'gaps'}` : ''}` : 'last 24 hours';
  return html`<canvas ref=${ref} class="cov" role="img" aria-label=${text} title=${text}></canvas>`;
}

function paint(canvas, d) {
  const w = Math.round((canvas.clientWidth || 240) * (devicePixelRatio || 1));
  canvas.width = w;
  canvas.height = 1;
  const g = canvas.getContext('2d');
  const c = colours();
  const X = (t) => ((t - d.from) / (d.to - d.from)) * w;
  // What is too short to be seen is drawn two pixels wide all the same.
  const box = (s, colour) => { g.fillStyle = colour; const x = Math.max(0, Math.min(w - 2, X(s.start))); g.fillRect(x, 0, Math.max(2, Math.min(w, X(s.end)) - x), 1); };
  for (const s of d.spans) box(s, c.rec);
  for (const s of d.gaps) box(s, c.bad);
}
