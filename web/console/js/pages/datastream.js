// One data stream: what goes through it, its shards, its records as they come, and who
// reads it.
import { html, useState } from '../lib.js';
import { post, remove } from '../api.js';
import { mayChange, now, toast } from '../store.js';
import { href, go } from '../router.js';
import { bytes, count, instant, kept, plural, span, when } from '../format.js';
import { Dot, Empty, Failure, Skeleton, Time } from '../components/bits.js';
import { Confirm } from '../components/dialog.js';
import { ShardMap, short } from '../components/shardmap.js';
import { Records } from '../components/records.js';
import { PutRecord } from '../components/putrecord.js';
import { usePolled, shardsOf, tone } from './data.js';

const path = (name, rest = '') => `v1/data/${encodeURIComponent(name)}${rest}`;

export default function DataStream({ name }) {
  const { got: s, error, load, setGot } = usePolled(path(name), 2000);
  const [dialog, setDialog] = useState({ kind: '' });
  const close = () => setDialog({ kind: '' });
  if (error && !s) {
    if (error.status === 404) return html`<div class="top"><a href=${href('data')}>← Data streams</a><h1>${name}</h1></div><div class="inset"><${Empty} title="No such data stream" action=${html`<a class="btn" href=${href('data')}>All data streams</a>`}>Nothing is called ${name} here, or your key does not allow to see it.</${Empty}></div>`;
    return html`<div class="top"><a href=${href('data')}>← Data streams</a><h1>${name}</h1></div><div class="inset"><${Failure} what="The data stream could not be read" error=${error} retry=${load} /></div>`;
  }
  if (!s) return html`<div class="top"><h1>${name}</h1></div><div class="inset stack" aria-busy="true"><${Skeleton} height="90px" /><${Skeleton} height="140px" /><${Skeleton} height="200px" /></div>`;
  const change = async (what, body, done) => { setGot(await post(path(name, what), body)); toast(done); close(); };
  return html`<div class="top"><a href=${href('data')}>← Data streams</a><h1>${s.name}</h1><span class="chip"><${Dot} tone=${tone(s)} />${s.status.toLowerCase()}</span><span class="chip">${shardsOf(s)}</span><span class="chip">kept ${kept(s.retention)}</span>${s.encrypted && html`<span class="chip">encrypted</span>`}<span class="grow"></span>
      <button type="button" class="btn" onClick=${() => setDialog({ kind: 'put' })}>Put record</button>
      ${mayChange.value && html`<button type="button" class="btn danger" onClick=${() => setDialog({ kind: 'delete' })}>Delete</button>`}</div>
    <div class="inset stack">
    ${error && html`<${Failure} what="What is shown is old" error=${error} retry=${load} />`}
    <${Figures} s=${s} />
    <div class="card pad"><div class="row"><h2 class="h">Shard map</h2><span class="mut small">hash keys from left to right, lineage from top to bottom</span></div>
      <${ShardMap} stream=${s} may=${mayChange.value && s.mode === 'PROVISIONED'} onSplit=${(sh, at) => setDialog({ kind: 'split', sh, at })} onMerge=${(a, b) => setDialog({ kind: 'merge', a, b })} /></div>
    <${Consumers} s=${s} />
    <${Records} name=${name} shards=${s.shards || []} rate=${s.load.over_s ? s.load.records_in : null} />
    </div>
    ${dialog.kind === 'put' && html`<${PutRecord} name=${name} onClose=${close} />`}
    ${dialog.kind === 'split' && html`<${Confirm} title=${`Split ${dialog.sh.id}`} action="Split" mild=${true} onClose=${close} onDo=${() => change('/split', { shard: dialog.sh.id, ...(dialog.at ? { at: dialog.at } : {}) }, 'The shard is split')}><p>Its hash keys go to two new shards${dialog.at ? ', divided where you let go' : ', half and half'}. What is in it stays readable until it expires; consumers read it to its end, then the two.</p></${Confirm}>`}
    ${dialog.kind === 'merge' && html`<${Confirm} title=${`Merge ${short(dialog.a.id)} and ${short(dialog.b.id)}`} action="Merge" mild=${true} onClose=${close} onDo=${() => change('/merge', { shards: [dialog.a.id, dialog.b.id] }, 'The shards are merged')}><p>One new shard takes over the hash keys of both. What is in them stays readable until it expires.</p></${Confirm}>`}
    ${dialog.kind === 'delete' && html`<${Confirm} title=${`Delete ${name}`} typed=${name} action="Delete" onClose=${close} onDo=${async () => { await remove(path(name)); toast(`${name} is deleted`); go('data'); }}><p>All its records go${s.consumers?.length ? `, and its ${plural(s.consumers.length, 'registered consumer')}` : ''}. This cannot be undone.</p></${Confirm}>`}`;
}

function Figures({ s }) {
  const l = s.load;
  const known = l.over_s > 0;
  const reading = (s.consumers || []).filter((c) => c.behind_s !== undefined);
  const behind = Math.max(0, ...reading.map((c) => c.behind_s));
  const readers = !s.consumers?.length ? '' : ` · ${plural(s.consumers.length, 'consumer')}${!reading.length ? ', none reads' : behind < 1 ? ', at the newest' : `, at most ${span(behind * 1000)} behind`}`;
  const cards = [
    ['In', known ? `${count(Math.round(l.records_in))} rec/s` : '–', known ? `${bytes(l.bytes_in)}/s${l.refused > 0 ? ` · ${count(Math.round(l.refused))} refused/s` : ''}` : 'counting…'],
    ['Out', known ? `${count(Math.round(l.records_out))} rec/s` : '–', known ? `${bytes(l.bytes_out)}/s${readers}` : 'counting…'],
    ['Put latency p99', !l.put_p99_ms ? '–' : l.put_p99_ms < 1 ? 'under 1 ms' : span(l.put_p99_ms), l.put_p99_ms ? 'until the disk has it' : 'nothing was put just now'],
  ];
  return html`<div class="g3">${cards.map(([k, v, t]) => html`<div class="card pad" key=${k}><div class="mut">${k}</div><div class="big">${v}</div><div class="mut small">${t}</div></div>`)}</div>`;
}

function Consumers({ s }) {
  const list = s.consumers || [];
  const shared = (s.shards || []).filter((x) => x.open && x.behind_s !== undefined);
  const far = Math.max(0, ...shared.map((x) => x.behind_s));
  return html`<div class="card"><div class="pad"><h2 class="h">Consumers</h2>${!list.length && html`<p class="mut small">None is registered.${shared.length ? '' : ' Readers without a registration share each shard\'s 2 MiB and 5 reads a second.'}</p>`}
    ${shared.length > 0 && html`<p class="mut small">The last read of any open shard was ${far < 1 ? 'at its newest record' : `${span(far * 1000)} behind its newest record`}.</p>`}</div>
    ${list.length > 0 && html`<div class="scroll"><table><thead><tr><th>Consumer</th><th>State</th><th class="num">Behind</th><th class="num hidem">Shards</th><th class="num hidem">Last read</th></tr></thead><tbody>
      ${list.map((c) => { const seen = instant(c.seen); return html`<tr key=${c.arn}><td><b>${c.name}</b></td><td class="nw"><span class="row" style=${{ gap: '7px', flexWrap: 'nowrap' }}><${Dot} tone=${c.behind_s > 60 ? 'warn' : c.seen ? 'ok' : 'off'} />${c.status.toLowerCase()}</span></td>
        <td class="num nw">${c.behind_s === undefined ? '–' : c.behind_s < 1 ? 'at the newest' : span(c.behind_s * 1000)}</td><td class="num hidem">${c.shards || '–'}</td><td class="num hidem nw">${Number.isFinite(seen) ? html`<${Time} at=${seen}>${when(seen, now.value)}</${Time}>` : 'not since the start'}</td></tr>`; })}</tbody></table></div>`}</div>`;
}
