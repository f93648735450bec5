// Records of a data stream as they come, or from a time or number on. The page shows the
// newest of a fast stream: what is not shown was read all the same.
import { html, useEffect, useRef, useState } from '../lib.js';
import { request } from '../api.js';
import { words } from '../store.js';
import { bytes, clock, count, full, instant } from '../format.js';
import { decode, fromBase64 } from '../decode.js';
import { Dot, Seg, useKept } from './bits.js';
import { short } from './shardmap.js';

const SHOWN = 50;
const KEPT = 5000; // for the file

/** The bytes of an event and what they are; the server says text and JSON in words. */
export function content(e, as) {
  if (as === 'auto' && e.json !== undefined) return { kind: 'JSON', text: JSON.stringify(e.json) };
  if (as === 'auto' && e.text !== undefined) return { kind: 'text', text: e.text };
  const raw = e.data !== undefined ? fromBase64(e.data) : new TextEncoder().encode(e.text ?? JSON.stringify(e.json));
  return decode(raw, as);
}

/** Follows a tail, line by line, until the signal ends it; begun is called when the server does. */
async function follow(name, query, begun, each, signal) {
  const res = await request('GET', `v1/data/${encodeURIComponent(name)}/tail`, { query, signal, accept: 'application/x-ndjson' });
  begun();
  const reader = res.body.getReader();
  const text = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += text.decode(value || new Uint8Array(), { stream: !done });
    const lines = rest.split('\n');
    rest = lines.pop() || '';
    for (const l of lines) if (l.trim()) each(JSON.parse(l));
    if (done) return;
  }
}

export function Records({ name, shards, rate }) {
  const [mode, setMode] = useState('live');
  const [shard, setShard] = useState('');
  const [filter, setFilter] = useState('');
  const [asked, setAsked] = useState({ filter: '', from: '' });
  const [as, setAs] = useKept('decoder', 'auto');
  const [paused, setPaused] = useState(false);
  const [rows, setRows] = useState([]);
  const [state, setState] = useState({ error: null, running: false, begun: false, seen: 0 });
  const [open, setOpen] = useState('');
  const kept = useRef([]);
  const hold = useRef(false);
  hold.current = paused;
  const from = mode === 'live' ? 'latest' : mode === 'newest' ? '-15m' : asked.from;
  useEffect(() => {
    kept.current = [];
    setRows([]);
    setPaused(false);
    setState({ error: null, running: !!from, begun: false, seen: 0 });
    if (!from) return undefined;
    const stop = new AbortController();
    let seen = 0;
    let fresh = false;
    let error = null;
    let running = true;
    let begun = false;
    const show = () => {
      if (hold.current && running) return;
      if (fresh) setRows(kept.current.slice(-SHOWN).reverse());
      fresh = false;
      setState({ error, running, begun, seen });
    };
    const take = (e) => {
      if (e.error) { error = e.error; return; }
      seen++;
      fresh = true;
      kept.current.push({ ...e, id: `${e.shard}:${e.sequence_number}:${e.sub ?? ''}` });
      if (kept.current.length > KEPT * 1.2) kept.current = kept.current.slice(-KEPT);
    };
    const timer = setInterval(show, 300);
    const query = { from, shard: mode === 'seq' ? shard || shards[0]?.id : shard, filter: asked.filter, ...(mode === 'live' ? {} : { follow: 'no' }) };
    follow(name, query, () => { begun = true; }, take, stop.signal).catch((err) => { if (err.name !== 'AbortError') error = err; }).finally(() => { running = false; if (!stop.signal.aborted) show(); });
    return () => { stop.abort(); clearInterval(timer); };
  }, [name, mode, shard, asked.filter, from]);
  const submit = (e) => { e.preventDefault(); setAsked({ ...asked, filter: filter.trim() }); };
  const save = () => {
    const blob = new Blob(kept.current.map(({ id, ...e }) => `${JSON.stringify(e)}\n`), { type: 'application/x-ndjson' });
    const a = document.createElement('a');
    a.href = URL.createObjectURL(blob);
    a.download = `${name}.jsonl`;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
  };
  return html`<div class="card"><div class="pad stack"><div class="row"><h2 class="h">Records</h2>
      <${Seg} label="Where to begin" value=${mode} onChange=${(m) => { setAsked({ ...asked, from: '' }); setMode(m); }} options=${[['live', 'Live tail'], ['newest', 'Last 15 min'], ['time', 'From time…'], ['seq', 'From sequence…']]} />
      <select class="in auto" aria-label="Shard" value=${mode === 'seq' ? shard || shards[0]?.id : shard} onChange=${(e) => setShard(e.currentTarget.value)}>${mode !== 'seq' && html`<option value="">All shards</option>`}${shards.slice(-500).map((s) => html`<option value=${s.id} key=${s.id}>${short(s.id)}${s.open ? '' : ' (closed)'}</option>`)}</select>
      <select class="in auto" aria-label="Show data as" value=${as} onChange=${(e) => setAs(e.currentTarget.value)}>${[['auto', 'As it is'], ['json', 'JSON'], ['cbor', 'CBOR'], ['csv', 'CSV'], ['text', 'Text'], ['hex', 'Hex']].map(([v, t]) => html`<option value=${v} key=${v}>${t}</option>`)}</select>
      <form onSubmit=${submit} class="row grow"><input class="in search" type="search" placeholder="key:truck-*, /speed=83, words" aria-label="Filter" value=${filter} onInput=${(e) => { setFilter(e.currentTarget.value); if (!e.currentTarget.value) setAsked({ ...asked, filter: '' }); }} /></form></div>
      ${mode === 'time' && html`<${Begin} label="From" type="datetime-local" onGo=${(v) => setAsked({ ...asked, from: new Date(v).toISOString() })} />`}
      ${mode === 'seq' && html`<${Begin} label="Sequence number" type="text" onGo=${(v) => setAsked({ ...asked, from: v })} />`}
      <div class="row"><span class="mut small" role="status">${line(state, rows, mode, from, rate)}</span><span class="grow"></span>
        ${mode === 'live' && html`<button type="button" class="btn sm" aria-pressed=${paused} onClick=${() => setPaused(!paused)}>${paused ? 'Go on' : 'Pause'}</button>`}
        <button type="button" class="btn sm" disabled=${!rows.length} onClick=${save} title="What was read here, as JSON lines">Save JSONL</button></div>
      ${state.error && html`<p class="err" role="alert"><${Dot} tone="bad" /> ${words(state.error)}</p>`}</div>
    ${rows.length > 0 && html`<div class="scroll"><table class="recs"><thead><tr><th>Time</th><th class="hidem">Shard</th><th>Partition key</th><th>Data</th><th class="num hidem narrow">Size</th><th class="hidem narrow" title="sequence number">Sequence</th></tr></thead><tbody>
      ${rows.map((e) => html`<${Row} key=${e.id} e=${e} as=${as} open=${open === e.id} onOpen=${() => setOpen(open === e.id ? '' : e.id)} />`)}</tbody></table></div>`}</div>`;
}

function line(state, rows, mode, from, rate) {
  if (!from) return mode === 'seq' ? 'Enter the number to begin at.' : 'Choose the time to begin at.';
  const n = rows.length;
  if (!n) return mode === 'live' && state.running && state.begun ? `Waiting for records${rate === 0 ? ': nothing is put just now' : '…'}` : state.running ? 'Reading…' : 'No record is there.';
  const all = state.seen > n ? `the newest ${n} of ${count(state.seen)} read` : `${count(n)} read`;
  return `${all}${state.running ? '' : '; that is all for now'}`;
}

function Begin({ label, type, onGo }) {
  const [v, set] = useState('');
  return html`<form class="row" onSubmit=${(e) => { e.preventDefault(); if (v) onGo(v.trim()); }}><label class="row">${label} <input class="in auto mono" type=${type} step="1" value=${v} onInput=${(e) => set(e.currentTarget.value)} required /></label><button type="submit" class="btn sm">Read</button></form>`;
}

function Row({ e, as, open, onOpen }) {
  const c = content(e, as);
  const t = instant(e.time);
  const key = (k) => { if (k.key === 'Enter' || k.key === ' ') { k.preventDefault(); onOpen(); } };
  const whole = open && c.kind === 'JSON' ? pretty(c.text) : c.text;
  return html`<tr aria-expanded=${open} tabIndex="0" onClick=${() => { if (!String(getSelection())) onOpen(); }} onKeyDown=${key}><td class="mono nw" title=${full(t)}>${clock(t, true)}</td><td class="hidem">${short(e.shard)}</td><td>${e.key}</td>
    <td class="mono"><div class=${open ? '' : 'data'}>${open ? whole : c.text.slice(0, 600)}</div>${(open || !['JSON', 'text'].includes(c.kind)) && html`<span class="mut small">${c.kind}${e.sub !== undefined ? ` · part ${e.sub} of an aggregate` : ''}</span>`}</td>
    <td class="num nw hidem narrow">${bytes(e.size)}</td><td class="mono hidem narrow" title=${e.sequence_number}>${open ? e.sequence_number : `…${e.sequence_number.slice(-6)}`}</td></tr>`;
}

function pretty(text) { try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } }
