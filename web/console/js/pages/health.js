// What needs someone, what the server is doing, and how safe it stands.
import { html, useEffect, useState } from '../lib.js';
import { list, system, session, now, refresh, refreshSystem, streams, mayChange, streamsError } from '../store.js';
import { status } from '../status.js';
import { href } from '../router.js';
import { bytes, span, rate, count, roughly, day, instant, hourMinute, plural, duration, kept } from '../format.js';
import { Dot, Failure, Skeleton, Time } from '../components/bits.js';
import { StreamDialog } from '../components/streamdialog.js';
import { fixes } from '../components/tile.js';
import { usePolled } from './data.js';

export default function Health() {
  const [dialog, setDialog] = useState({ kind: '', name: '' });
  useEffect(() => { refresh(); }, []);
  const s = system.value;
  const all = list.value;
  const troubled = (all || []).map((x) => ({ x, st: status(x, now.value) })).filter((t) => t.st.tone === 'bad' || (t.st.tone === 'warn' && (t.x.state !== 'connecting' || now.value - instant(t.x.since) > 60e3))).sort((a, b) => (a.st.tone > b.st.tone ? 1 : -1));
  const disk = s && forecast(s.disk, all || []);
  const problems = s?.problems || [];
  const n = troubled.length + problems.length + (disk?.tone === 'ok' || !disk ? 0 : 1);
  return html`<div class="top"><h1>Health</h1>${(s || all) && html`<span class="chip"><${Dot} tone=${n ? 'warn' : 'ok'} />${n ? `${n} ${n === 1 ? 'thing needs' : 'things need'} you` : 'all is well'}</span>`}<span class="grow"></span><button type="button" class="btn" onClick=${refresh}>Refresh</button></div>
    <div class="inset">
    ${streamsError.value && html`<${Failure} what="The server's state could not be read" error=${streamsError.value} retry=${refresh} />`}
    ${problems.map((p) => html`<div class="card alert warn" key=${p}><${Dot} tone="warn" /><div><b>${p}</b></div></div>`)}
    ${disk && disk.tone !== 'ok' && html`<div class=${`card alert ${disk.tone}`}><${Dot} tone=${disk.tone} /><div><b>${disk.title}</b><div class="mut">${disk.text}</div></div><a class="btn sm" href=${href('cameras')}>Look at retention</a></div>`}
    ${troubled.map(({ x, st }) => html`<div class=${`card alert ${st.tone}`} key=${x.name}><${Dot} tone=${st.tone} /><div><b><a href=${href('cameras', x.name)}>${x.name}</a>: ${lower(st.title)}${since(x)}</b>${st.text && html`<div class="mut">${st.text}</div>`}</div>
      ${mayChange.value && st.fix && html`<button type="button" class="btn sm" onClick=${() => setDialog({ kind: fixes[st.fix][1], name: x.name })}>${fixes[st.fix][0]}</button>`}<a class="btn sm" href=${href('cameras', x.name)}>Watch</a></div>`)}
    ${!s && !all && html`<div class="g2">${[0, 1].map((i) => html`<div class="card pad stack" key=${i}><${Skeleton} width="40%" /><${Skeleton} height="90px" /></div>`)}</div>`}
    <div class="g2 even">
      ${all && html`<${Now} all=${all} s=${s} />`}
      ${s?.disk?.total ? html`<${Disk} disk=${s.disk} all=${all || []} store=${s.store} f=${disk} />` : null}
      ${s && html`<${Server} s=${s} />`}
      ${s && html`<${Safety} s=${s} />`}
    </div></div>
    <${StreamDialog} kind=${dialog.kind} stream=${streams.value?.get(dialog.name)} onClose=${() => { setDialog({ kind: '', name: '' }); refreshSystem(); }} />`;
}

const lower = (t) => t[0].toLowerCase() + t.slice(1);
function since(x) {
  const t = instant(x.since);
  return Number.isFinite(t) && x.state !== 'live' ? ` since ${now.value - t > 864e5 ? `${day(t)} ` : ''}${hourMinute(t)}` : '';
}

/** When the disk fills at today's rates, set against what was asked to be kept. */
function forecast(d, all) {
  if (!d?.total) return null;
  const full = instant(d.full_at);
  const used = Math.round(((d.total - d.free) / d.total) * 100);
  const perDay = all.reduce((n, s) => n + (s.live ? s.bitrate || 0 : 0), 0) / 8 * 86400;
  if (d.free / d.total < 0.03) return { tone: 'bad', title: 'The disk is all but full', text: `${bytes(d.free)} of ${bytes(d.total)} are free. The oldest video goes first; give more room or keep less.`, used, perDay };
  if (!Number.isFinite(full)) return { tone: 'ok', title: 'The disk does not fill within a year', text: '', used, perDay };
  const left = full - now.value;
  const longer = all.filter((x) => wait(x) > left);
  if (longer.length) {
    const most = longer.reduce((a, b) => (duration(a.retention) > duration(b.retention) ? a : b));
    return { tone: 'warn', title: `The disk fills in ${roughly(left)}, before the ${kept(most.retention)} you asked for`, text: `${used}% of ${bytes(d.total)} used, ${bytes(perDay)} a day from ${plural(all.filter((s) => s.live).length, 'camera')}. When it fills, the oldest video goes first.`, used, perDay, left };
  }
  return { tone: 'ok', title: `Room for ${roughly(left)} more`, text: '', used, perDay, left };
}

/** How much longer a stream grows before retention frees as much as it writes. */
function wait(s) {
  if (!s.live) return 0;
  const keep = duration(s.retention) || 0;
  const had = now.value - (instant(s.first) || now.value);
  return Math.max(0, keep - had);
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
  return html`<div class="card pad"><h2 class="h">Disk</h2>
    <div class="meter" role="img" aria-label=${`${f.used}% of the disk is used`}><i style=${{ width: `${Math.max(media, 0.4)}%` }}></i><i class="other" style=${{ width: `${other}%` }}></i></div>
    <dl class="kv"><dt>Video</dt><dd>${bytes(video)}</dd><dt>Other files</dt><dd>${bytes(others)}</dd><dt>Free</dt><dd>${bytes(d.free)} of ${bytes(d.total)}</dd><dt>A day brings</dt><dd>${f.perDay ? bytes(f.perDay) : '–'}</dd><dt>Forecast</dt><dd>${Number.isFinite(instant(d.full_at)) ? html`full on <${Time} at=${instant(d.full_at)}>${day(instant(d.full_at))}</${Time}>, before retention frees any` : 'not full within a year'}</dd>${store && html`<dt>Kept on</dt><dd>${store}</dd>`}</dl></div>`;
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

