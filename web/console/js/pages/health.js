// What needs someone, what the server is doing, and how safe it stands.
import { html, useEffect, useState } from '../lib.js';
import { list, system, session, now, refresh, refreshSystem, streams, mayChange, streamsError } from '../store.js';
import { status } from '../status.js';
import { href } from '../router.js';
import { bytes, span, rate, count, day, instant, hourMinute, plural, kept } from '../format.js';
import { Dot, Failure, Skeleton, Time } from '../components/bits.js';
import { StreamDialog } from '../components/streamdialog.js';
import { fixes } from '../components/tile.js';
import { DiskAlert, forecast } from '../components/forecast.js';
import { usePolled } from './data.js';

export default function Health() {
  const [dialog, setDialog] = useState({ kind: '', name: '' });
  useEffect(() => { refresh(); }, []);
  const s = system.value;
  const all = list.value;
  const troubled = (all || []).map((x) => ({ x, st: status(x, now.value) })).filter((t) => t.st.tone === 'bad' || (t.st.tone === 'warn' && (t.x.state !== 'connecting' || now.value - instant(t.x.since) > 60e3))).sort((a, b) => (a.st.tone > b.st.tone ? 1 : -1));
  const disk = forecast(s, all || []);
  const problems = s?.problems || [];
  const n = troubled.length + problems.length + (disk?.tone === 'ok' || !disk ? 0 : 1);
  return html`<div class="top"><h1>Health</h1>${(s || all) && html`<span class="chip"><${Dot} tone=${n ? 'warn' : 'ok'} />${n ? `${n} ${n === 1 ? 'thing needs' : 'things need'} you` : 'all is well'}</span>`}<span class="grow"></span><button type="button" class="btn" onClick=${refresh}>Refresh</button></div>
    <div class="inset">
    ${streamsError.value && html`<${Failure} what="The server's state could not be read" error=${streamsError.value} retry=${refresh} />`}
    ${problems.map((p) => html`<div class="card alert warn" key=${p}><${Dot} tone="warn" /><div><b>${p}</b></div></div>`)}
    <${DiskAlert} action=${all?.length > 0 && html`<button type="button" class="btn sm" onClick=${() => document.getElementById('kept')?.scrollIntoView()}>${mayChange.value ? 'Lower retention' : 'Look at retention'}</button>`} />
    ${troubled.map(({ x, st }) => html`<div class=${`card alert ${st.tone}`} key=${x.name}><${Dot} tone=${st.tone} /><div><b><a href=${href('cameras', x.name)}>${x.name}</a>: ${lower(st.title)}${since(x)}</b>${st.text && html`<div class="mut">${st.text}</div>`}</div>
      ${mayChange.value && st.fix && html`<button type="button" class="btn sm" onClick=${() => setDialog({ kind: fixes[st.fix][1], name: x.name })}>${fixes[st.fix][0]}</button>`}<a class="btn sm" href=${href('cameras', x.name)}>Watch</a></div>`)}
    ${!s && !all && html`<div class="g2">${[0, 1].map((i) => html`<div class="card pad stack" key=${i}><${Skeleton} width="40%" /><${Skeleton} height="90px" /></div>`)}</div>`}
    <div class="g2 even">
      ${all && html`<${Now} all=${all} s=${s} />`}
      ${s?.disk?.total ? html`<${Disk} disk=${s.disk} all=${all || []} store=${s.store} f=${disk} />` : null}
      ${s && html`<${Server} s=${s} />`}
      ${s && html`<${Safety} s=${s} />`}
    </div>
    ${all?.length > 0 && html`<${Stored} all=${all} onRetention=${(x) => setDialog({ kind: 'retention', name: x.name })} />`}</div>
    <${StreamDialog} kind=${dialog.kind} stream=${streams.value?.get(dialog.name)} onClose=${() => { setDialog({ kind: '', name: '' }); refreshSystem(); }} onSwitch=${(kind) => setDialog({ ...dialog, kind })} />`;
}

const lower = (t) => t[0].toLowerCase() + t.slice(1);
function since(x) {
  const t = instant(x.since);
  return Number.isFinite(t) && x.state !== 'live' ? ` since ${now.value - t > 864e5 ? `${day(t)} ` : ''}${hourMinute(t)}` : '';
}

function Now({ all, s }) {
  const { got } = usePolled('v1/data', 10000);
  const data = got?.streams;
  const live = all.filter((x) => x.live);
  const rows = [
    ['Video in', `${plural(live.length, 'camera')} · ${rate(live.reduce((n, x) => n + (x.bitrate || 0), 0))}`],
    ['Records in', data ? `${plural(data.length, 'data stream')} · ${count(Math.round(data.reduce((n, x) => n + x.load.records_in, 0)))} a second` : '–'],
    ['Not live', all.length - live.length ? plural(all.length - live.length, 'camera') : 'none'],
    ['Lost on the way', lostWords(all.reduce((n, x) => n + (x.lost || 0), 0))],
    ['Stored', `${bytes(all.reduce((n, x) => n + (x.bytes || 0), 0))} · ${plural(all.reduce((n, x) => n + (x.fragment_count || 0), 0), 'fragment')}`],
    ['Watching', plural(all.reduce((n, x) => n + (x.viewers || 0), 0), 'viewer')],
    ['Stills and thumbnails', s ? (s.ffmpeg ? 'ffmpeg found' : 'off: ffmpeg is not installed') : '–'],
  ];
  return html`<div class="card pad"><h2 class="h">Right now</h2><dl class="kv">${rows.map(([k, v]) => html`<dt>${k}</dt><dd>${v}</dd>`)}</dl></div>`;
}

const lostWords = (n) => (n ? `${plural(n, 'sample')} since the start` : 'nothing since the start');

function Disk({ disk: d, all, store, f }) {
  // The server counts what is closed once a minute; the streams know what is open too.
  const video = Math.max(d.used_by_media, all.reduce((n, x) => n + (x.bytes || 0), 0));
  const here = store && store !== 'local disk' ? 0 : video;
  const media = Math.min(100, (here / d.total) * 100);
  const others = Math.max(0, d.total - d.free - here);
  const other = (others / d.total) * 100;
  const full = instant(d.full_at);
  const rows = [['Video', bytes(video)], ...(d.kept_bytes ? [['Of it kept by events', bytes(d.kept_bytes)]] : []), ['Other files', bytes(others)], ['Free', `${bytes(d.free)} of ${bytes(d.total)}`],
    ['A day brings', d.daily_bytes ? bytes(d.daily_bytes) : '–'], ...(d.steady_bytes ? [['Once every camera has its time', bytes(d.steady_bytes)]] : []),
    ['Forecast', Number.isFinite(full) ? html`<span class="failed">full on <${Time} at=${full}>${day(full)}</${Time}></span>` : d.steady_bytes ? 'it does not fill' : 'not known yet'], ...(store ? [['Kept on', store]] : [])];
  return html`<div class="card pad"><h2 class="h">Disk</h2>
    <div class="meter" role="img" aria-label=${`${f.used}% of the disk is used`}><i style=${{ width: `${Math.max(media, 0.4)}%` }}></i><i class="other" style=${{ width: `${other}%` }}></i></div>
    <dl class="kv">${rows.map(([k, v]) => html`<dt>${k}</dt><dd>${v}</dd>`)}</dl></div>`;
}

/** What each camera keeps, the largest first. */
function Stored({ all, onRetention }) {
  const [whole, setWhole] = useState(false);
  const rows = [...all].sort((a, b) => (b.daily_bytes || 0) - (a.daily_bytes || 0) || (b.bytes || 0) - (a.bytes || 0));
  const size = (n) => (n ? bytes(n) : '–');
  return html`<div class="card" id="kept" style=${{ marginTop: '14px' }}><div class="pad row"><h2 class="h grow">What each camera keeps</h2></div>
    <div class="scroll"><table><thead><tr><th>Camera</th><th class="num">Kept for</th><th class="num hidem">At most</th><th class="num">A day</th><th class="num">Stored</th><th class="num hidem">For events</th></tr></thead><tbody>
    ${rows.slice(0, whole ? rows.length : 8).map((x) => html`<tr key=${x.name}><td><a href=${href('cameras', x.name)}>${x.name}</a></td><td class="num nw"><button type="button" class="link" aria-label=${`Retention of ${x.name}: ${kept(x.retention)}`} onClick=${() => onRetention(x)}>${kept(x.retention)}</button></td><td class="num nw hidem">${x.retention_bytes ? bytes(x.retention_bytes) : 'no limit'}</td><td class="num nw">${size(x.daily_bytes)}</td><td class="num nw">${size(x.bytes)}</td><td class="num nw hidem">${size(x.kept_bytes)}</td></tr>`)}</tbody></table></div>
    ${rows.length > 8 && !whole && html`<div class="pad"><button type="button" class="btn sm" onClick=${() => setWhole(true)}>Show all ${rows.length}</button></div>`}</div>`;
}

function Server({ s }) {
  const started = instant(s.started);
  const rows = [['Version', s.version], ['Up', html`<${Time} at=${started}>${span((s.uptime_s || 0) * 1000)}</${Time}>`], ['Console', s.http], ['RTSP', s.rtsp], ['Data', html`<span class="mono">${s.data_dir}</span>`], ['Demo camera', s.demo ? 'on' : 'off']];
  return html`<div class="card pad"><h2 class="h">Server</h2><dl class="kv">${rows.map(([k, v]) => html`<dt>${k}</dt><dd>${v || '–'}</dd>`)}</dl></div>`;
}

const who = (x) => (x?.role && x.role !== x.name ? `${x.name || 'a key'}, role ${x.role}` : x?.name || x?.role || 'admin');

function Safety({ s }) {
  const tls = location.protocol === 'https:';
  const rows = [
    [s.password_set ? 'ok' : 'warn', s.password_set ? 'A password is set; there is no default one' : 'No password is set: only the one-time link signs in', s.password_set ? null : html`<a class="btn sm" href=${href('settings')}>Set one</a>`],
    [s.local_only || tls ? 'ok' : 'warn', s.local_only ? 'Reachable from this machine only' : tls ? 'Reachable from the network, over TLS' : 'Reachable from the network without TLS: put it behind a proxy that has it', null],
    ['ok', 'Camera passwords are encrypted where they are stored', null],
    ['ok', 'This page loads nothing from elsewhere', null],
    ['ok', `You are signed in as ${who(session.value)}`, null],
  ];
  return html`<div class="card pad"><h2 class="h">Safety of this install</h2>${rows.map(([tone, text, act]) => html`<div class="chk" key=${text}><${Dot} tone=${tone} /><span class="row"><span class="grow">${text}</span>${act}</span></div>`)}</div>`;
}

