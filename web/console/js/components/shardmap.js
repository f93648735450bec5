// The shards of a data stream as a map: the space of hash keys from left to right,
// lineage from top to bottom. Pressing in an open shard and letting go in it splits it
// there; letting go in its neighbour merges the two. With the keyboard: choose a shard,
// then the buttons below.
import { html, useRef, useState } from '../lib.js';
import { bytes, count, when, instant, duration, roughly } from '../format.js';
import { now } from '../store.js';

const ROW = 58;
const SPACE = 2n ** 128n;
const LIMIT = 1 << 20; // bytes a second into a shard of a provisioned stream

const part = (key) => Number((BigInt(key) * 1000000n) / SPACE) / 1000000;
export const short = (id) => `…${id.replace(/^.*-0*(?=\d{2})/, '')}`;

/** Where each shard lies: x and width 0 to 1, row from and to. Only the newest rows are kept. */
export function layout(shards, rowsMax = 4) {
  const by = new Map(shards.map((s) => [s.id, s]));
  const depth = new Map();
  const deep = (s) => {
    if (!depth.has(s.id)) {
      depth.set(s.id, 0);
      depth.set(s.id, Math.max(0, ...(s.parents || []).map((p) => (by.has(p) ? deep(by.get(p)) + 1 : 0))));
    }
    return depth.get(s.id);
  };
  shards.forEach(deep);
  const rows = Math.max(0, ...depth.values()) + 1;
  const first = Math.max(0, rows - rowsMax);
  const child = new Map();
  shards.forEach((s) => (s.parents || []).forEach((p) => child.set(p, Math.min(child.get(p) ?? Infinity, depth.get(s.id)))));
  const boxes = shards.map((s) => {
    const to = s.open ? rows : child.get(s.id) ?? depth.get(s.id) + 1;
    const x = part(s.from);
    return { s, x, w: part(s.to) - x, from: Math.max(first, depth.get(s.id)) - first, to: to - first };
  }).filter((b) => b.to > 0);
  return { boxes, rows: rows - first, hidden: shards.length - boxes.length };
}

/** The hash key at the part f of the whole space. */
const keyAt = (f) => ((BigInt(Math.round(f * 1e9)) * SPACE) / 1000000000n).toString();

export function ShardMap({ stream, may, onSplit, onMerge }) {
  const box = useRef(null);
  const [drag, setDrag] = useState(null);
  const [chosen, setChosen] = useState('');
  const { boxes, rows, hidden } = layout(stream.shards || []);
  const open = boxes.filter((b) => b.s.open).sort((a, b) => a.x - b.x);
  const dense = open.length > 24;
  const at = (e) => { const r = box.current.getBoundingClientRect(); return Math.min(0.999999, Math.max(0, (e.clientX - r.left) / r.width)); };
  const over = (f) => open.find((b) => f >= b.x && f < b.x + b.w);
  const meant = (d) => {
    if (!d) return null;
    const a = open.find((b) => b.s.id === d.id);
    const b = over(d.f);
    if (!a || !b) return null;
    if (a === b) return { kind: 'split', a, f: d.f };
    return Math.abs(open.indexOf(a) - open.indexOf(b)) === 1 ? { kind: 'merge', a, b } : null;
  };
  const down = (b) => (e) => {
    if (!b.s.open || e.button) return;
    setChosen(b.s.id);
    if (!may) return;
    e.currentTarget.setPointerCapture?.(e.pointerId);
    setDrag({ id: b.s.id, from: e.clientX, f: at(e), moved: false });
  };
  const move = (e) => { if (drag) setDrag({ ...drag, f: at(e), moved: drag.moved || Math.abs(e.clientX - drag.from) > 6 }); };
  const up = () => {
    const m = drag?.moved ? meant(drag) : null;
    setDrag(null);
    if (m?.kind === 'split') onSplit(m.a.s, keyAt(m.f));
    if (m?.kind === 'merge') onMerge(m.a.s, m.b.s);
  };
  const plan = drag?.moved ? meant(drag) : null;
  const sel = open.find((b) => b.s.id === chosen);
  const i = sel ? open.indexOf(sel) : -1;
  return html`<div class="shardmap" ref=${box} role="group" aria-label=${describe(stream, open)} style=${{ height: `${rows * ROW}px` }} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${() => setDrag(null)}>
      ${[...boxes].sort((a, b) => a.x - b.x || a.from - b.from).map((b) => html`<${Shard} key=${b.s.id} b=${b} keep=${duration(stream.retention)} dense=${dense} provisioned=${stream.mode === 'PROVISIONED'} chosen=${b.s.id === chosen} joins=${plan?.kind === 'merge' && (plan.a === b || plan.b === b)} onDown=${down(b)} onChoose=${() => setChosen(b.s.id)} />`)}
      ${plan?.kind === 'split' && html`<i class="cut" style=${{ left: `${plan.f * 100}%`, top: `${plan.a.from * ROW}px` }}></i>`}
    </div>
    <p class="mut small" aria-live="polite">${plan ? say(plan) : drag ? 'Let go in the same shard to split it there, in its neighbour to merge the two.' : hint(may, stream, hidden)}</p>
    ${sel && may && stream.mode === 'PROVISIONED' && html`<div class="row"><b>${sel.s.id}</b><button type="button" class="btn sm" onClick=${() => onSplit(sel.s, '')}>Split in the middle</button>
      ${i > 0 && html`<button type="button" class="btn sm" onClick=${() => onMerge(open[i - 1].s, sel.s)}>Merge with ${short(open[i - 1].s.id)} on the left</button>`}
      ${i >= 0 && i < open.length - 1 && html`<button type="button" class="btn sm" onClick=${() => onMerge(sel.s, open[i + 1].s)}>Merge with ${short(open[i + 1].s.id)} on the right</button>`}</div>`}`;
}

const say = (p) => (p.kind === 'split' ? `Split ${short(p.a.s.id)}: ${Math.round(((p.f - p.a.x) / p.a.w) * 100)} % of it stays on the left` : `Merge ${short(p.a.s.id)} and ${short(p.b.s.id)}`);

function hint(may, stream, hidden) {
  const older = hidden > 0 ? ` ${count(hidden)} older shards are not shown.` : '';
  if (stream.mode !== 'PROVISIONED') return `The stream splits busy shards by itself.${older}`;
  return (may ? 'Drag inside a shard to split it, into its neighbour to merge the two.' : '') + older;
}

const describe = (stream, open) => `Shard map: ${open.map((b) => `${b.s.id} has ${Math.round(b.w * 100)} % of the hash keys${b.s.hot_key ? `, most records from ${b.s.hot_key}` : ''}`).slice(0, 24).join('; ')}`;

/** When the last records of a closed shard expire. */
function drains(s, keep) {
  const left = instant(s.closed) + keep - now.value;
  return left > 0 ? ` · drains in ${roughly(left)}` : '';
}

function Shard({ b, keep, dense, provisioned, chosen, joins, onDown, onChoose }) {
  const s = b.s;
  const load = (s.bytes_in || 0) / LIMIT;
  const hot = (provisioned && load > 0.6) || (s.hot_share > 0.4 && s.records_in > 100) || s.refused > 0;
  const style = { left: `calc(${b.x * 100}% + 2px)`, width: `calc(${b.w * 100}% - 4px)`, top: `${b.from * ROW}px`, height: `${(b.to - b.from) * ROW - 6}px` };
  const title = `${s.id}\nhash keys ${s.from} to ${s.to}\nopened ${when(instant(s.opened), now.value)}${s.closed ? `, closed ${when(instant(s.closed), now.value)}` : ''}`;
  const cls = `shard ${s.open ? '' : 'closed'} ${hot ? 'hot' : ''} ${chosen && s.open ? 'on' : ''} ${joins ? 'joins' : ''}`;
  if (!s.open) return html`<div class=${cls} style=${style} title=${title}>${!dense && html`<span class="clip">${short(s.id)} · closed ${when(instant(s.closed), now.value)}${drains(s, keep)}</span>`}</div>`;
  return html`<button type="button" class=${cls} style=${style} title=${title} aria-pressed=${chosen} onPointerDown=${onDown} onClick=${onChoose}>
    ${!dense && html`<b class="clip">${short(s.id)}</b><span class="clip mut">${provisioned ? `${Math.round(load * 100)}% of 1 MiB/s` : `${bytes(s.bytes_in || 0)}/s`}${s.hot_key && s.hot_share > 0.2 ? ` · ${hot ? 'hot' : 'most'}: ${s.hot_key}` : ''}${s.refused > 0 ? ` · ${count(Math.round(s.refused))} refused/s` : ''}</span>`}
    <i class="bar"><i style=${{ width: `${Math.min(100, load * 100)}%` }}></i></i></button>`;
}
