// All events of a camera, newest first, with older ones on demand.
import { html, useEffect, useRef, useState } from '../lib.js';
import { serverNow } from '../store.js';
import { day, startOfDay } from '../format.js';
import { isKept, mayMark, olderEvents } from '../events.js';
import { Dialog } from './dialog.js';
import { Failure, Seg, Skeleton } from './bits.js';
import { Row } from './happenings.js';

const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 6e4).toISOString().slice(0, 10);

export function EventList({ stream, events, marking, onClose }) {
  const [kind, setKind] = useState('');
  const [only, setOnly] = useState('');
  const [until, setUntil] = useState(NaN);
  const [got, setGot] = useState({ list: /** @type {any[]} */ ([]), to: 0, next: '', busy: true, error: /** @type {any} */ (null) });
  const run = useRef(/** @type {AbortController|null} */ (null));
  const load = async (list, to, next) => {
    run.current?.abort();
    const c = new AbortController();
    run.current = c;
    setGot((g) => ({ ...g, list, busy: true, error: null }));
    try {
      const a = await olderEvents(stream.name, to, { kind, next, signal: c.signal });
      setGot({ list: [...list, ...a.events], to, next: a.next, busy: false, error: null });
    } catch (error) { if (error.name !== 'AbortError') setGot((g) => ({ ...g, busy: false, error })); }
  };
  const anew = () => load([], Number.isFinite(until) ? until : serverNow() + 300e3);
  useEffect(() => { anew(); return () => run.current?.abort(); }, [kind, until]);
  const kinds = [...new Set([...events.all.value, ...got.list].map((e) => e.kind).concat(kind).filter(Boolean))].sort();
  const t = serverNow();
  const shown = only ? got.list.filter((e) => isKept(e, t)) : got.list;
  const days = [];
  for (const e of shown) {
    const d = startOfDay(e.start);
    if (days.at(-1)?.d !== d) days.push({ d, list: [] });
    days.at(-1).list.push(e);
  }
  const pick = (e) => { const at = new Date(`${e.currentTarget.value}T00:00`).getTime(); setUntil(Number.isFinite(at) ? at + 864e5 : NaN); };
  const go = (e) => { onClose(); marking.goThere(e); };
  return html`<${Dialog} title=${`Events of ${stream.name}`} onClose=${onClose}>
    <div class="row"><select class="in auto" aria-label="Kind" value=${kind} onChange=${(e) => setKind(e.currentTarget.value)}><option value="">all kinds</option>${kinds.map((k) => html`<option value=${k}>${k}</option>`)}</select>
      <${Seg} label="Which" value=${only} onChange=${setOnly} options=${[['', 'All'], ['kept', 'Kept']]} />
      <label class="row" style=${{ gap: '6px' }}><span class="mut small">until</span><input class="in auto" type="date" max=${local(t)} onChange=${pick} /></label></div>
    ${days.map(({ d, list }) => html`<section key=${d}><h3 class="f">${d === startOfDay(t) ? 'Today' : day(d, 0)}</h3><ul class="evs">${list.map((e) => html`<${Row} key=${e.id} e=${e} t=${t} stream=${stream} onGo=${go} onEdit=${mayMark() && marking.edit} />`)}</ul></section>`)}
    ${got.error && html`<div style=${{ marginTop: '12px' }}><${Failure} what="The events could not be read" error=${got.error} retry=${() => (got.list.length ? load(got.list, got.to, got.next) : anew())} /></div>`}
    ${got.busy && html`<div class="stack" style=${{ marginTop: '12px' }} aria-busy="true"><${Skeleton} height="40px" /><${Skeleton} height="40px" /></div>`}
    ${!got.busy && !got.error && !shown.length && html`<p class="mut" style=${{ padding: '24px 0', textAlign: 'center' }}>${got.next ? 'None among those that were read.' : kind || only || Number.isFinite(until) ? 'No event matches.' : 'Nothing was marked on this camera yet.'}</p>`}
    ${!got.busy && !got.error && got.next && html`<div class="row" style=${{ justifyContent: 'center', marginTop: '12px' }}><button type="button" class="btn" onClick=${() => load(got.list, got.to, got.next)}>Older</button></div>`}
    ${!got.busy && !got.next && shown.length > 0 && html`<p class="mut small" style=${{ textAlign: 'center', marginTop: '12px' }}>These are all.</p>`}</${Dialog}>`;
}
