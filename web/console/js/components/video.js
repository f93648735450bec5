// A small live picture, for walls: it plays while it can be seen, falls back to stills
// when this browser cannot play the stream, and says why there is nothing.
import { html, useEffect, useRef, useState } from '../lib.js';
import { Live, canLive } from '../player/live.js';
import { playable } from '../player/mse.js';
import { serverNow, system } from '../store.js';
import { address, stream as path } from '../api.js';
import { codecName, span } from '../format.js';

const STILL_EVERY = 10000;

/** True while the element is on the screen and the page is looked at. */
export function useSeen(ref) {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    let inside = false;
    const tell = () => setSeen(inside && !document.hidden);
    const io = new IntersectionObserver(([e]) => { inside = e.isIntersecting; tell(); }, { rootMargin: '80px' });
    io.observe(ref.current);
    document.addEventListener('visibilitychange', tell);
    return () => { io.disconnect(); document.removeEventListener('visibilitychange', tell); };
  }, []);
  return seen;
}

export function LiveVideo({ stream, label = true }) {
  const ref = useRef(null);
  const seen = useSeen(ref);
  const codec = (stream.tracks || []).find((t) => t.kind === 'video')?.codec;
  const mse = canLive() && playable(stream);
  const [blocked, setBlocked] = useState(false);
  const stills = !mse || blocked;
  return html`<div ref=${ref}>${stream.live && seen && (stills
    ? html`<${Still} stream=${stream} why=${mse || canLive() ? codecName(codec) : ''} />`
    : html`<${Moving} name=${stream.name} label=${label} onBlocked=${() => setBlocked(true)} />`)}</div>`;
}

function Moving({ name, label, onBlocked }) {
  const ref = useRef(null);
  const [tag, setTag] = useState('');
  useEffect(() => {
    let live;
    let timer;
    const begin = () => {
      if (!ref.current) return;
      live = new Live(ref.current, name, {
        onstate: (s) => {
          if (s.kind === 'unplayable') return onBlocked();
          if (s.kind === 'error') setTag(s.text);
          else if (s.kind !== 'playing') setTag(s.text || 'loading…');
          else setTag('');
        },
        onrestart: () => { clearTimeout(timer); timer = setTimeout(() => { live?.close(); begin(); }, 500); },
      });
    };
    begin();
    const tick = setInterval(() => {
      const t = live?.time;
      if (live?.said?.startsWith('playing') && Number.isFinite(t)) setTag(`live ${span(Math.max(0, Math.round((serverNow() - t) / 10) * 10))}`);
    }, 1000);
    return () => { clearInterval(tick); clearTimeout(timer); live?.close(); };
  }, [name]);
  return html`<video ref=${ref} muted playsInline disablePictureInPicture aria-label=${`live picture of ${name}`}></video>${label && tag && html`<span class="tag tr clip">${tag}</span>`}`;
}

/** A picture made by the server every few seconds. */
function Still({ stream, why }) {
  const [n, setN] = useState(0);
  const [gone, setGone] = useState(false);
  const able = system.value?.ffmpeg !== false;
  useEffect(() => {
    const t = setInterval(() => setN((x) => x + 1), STILL_EVERY);
    return () => clearInterval(t);
  }, []);
  if (!able || gone) return html`<div class="off-note"><strong>No live picture here</strong><span>${why ? `This browser cannot play ${why}. ` : ''}It is recorded as it is.</span></div>`;
  return html`<img alt=${`newest still of ${stream.name}`} src=${address(path(stream.name, '/still.jpg'), { width: 480, n }).href} onError=${() => setGone(true)} onLoad=${() => setGone(false)} /><span class="tag tr">still${why ? ` · ${why}` : ''}</span>`;
}
