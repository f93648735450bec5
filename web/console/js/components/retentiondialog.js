// How long a camera's recordings are kept, by age and by size, with what a change would
// delete before it does.
import { html, useEffect, useState } from '../lib.js';
import { request, patch, stream as path } from '../api.js';
import { mayChange, put, toast, words } from '../store.js';
import { bytes, clock, count, day, duration, instant, kept, roughly } from '../format.js';
import { Dialog } from './dialog.js';
import { Field, Time } from './bits.js';
import { Retention, retentionOK, retentionValue } from './retention.js';

/** @type {[string, number][]} */
const UNITS = [['GB', 1e9], ['TB', 1e12], ['MB', 1e6]];

/** A size as a number and a unit that people would write. */
function split(n) {
  const [unit, f] = n >= 1e12 ? UNITS[1] : n >= 1e9 || !n ? UNITS[0] : UNITS[2];
  return { number: n ? String(Number((n / f).toFixed(3))) : '', unit };
}
const join = (s) => Math.round(Number(s.number.replace(',', '.')) * UNITS.find((u) => u[0] === s.unit)[1]);

/** What a stream keeps, in words. */
export const keeps = (s) => `${kept(s.retention)}${s.retention_bytes ? `, at most ${bytes(s.retention_bytes)}` : ''}`;

export function RetentionDialog({ stream: s, onClose }) {
  return html`<${Dialog} title=${`How long ${s.name} is kept`} onClose=${onClose}>${mayChange.value ? html`<${Change} s=${s} onClose=${onClose} />` : html`<${Shown} s=${s} />
    <p class="mut small" style=${{ marginTop: '12px' }}>Your sign-in may look, not change it.</p>`}</${Dialog}>`;
}

function Shown({ s }) {
  const first = instant(s.first);
  const rows = [['Recordings are kept for', kept(s.retention)], ['And at most', s.retention_bytes ? bytes(s.retention_bytes) : 'no limit of size'], ['Stored now', bytes(s.bytes || 0)], ['Of it kept by events', bytes(s.kept_bytes || 0)],
    ['A day brings', s.daily_bytes ? bytes(s.daily_bytes) : '–'], ['Oldest', Number.isFinite(first) ? html`<${Time} at=${first}>${day(first)}, ${clock(first)}</${Time}>` : 'nothing yet']];
  return html`<dl class="kv">${rows.map(([k, v]) => html`<dt>${k}</dt><dd>${v}</dd>`)}</dl>`;
}

function Change({ s, onClose }) {
  const [keep, setKeep] = useState(kept(s.retention).replace(/ /g, '') || s.retention);
  const [limited, setLimited] = useState(s.retention_bytes > 0);
  const [size, setSize] = useState(split(s.retention_bytes || 0));
  const [look, setLook] = useState(/** @type {any} */ ({ busy: false, answer: null, error: null, of: '' }));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const [again, setAgain] = useState(0);
  const most = limited ? join(size) : 0;
  const sizeOK = !limited || (most >= 2 ** 20 && most <= 2 ** 60);
  const ok = retentionOK(keep) && sizeOK;
  const body = {};
  if (ok && retentionValue(keep) !== retentionValue(s.retention)) body.retention = retentionValue(keep);
  if (ok && most !== (s.retention_bytes || 0)) body.retention_bytes = most;
  const change = ok ? JSON.stringify(body) : '';
  const some = ok && change !== '{}';
  useEffect(() => {
    if (!some) { setLook({ busy: false, answer: null, error: null, of: '' }); return undefined; }
    const c = new AbortController();
    setLook((l) => ({ ...l, busy: true }));
    const timer = setTimeout(async () => {
      try {
        const answer = await (await request('PATCH', path(s.name), { query: { preview: true }, body: JSON.parse(change), signal: c.signal })).json();
        setLook({ busy: false, answer, error: null, of: change });
      } catch (err) { if (err.name !== 'AbortError') setLook({ busy: false, answer: null, error: err, of: change }); }
    }, 350);
    return () => { clearTimeout(timer); c.abort(); };
  }, [change, some, again]);
  const known = some && !look.busy && look.of === change;
  const loss = known && look.answer?.delete?.bytes > 0;
  const submit = async (e) => {
    e.preventDefault();
    if (!known || !look.answer || busy) return;
    setBusy(true);
    setError(null);
    try { put(await patch(path(s.name), body)); toast(`${s.name}: ${loss ? `${bytes(look.answer.delete.bytes)} deleted` : 'changed'}`); onClose(); } catch (err) { setError(err); setBusy(false); }
  };
  const field = (k) => (e) => setSize({ ...size, [k]: e.currentTarget.value });
  return html`<form onSubmit=${submit}><${Shown} s=${s} />
    <${Retention} value=${keep} onChange=${setKeep} />
    <${Field} id="rsize" label="And at most" hint=${sizeOK ? holds(s, keep, most) : null} error=${sizeOK ? '' : 'A size such as 500 GB, at least 1.1 MB'}>
      <div class="row" style=${{ flexWrap: 'nowrap' }}><select class="in" id="rsize" value=${limited ? 'on' : ''} onChange=${(e) => setLimited(e.currentTarget.value === 'on')}><option value="">no limit of size</option><option value="on">this much:</option></select>
      ${limited && html`<input class="in" inputmode="decimal" aria-label="Size" value=${size.number} onInput=${field('number')} aria-invalid=${!sizeOK} autocomplete="off" /><select class="in auto unit" aria-label="Unit" value=${size.unit} onChange=${field('unit')}>${UNITS.map(([u]) => html`<option value=${u}>${u}</option>`)}</select>`}</div></${Field}>
    <div class="card pad preview" role="status">${told(some, known, look, s, keep, most)}${known && look.error && html` <button type="button" class="btn sm" onClick=${() => setAgain(again + 1)}>Ask again</button>`}</div>
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '16px', justifyContent: 'flex-end' }}><button type="button" class="btn" onClick=${onClose}>Cancel</button><button class=${`btn pri ${loss ? 'danger' : ''}`} disabled=${!known || !look.answer || busy}>${busy ? 'Working…' : loss ? `Delete ${bytes(look.answer.delete.bytes)} and save` : 'Save'}</button></div></form>`;
}

/** How far a limit reaches at today's rate. */
function holds(s, keep, most) {
  if (!s.daily_bytes) return null;
  const age = retentionOK(keep) ? duration(keep) : 0;
  const full = (s.daily_bytes * age) / 864e5;
  const text = `At ${bytes(s.daily_bytes)} a day, ${kept(retentionValue(keep))} take ${bytes(full)}.`;
  if (!most) return age ? text : null;
  return `${age ? `${text} ` : ''}${bytes(most)} hold ${roughly((most / s.daily_bytes) * 864e5)}.`;
}

/** What the change would do, or why that is not known. */
function told(some, known, look, s, keep, most) {
  if (!some) return html`<span class="mut">Change something to see what it would delete.</span>`;
  if (!known) return html`<span class="mut">Looking at what that would delete…</span>`;
  if (look.error) return html`<span class="failed">What that would delete is not known: ${words(look.error)}</span>`;
  const d = look.answer.delete;
  const stays = look.answer.kept_bytes > 0 ? ` ${bytes(look.answer.kept_bytes)} stay, kept by events.` : '';
  if (d?.bytes > 0) {
    const [a, b] = [instant(d.first), instant(d.last)];
    const span = day(a, 0) === day(b, 0) ? `of ${day(a)}, ${clock(a)} to ${clock(b)}` : `from ${day(a)} to ${day(b)}`;
    return html`<b class="failed">Deletes ${bytes(d.bytes)} ${span}</b><span class="mut"> (${count(d.fragments)} fragments) at once, for good.${stays}</span>`;
  }
  const longer = duration(keep) > duration(s.retention) || (s.retention_bytes && (!most || most > s.retention_bytes));
  return html`<b>Deletes nothing now.</b><span class="mut">${stays}${longer ? ' What is gone already does not come back.' : ''}</span>`;
}
