// What people say about events: keep a clip, record one, change one, delete one.
import { html, useId, useState } from '../lib.js';
import { iso } from '../api.js';
import { now, serverNow, toast, words } from '../store.js';
import { bytes, clock, day, duration, instant, kept, span } from '../format.js';
import { addEvent, changeEvent, dropEvent, ends, isKept, keptWords, mayMark, word } from '../events.js';
import { Confirm, Dialog } from './dialog.js';
import { EventList } from './eventlist.js';
import { Field, Time } from './bits.js';

const USUAL = [['30d', '30 days'], ['365d', '1 year'], ['forever', 'ever: until it is deleted']];
const LEAST = 6e4, MOST = 3650 * 864e5; // as the server has it
const LABEL = 256; // bytes
const long = (text) => new TextEncoder().encode(text).length > LABEL;

export const keepOK = (v) => v === '' || v === 'forever' || (duration(v) >= LEAST && duration(v) <= MOST);
/** What the API takes: years and weeks are words of ours. */
export const keepValue = (v) => (v === '' || v === 'forever' ? v : `${Math.round(duration(v) / 1000)}s`);
const same = (a, b) => keepValue(a) === keepValue(b);

/** For how long; none: the words for not at all, where that can be chosen. */
function KeepFor({ value, onChange, none, hint }) {
  const id = useId();
  const options = none ? [['', none], ...USUAL] : USUAL;
  const match = options.find(([v]) => same(v, value));
  const [own, setOwn] = useState(!match);
  const pick = (e) => { const v = e.currentTarget.value; setOwn(v === 'own'); onChange(v === 'own' ? '90d' : v); };
  return html`<${Field} id=${id} label="Keep its video for" hint=${hint} error=${keepOK(value) ? '' : 'From a minute to ten years, such as 90d or 2y'}>
    <div class="row" style=${{ flexWrap: 'nowrap' }}><select class="in" id=${id} value=${own ? 'own' : match[0]} onChange=${pick}>${options.map(([v, t]) => html`<option value=${v}>${t}</option>`)}<option value="own">another time…</option></select>
    ${own && html`<input class="in" aria-label="Time to keep" value=${value} onInput=${(e) => onChange(e.currentTarget.value.trim())} aria-invalid=${!keepOK(value)} />`}</div></${Field}>`;
}

function Label({ value, onChange, placeholder }) {
  return html`<${Field} id="elabel" label="Label" error=${long(value) ? 'That is too long: at most 256 letters' : ''}><input class="in" id="elabel" value=${value} placeholder=${placeholder} onInput=${(e) => onChange(e.currentTarget.value)} autofocus autocomplete="off" /></${Field}>`;
}

/** A form in a dialog: what it does may be refused, and says why. */
function Form({ title, action, ok, onDo, onClose, children, extra }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const submit = async (e) => {
    e.preventDefault();
    if (busy || !ok) return;
    setBusy(true);
    setError(null);
    try { await onDo(); onClose(); } catch (err) { setError(err); setBusy(false); }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${submit}>${children}
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '16px' }}>${extra}<span class="grow"></span><button type="button" class="btn" onClick=${onClose}>Cancel</button><button class="btn pri" disabled=${busy || !ok}>${busy ? 'Working…' : action}</button></div></form></${Dialog}>`;
}

/** Stretch of a day in words. */
const stretch = (from, to) => html`<${Time} at=${from}>${day(from)}, ${clock(from)}</${Time}> – <${Time} at=${to}>${day(from) === day(to) ? '' : `${day(to)}, `}${clock(to)}</${Time}> · ${span(to - from)}`;

function Keep({ clip, about, stream, events, onClose }) {
  const [label, setLabel] = useState('');
  const [keep, setKeep] = useState('30d');
  const missing = clip.to - clip.from - about.ms;
  const end = async () => {
    events.mark(await addEvent(stream.name, { kind: 'mark', label: label.trim(), start: iso(clip.from), end: iso(clip.to), before: '0s', after: '0s', keep: keepValue(keep) }));
    toast('The clip is kept');
  };
  const limit = stream.retention_bytes ? `${kept(stream.retention)} and at most ${bytes(stream.retention_bytes)}` : kept(stream.retention);
  return html`<${Form} title="Keep this" action="Keep" ok=${keepOK(keep) && !long(label)} onDo=${end} onClose=${onClose}>
    <p>${stretch(clip.from, clip.to)}${about.bytes ? ` · about ${bytes(about.bytes)}` : ''}${missing > 1500 ? ` · ${span(missing)} of it is missing` : ''}</p>
    <${Label} value=${label} onChange=${setLabel} placeholder="Truck 4711 scratches the gate" />
    <${KeepFor} value=${keep} onChange=${setKeep} hint=${`All else of this camera goes after ${limit}.`} /></${Form}>`;
}

function Record({ at, stream, events, onClose }) {
  const [label, setLabel] = useState('');
  const [keep, setKeep] = useState('30d');
  now.value;
  const start = async () => {
    events.mark(await addEvent(stream.name, { kind: 'recording', label: label.trim(), start: iso(at), open: true, before: '10s', after: '10s', keep: keepValue(keep) }));
    toast('The event goes on until you stop it');
  };
  return html`<${Form} title="Record an event" action="Start" ok=${keepOK(keep) && !long(label)} onDo=${start} onClose=${onClose}>
    <p>It began at ${clock(at)}, ${span(Math.max(0, serverNow() - at))} ago, when you asked, and goes on until you press Stop. The camera records anyway: this keeps it, with 10 s before and after.</p>
    <${Label} value=${label} onChange=${setLabel} placeholder="Unloading of truck 4711" />
    <${KeepFor} value=${keep} onChange=${setKeep} none="no longer than the camera’s" /></${Form}>`;
}

function Edit({ event: e, stream, events, marking, onClose }) {
  const [label, setLabel] = useState(e.label);
  const [keep, setKeep] = useState(e.keep);
  const t = serverNow();
  const save = async () => {
    const body = {};
    if (label.trim() !== e.label) body.label = label.trim();
    if (!same(keep, e.keep) || (keep && !isKept(e, t))) body.keep = keepValue(keep);
    if (Object.keys(body).length) events.mark(await changeEvent(stream.name, e.id, body));
  };
  const lost = isKept(e, t) && keep === '';
  const remove = html`<button type="button" class="btn danger" onClick=${() => marking.open({ kind: 'delete', event: e })}>Delete…</button>`;
  return html`<${Form} title=${word(e)} action="Save" ok=${keepOK(keep) && !long(label)} onDo=${save} onClose=${onClose} extra=${mayMark() && remove}>
    <p class="mut">${e.kind}${e.by ? ` by ${e.by}` : ''} · ${e.open ? html`since <${Time} at=${e.start}>${day(e.start)}, ${clock(e.start)}</${Time}>` : e.end - e.start < 500 ? html`<${Time} at=${e.start}>${day(e.start)}, ${clock(e.start)}</${Time}>` : stretch(e.start, ends(e))}</p>
    ${e.keep && html`<p class="mut">${keptWords(e, t)[0].toUpperCase() + keptWords(e, t).slice(1)}${Number.isFinite(e.keptFrom) && Number.isFinite(e.keptTo) ? `: ${span(e.keptTo - e.keptFrom)} of video` : ''}.</p>`}
    <${Label} value=${label} onChange=${setLabel} placeholder="What happened" />
    <${KeepFor} value=${keep} onChange=${setKeep} none="no longer than the camera’s" />
    ${lost && html`<p class="err" role="status">${gone(e, stream) ? 'Its video is older than what this camera keeps: it is deleted when you save.' : 'Its video then goes with all else of this camera.'}</p>`}
    ${e.data && html`<div class="f">Data</div><pre tabIndex="0" aria-label="Data of the event">${JSON.stringify(e.data, null, 2)}</pre>`}</${Form}>`;
}

/** Whether the video of an event outlives the stream's age now. */
const gone = (e, stream) => { const keep = duration(stream.retention); return keep > 0 && ends(e) < serverNow() - keep; };

function Delete({ event: e, stream, events, onClose }) {
  const end = async () => {
    try { await dropEvent(stream.name, e.id); } catch (err) { if (err.status !== 404) throw err; }
    events.unmark(e.id);
    toast('The event is deleted');
    onClose();
  };
  const first = instant(stream.first);
  const video = isKept(e, serverNow()) && (gone(e, stream) || e.start < first) ? 'Its video is kept by this event alone, and goes with it.' : 'Its video stays as long as the camera keeps any.';
  return html`<${Confirm} title=${`Delete ${word(e)}`} action="Delete the event" onDo=${end} onClose=${onClose}><p>${word(e)}, ${day(e.start)}, ${clock(e.start)}. ${video} This cannot be undone.</p></${Confirm}>`;
}

/** By kind of dialog. */
export const parts = { keep: Keep, record: Record, edit: Edit, delete: Delete, list: EventList };
