// Small parts that every page uses.
import { html, useState, useRef, useEffect } from '../lib.js';
import { full } from '../format.js';
import { status } from '../status.js';
import { now, outage, words } from '../store.js';
import { Icon } from './icons.js';

export const Dot = ({ tone }) => html`<i class=${`dot ${tone === 'ok' ? '' : tone}`} aria-hidden="true"></i>`;

/** The status of a stream, or what it was when the server last answered. */
export function known(stream) {
  const s = status(stream, now.value);
  return outage.value ? { ...s, tone: 'off', word: `was ${s.word}` } : s;
}

/** State of a stream as shape, colour and word. */
export function StatusChip({ stream }) {
  const s = known(stream);
  return html`<span class="chip" title=${s.text || s.title}><${Dot} tone=${s.tone} /><span class="clip">${s.word}</span></span>`;
}

/** A time in the viewer's zone, with UTC in its title. */
export const Time = ({ at, children }) => html`<time dateTime=${Number.isFinite(at) ? new Date(at).toISOString() : ''} title=${full(at)}>${children}</time>`;

export function Seg({ label, options, value, onChange, small }) {
  return html`<div class=${`seg ${small ? 'sm' : ''}`} role="group" aria-label=${label}>
    ${options.map(([v, text, title]) => html`<button type="button" key=${v} title=${title} aria-pressed=${v === value} onClick=${() => onChange(v)}>${text}</button>`)}
  </div>`;
}

/** Text with a button that copies it. */
export function Copy({ text, label }) {
  const [done, setDone] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    if (!(await toClipboard(text))) return;
    setDone(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(false), 1600);
  };
  return html`<div class="copy"><pre tabIndex="0" aria-label=${label}>${text}</pre>
    <button type="button" class="btn sm" onClick=${copy}><${Icon} name="copy" /><span aria-live="polite">${done ? 'Copied' : 'Copy'}</span></button></div>`;
}

async function toClipboard(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* plain http: the old way */ }
  const t = document.createElement('textarea');
  t.value = text;
  t.className = 'sr';
  document.body.append(t);
  t.select();
  const ok = document.execCommand('copy');
  t.remove();
  return ok;
}

export const Empty = ({ title, children, action }) => html`<div class="card empty"><h2>${title}</h2><p>${children}</p>${action}</div>`;

/** What went wrong in words, with the next step and a way to try again. */
export function Failure({ error, retry, what }) {
  return html`<div class="card alert bad" role="alert"><${Dot} tone="bad" /><div><b>${what}</b><div class="mut">${words(error)}</div></div>
    ${retry && html`<button type="button" class="btn sm" onClick=${retry}>Try again</button>`}</div>`;
}

export const Skeleton = ({ width = '100%', height = '14px' }) => html`<div class="sk" aria-hidden="true" style=${{ width, height }}></div>`;
export const Spinner = () => html`<div class="spin" role="status" aria-label="loading"></div>`;

export function Field({ label, id, hint, error, children }) {
  // The field says its hint and its error to who cannot see them below it.
  useEffect(() => {
    const ids = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ');
    const e = document.getElementById(id);
    if (ids) e?.setAttribute('aria-describedby', ids); else e?.removeAttribute('aria-describedby');
  });
  return html`<div><label class="f" htmlFor=${id}>${label}</label>${children}${hint && html`<p class="mut small" id=${`${id}-hint`}>${hint}</p>`}${error && html`<p class="err" role="alert" id=${`${id}-error`}>${error}</p>`}</div>`;
}

/** A setting that this browser remembers. */
export function useKept(key, first) {
  const read = () => { try { return localStorage.getItem(`penstock.${key}`) || first; } catch { return first; } };
  const [v, set] = useState(read);
  return [v, (next) => { set(next); try { localStorage.setItem(`penstock.${key}`, next); } catch { /* storage is off */ } }];
}
