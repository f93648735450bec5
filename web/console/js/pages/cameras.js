// The wall: all cameras, live, by state, by words, or as a table.
import { html, useState, useRef } from '../lib.js';
import { list, streamsError, refreshStreams, now, mayChange, streams } from '../store.js';
import { status } from '../status.js';
import { href, go } from '../router.js';
import { format, kept, when, instant, rate, bytes } from '../format.js';
import { Dot, Seg, Empty, Failure, Skeleton, Time, useKept } from '../components/bits.js';
import { Tile } from '../components/tile.js';
import { Strip } from '../components/strip.js';
import { StreamDialog } from '../components/streamdialog.js';
import { DiskChip } from '../components/forecast.js';

const groups = [['ok', 'healthy'], ['warn', 'degraded'], ['bad', 'offline'], ['off', 'silent']];

/** Every word must be found in the name, a tag, the format or the state. */
function matches(s, text) {
  const st = status(s);
  const hay = [s.name, format(s), st.word, st.title, ...Object.entries(s.tags || {}).flat()].join(' ').toLowerCase();
  return text.toLowerCase().split(/\s+/).every((w) => hay.includes(w));
}

export default function Cameras() {
  const [text, setText] = useState('');
  const [only, setOnly] = useState('');
  const [chosen, setView] = useKept('view', 'wall');
  const view = chosen !== 'dense' && innerWidth < 760 ? 'wall' : chosen; // a phone has one width
  const [dialog, setDialog] = useState({ kind: '', name: '' });
  const search = useRef(null);
  const all = list.value;
  const shown = (all || []).filter((s) => (!only || status(s).tone === only) && (!text || matches(s, text)));
  const fix = (kind, s) => setDialog({ kind, name: s.name });
  const counts = groups.map(([tone, word]) => [tone, word, (all || []).filter((s) => status(s).tone === tone).length]).filter((g) => g[2]);
  return html`<div class="top"><h1>Cameras</h1>
      ${counts.map(([tone, word, n]) => html`<button type="button" key=${tone} class="chip" aria-pressed=${only === tone} title=${only === tone ? 'show all' : `show only these`} onClick=${() => setOnly(only === tone ? '' : tone)}><${Dot} tone=${tone} />${n} ${word}</button>`)}<${DiskChip} />
      <span class="grow"></span>
      ${all?.length > 1 && html`<input ref=${search} class="in search" type="search" placeholder=${`Filter by name, tag, codec…${matchMedia('(pointer: coarse)').matches ? '' : '  ( / )'}`} aria-label="Filter cameras" value=${text} onInput=${(e) => setText(e.currentTarget.value)} onKeyDown=${(e) => { if (e.key === 'Escape') { setText(''); search.current.blur(); } if (e.key === 'Enter' && shown.length) go('cameras', shown[0].name); }} />`}
      ${all?.length > 0 && html`<span class="hidem"><${Seg} label="Layout" value=${view} onChange=${setView} options=${[['dense', 'Small'], ['wall', 'Wall'], ['large', 'Large'], ['table', 'Table']]} /></span>`}
      ${mayChange.value && html`<a class="btn pri" href=${href('add')}>Add camera</a>`}
    </div>
    <div class="inset">
      ${streamsError.value && html`<${Failure} what="The list of cameras could not be read" error=${streamsError.value} retry=${refreshStreams} />`}
      ${!all && !streamsError.value && html`<${Waiting} />`}
      ${all && !all.length && html`<${Empty} title="No cameras yet" action=${mayChange.value ? html`<a class="btn pri" href=${href('add')}>Add the first camera</a>` : null}>Penstock finds cameras on this network, or takes any RTSP address. A camera that is added is recorded from then on.</${Empty}>`}
      ${all?.length > 0 && !shown.length && html`<${Empty} title="No camera matches" action=${html`<button class="btn" onClick=${() => { setText(''); setOnly(''); }}>Show all ${all.length}</button>`}>Nothing is called ${text ? `“${text}”` : 'that'}${only ? ` among those that are ${groups.find((g) => g[0] === only)[1]}` : ''}.</${Empty}>`}
      ${shown.length > 0 && (view === 'table' ? html`<${Table} rows=${shown} />` : html`<div class=${`wall ${view}`}>${shown.map((s) => html`<${Tile} key=${s.name} stream=${s} onFix=${fix} />`)}</div>`)}
    </div>
    <${StreamDialog} kind=${dialog.kind} stream=${streams.value?.get(dialog.name)} onClose=${() => setDialog({ kind: '', name: '' })} onSwitch=${(kind) => setDialog({ ...dialog, kind })} />`;
}

const Waiting = () => html`<div class="wall" aria-busy="true" aria-label="loading">${[0, 1, 2, 3].map((i) => html`<div class="card tile" key=${i}><div class="v sk"></div><div class="bd stack"><${Skeleton} width="55%" /><${Skeleton} width="80%" height="10px" /></div></div>`)}</div>`;

function Table({ rows }) {
  return html`<div class="card scroll"><table><thead><tr><th>Camera</th><th>State</th><th class="hidem">Video</th><th class="num hidem">Rate</th><th class="num hidem">Kept</th><th class="num hidem">Stored</th><th class="num hidem narrow">A day</th><th class="hidem">Last 24 hours</th><th class="num">Last picture</th></tr></thead><tbody>
    ${rows.map((s) => { const st = status(s, now.value); const last = instant(s.last); return html`<tr key=${s.name}>
      <td><a href=${href('cameras', s.name)}><b>${s.name}</b></a></td>
      <td class="nw"><span class="row" style=${{ gap: '7px', flexWrap: 'nowrap' }}><${Dot} tone=${st.tone} /><span title=${st.text}>${st.word}</span></span></td>
      <td class="hidem nw">${format(s) || '–'}</td><td class="num hidem nw">${s.live ? rate(s.bitrate) : '–'}</td><td class="num hidem nw">${kept(s.retention)}${s.retention_bytes ? ` or ${bytes(s.retention_bytes)}` : ''}</td><td class="num hidem nw">${bytes(s.bytes || 0)}</td><td class="num hidem nw narrow">${s.daily_bytes ? bytes(s.daily_bytes) : '–'}</td>
      <td class="hidem" style=${{ width: '22%' }}><${Strip} stream=${s} /></td>
      <td class="num nw">${s.live ? 'now' : html`<${Time} at=${last}>${Number.isFinite(last) ? when(last, now.value) : 'never'}</${Time}>`}</td></tr>`; })}
  </tbody></table></div>`;
}
