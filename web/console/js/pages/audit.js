// Who did what, when, and whether they might: the audit log, newest first.
import { html, useEffect, useRef, useState } from '../lib.js';
import { get, iso } from '../api.js';
import { now } from '../store.js';
import { amend, href, route } from '../router.js';
import { clock, day, instant, startOfDay, full } from '../format.js';
import { mayAudit } from '../components/shell.js';
import { Dot, Empty, Failure, Skeleton } from '../components/bits.js';

const PAGE = 60; // lines that are asked for at once
const CALLS = 6; // a call reads a part of the log: so many before it is said that there is more

/** @type {[string, string][]} */
const SPANS = [['1h', 'last hour'], ['24h', 'last 24 hours'], ['7d', 'last 7 days'], ['30d', 'last 30 days'], ['all', 'all time'], ['own', 'from … to …']];
const MS = { '1h': 36e5, '24h': 864e5, '7d': 6048e5, '30d': 2592e6 };
const NAMES = ['span', 'start', 'end', 'principal', 'action', 'object', 'decision'];
const tones = { allow: 'ok', deny: 'bad', fail: 'warn' };
const words = { allow: 'allowed', deny: 'denied', fail: 'failed' };

/** The part of an ARN that people know it by. */
function short(text) {
  const m = /^arn:[^:]*:([^:]*):[^:]*:[^:]*:(.*)$/s.exec(text);
  if (!m) return text;
  const [kind, name, , ...rest] = m[2].split('/');
  if (kind === 'user' || kind === 'role') return m[2].split('/').slice(1).join('/') || m[2];
  if (m[1] === 'kinesisvideo' && kind === 'stream') return rest[0] === 'event' ? `${name}, an event` : name;
  return m[2].split('/').slice(1).join('/') || m[2];
}
const bare = (action) => action.replace(/^[a-z]+:/, '');

function query(f) {
  const q = { principal: f.principal, action: f.action, object: f.object, decision: f.decision, start: '', end: '' };
  if (MS[f.span]) q.start = iso(Date.now() - MS[f.span]);
  const at = (v) => { const t = new Date(v).getTime(); return Number.isFinite(t) ? iso(t) : ''; };
  if (f.span === 'own') { q.start = at(f.start); q.end = at(f.end); }
  return q;
}

export default function Audit() {
  const first = Object.fromEntries(NAMES.map((k) => [k, route.value.query.get(k) ?? '']));
  const [f, setF] = useState({ ...first, span: first.span || '7d' });
  const [got, setGot] = useState({ list: /** @type {any[]} */ ([]), next: '', busy: true, error: /** @type {any} */ (null), asked: /** @type {any} */ (null) });
  const run = useRef(/** @type {AbortController|null} */ (null));
  const load = async (list, asked, next) => {
    run.current?.abort();
    const c = new AbortController();
    run.current = c;
    setGot((g) => ({ ...g, list, next, asked, busy: true, error: null }));
    try {
      const want = list.length + PAGE / 2;
      for (let i = 0; i < CALLS && (i === 0 || (next && list.length < want)); i++) {
        const a = await get('v1/audit', { ...asked, limit: PAGE, next }, c.signal);
        list = [...list, ...(a.entries || [])];
        next = a.next || '';
        if (!next) break;
      }
      setGot({ list, next, asked, busy: false, error: null });
    } catch (error) { if (error.name !== 'AbortError') setGot((g) => ({ ...g, list, next, busy: false, error })); }
  };
  const key = JSON.stringify(f);
  useEffect(() => {
    amend(Object.fromEntries(Object.entries(f).filter(([k, v]) => v && !(k === 'span' && v === '7d'))));
    if (!mayAudit()) return undefined; // a refusal would be a line of the log
    const timer = setTimeout(() => load([], query(f), ''), 300);
    return () => { clearTimeout(timer); run.current?.abort(); };
  }, [key]);
  const set = (k) => (e) => setF({ ...f, [k]: e.currentTarget.value });
  const text = (k, label, hint) => html`<label><span class="f">${label}</span><input class="in" type="search" value=${f[k]} placeholder=${hint} maxlength="200" onInput=${set(k)} autocapitalize="off" autocomplete="off" spellcheck=${false} /></label>`;
  const clear = () => setF({ ...Object.fromEntries(NAMES.map((k) => [k, ''])), span: '7d' });
  const filtered = f.principal || f.action || f.object || f.decision || f.span !== '7d';
  const top = html`<div class="top"><h1>Audit</h1><span class="mut small hidem">who did what, and whether they might</span><span class="grow"></span>${mayAudit() && html`<button type="button" class="btn" onClick=${() => load([], query(f), '')}>Refresh</button>`}</div>`;
  if (!mayAudit()) return html`${top}<div class="inset"><${Empty} title="Only admins may read this" action=${html`<a class="btn" href=${href('cameras')}>See the cameras</a>`}>The audit log shows what everybody did here.</${Empty}></div>`;
  return html`${top}<div class="inset stack">
    <form class="card pad filters" onSubmit=${(e) => e.preventDefault()} aria-label="Filters">
      <label><span class="f">Time</span><select class="in" value=${f.span} onChange=${set('span')}>${SPANS.map(([v, t]) => html`<option value=${v}>${t}</option>`)}</select></label>
      ${f.span === 'own' && html`<label><span class="f">From</span><input class="in" type="datetime-local" value=${f.start} onChange=${set('start')} /></label><label><span class="f">To</span><input class="in" type="datetime-local" value=${f.end} onChange=${set('end')} /></label>`}
      ${text('principal', 'Who', 'admin, anonymous')}${text('action', 'What', 'SignIn, Delete')}${text('object', 'On what', 'dock-door-3')}
      <label><span class="f">Outcome</span><select class="in" value=${f.decision} onChange=${set('decision')}><option value="">any</option>${Object.entries(words).map(([v, t]) => html`<option value=${v}>${t}</option>`)}</select></label>
    </form>
    ${got.list.length > 0 && html`<div class="card"><table class="audit"><thead><tr><th>Time</th><th>Who</th><th>What</th><th>On what</th><th>From</th><th>Outcome</th></tr></thead><tbody>${got.list.map((e) => html`<${Line} key=${`${e.log}.${e.seq}.${e.time}`} e=${e} />`)}</tbody></table></div>`}
    ${got.error && html`<${Failure} what=${got.error.status === 403 ? 'Your sign-in may not read the audit log' : 'The audit log could not be read'} error=${got.error} retry=${() => load(got.list, got.asked || query(f), got.next)} />`}
    ${got.busy && html`<div class="card pad stack" aria-busy=${got.list.length ? undefined : 'true'}><${Skeleton} /><${Skeleton} width="80%" /><${Skeleton} width="60%" /></div>`}
    ${!got.busy && !got.error && !got.list.length && html`<${Empty} title=${got.next ? 'Nothing found so far' : filtered ? 'Nothing matches' : 'Nothing in the last 7 days'} action=${filtered && !got.next && html`<button type="button" class="btn" onClick=${clear}>Clear the filters</button>`}>${got.next ? 'The log is long: it was read a part of the way back.' : 'Every change, sign-in and refusal is written down, and each time that somebody begins to watch.'}</${Empty}>`}
    ${!got.busy && !got.error && got.next && html`<div class="row" style=${{ justifyContent: 'center' }}><button type="button" class="btn" onClick=${() => load(got.list, got.asked, got.next)}>Older</button></div>`}
    ${!got.busy && !got.next && got.list.length > 0 && html`<p class="mut small" style=${{ textAlign: 'center' }}>These are all.</p>`}</div>`;
}

/** A line of the log; touched, it shows all that is known. */
function Line({ e }) {
  const [open, setOpen] = useState(false);
  const t = instant(e.time);
  const today = t >= startOfDay(now.value);
  const out = words[e.decision] || e.decision;
  const who = short(e.principal) || 'the server';
  return html`<tr class=${open ? 'on' : ''}><td class="nw"><button type="button" class="link" aria-expanded=${open} title=${full(t)} onClick=${() => setOpen(!open)}>${today ? '' : `${day(t)} `}${clock(t)}</button></td>
    <td><span class="clamp" title=${e.principal}>${who}</span></td><td><span class="clamp" title=${e.action}>${bare(e.action)}</span></td><td><span class="clamp" title=${e.object}>${short(e.object) || '–'}</span></td><td class="mono">${e.remote || '–'}</td>
    <td class="nw"><span class="row" style=${{ gap: '7px', flexWrap: 'nowrap' }}><${Dot} tone=${tones[e.decision] || 'off'} />${out}</span></td></tr>
    ${open && html`<tr class="more"><td colSpan="6"><dl class="kv left">${[['Who', e.principal || 'the server itself'], ['What', e.action], ['On what', e.object], ['Detail', e.detail], ['Log', `${e.log}, line ${e.seq}`], ['Hash', e.hash]].filter(([, v]) => v).map(([k, v]) => html`<dt>${k}</dt><dd class=${k === 'Detail' ? '' : 'mono'}>${v}</dd>`)}</dl></td></tr>`}`;
}
