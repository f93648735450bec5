// All data streams: what goes through each, and a way to make one.
import { html, useEffect, useState } from '../lib.js';
import { get, post } from '../api.js';
import { mayChange, now, toast, words } from '../store.js';
import { href, go } from '../router.js';
import { bytes, count, instant, kept, plural, when } from '../format.js';
import { Dot, Empty, Failure, Field, Skeleton, Time } from '../components/bits.js';
import { Dialog } from '../components/dialog.js';

/** Asks again every few seconds while the page is seen; rates are of the time between. */
export function usePolled(path, ms = 3000) {
  const [got, setGot] = useState(null);
  const [error, setError] = useState(null);
  const load = async () => {
    try { setGot(await get(path)); setError(null); } catch (err) { if (err.status !== 401) setError(err); }
  };
  useEffect(() => {
    let here = true;
    const step = async () => { if (!document.hidden) await load(); if (here) timer = setTimeout(step, ms); };
    let timer = setTimeout(step, 0);
    // The first rates need a second look soon.
    const soon = setTimeout(load, 1200);
    return () => { here = false; clearTimeout(timer); clearTimeout(soon); };
  }, [path]);
  return { got, error: got && error?.status === 0 ? null : error, load, setGot };
}

export const tone = (s) => (s.load?.refused > 0 ? 'warn' : s.status === 'ACTIVE' ? 'ok' : s.status === 'DELETING' ? 'off' : 'warn');
export const shardsOf = (s) => `${plural(s.open_shards, 'open shard')}${s.mode === 'ON_DEMAND' ? ' · on demand' : ''}`;

export default function Data() {
  const { got, error, load } = usePolled('v1/data');
  const [making, setMaking] = useState(false);
  const all = got?.streams;
  return html`<div class="top"><h1>Data streams</h1>${all?.length > 0 && html`<span class="chip hidem">${count(Math.round(all.reduce((n, s) => n + s.load.records_in, 0)))} records/s in</span>`}<span class="grow"></span>
      ${mayChange.value && html`<button type="button" class="btn pri" onClick=${() => setMaking(true)}>New data stream</button>`}</div>
    <div class="inset">
    ${error && html`<${Failure} what="The data streams could not be read" error=${error} retry=${load} />`}
    ${!all && !error && html`<div class="card pad stack" aria-busy="true"><${Skeleton} width="60%" /><${Skeleton} width="80%" /></div>`}
    ${all && !all.length && html`<${Empty} title="No data streams yet" action=${mayChange.value ? html`<button type="button" class="btn pri" onClick=${() => setMaking(true)}>Make the first one</button>` : null}>A data stream keeps records in order by key, for a day up to a year, and every consumer reads it at its own pace. Any AWS client can use it: only the endpoint changes. Sending to a name that does not exist yet makes it, when the key allows that.</${Empty}>`}
    ${all?.length > 0 && html`<div class="card scroll"><table><thead><tr><th>Data stream</th><th>State</th><th class="num">In</th><th class="num hidem">Out</th><th class="hidem">Shards</th><th class="num hidem">Kept</th><th class="num hidem">Made</th></tr></thead><tbody>
      ${all.map((s) => html`<tr key=${s.name}><td><a href=${href('data', s.name)}><b>${s.name}</b></a>${s.encrypted && html` <span class="chip">encrypted</span>`}</td>
        <td class="nw"><span class="row" style=${{ gap: '7px', flexWrap: 'nowrap' }}><${Dot} tone=${tone(s)} />${s.load.refused > 0 ? 'over its limits' : s.status.toLowerCase()}</span></td>
        <td class="num nw">${s.load.over_s ? html`${count(Math.round(s.load.records_in))}/s<div class="mut small">${bytes(s.load.bytes_in)}/s</div>` : '–'}</td>
        <td class="num nw hidem">${s.load.over_s ? html`${count(Math.round(s.load.records_out))}/s<div class="mut small">${bytes(s.load.bytes_out)}/s</div>` : '–'}</td>
        <td class="hidem">${shardsOf(s)}</td><td class="num hidem nw">${kept(s.retention)}</td><td class="num hidem nw"><${Time} at=${instant(s.created)}>${when(instant(s.created), now.value)}</${Time}></td></tr>`)}</tbody></table></div>`}
    </div>
    ${making && html`<${NewStream} onClose=${() => setMaking(false)} />`}`;
}

function NewStream({ onClose }) {
  const [v, set] = useState({ name: '', mode: 'auto', shards: '2', retention: '24h' });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const field = (k) => (e) => set({ ...v, [k]: e.currentTarget.value });
  const submit = async (e) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const s = await post('v1/data', { name: v.name.trim(), shards: v.mode === 'auto' ? 0 : Number(v.shards), retention: v.retention });
      toast(`${s.name} takes records now`);
      go('data', s.name);
    } catch (err) { setError(err); setBusy(false); }
  };
  return html`<${Dialog} title="New data stream" onClose=${onClose}><form onSubmit=${submit}>
    <${Field} id="dname" label="Name" hint="Letters, digits, _ . - : it cannot be changed."><input class="in mono" id="dname" value=${v.name} onInput=${field('name')} pattern="[a-zA-Z0-9_.\\-]{1,128}" autofocus required autocapitalize="off" spellcheck=${false} /></${Field}>
    <div class="g2 pair"><${Field} id="dmode" label="Shards"><select class="in" id="dmode" value=${v.mode} onChange=${field('mode')}><option value="auto">As many as the traffic needs</option><option value="fixed">A number of my own</option></select></${Field}>
    ${v.mode === 'fixed' && html`<${Field} id="dshards" label="How many" hint="Each takes 1 MiB and 1,000 records a second."><input class="in" id="dshards" type="number" min="1" max="10000" value=${v.shards} onInput=${field('shards')} /></${Field}>`}</div>
    <${Field} id="dkeep" label="Keep records for"><select class="in" id="dkeep" value=${v.retention} onChange=${field('retention')}><option value="24h">1 day</option><option value="72h">3 days</option><option value="7d">7 days</option><option value="30d">30 days</option><option value="8760h">1 year</option></select></${Field}>
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '16px', justifyContent: 'flex-end' }}><button type="button" class="btn" onClick=${onClose}>Cancel</button><button type="submit" class="btn pri" disabled=${busy}>${busy ? 'Making…' : 'Make it'}</button></div></form></${Dialog}>`;
}
