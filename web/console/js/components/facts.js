// What is known about a stream, and what is missing from it.
import { html } from '../lib.js';
import { kept, bytes, count, span, rate, instant, when, day, clock, format, roughly } from '../format.js';
import { now } from '../store.js';
import { Time } from './bits.js';
import { SetKeys } from './keyinterval.js';

/** The address without anything secret. */
export const shown = (url) => String(url || '').replace(/^(\w+:\/\/)[^/@]*@/, '$1•••@');

export function Facts({ stream: s, onRetention }) {
  const first = instant(s.first);
  const last = instant(s.last);
  const per = s.fragment_count && Number.isFinite(first) && s.bytes ? s.bytes / s.fragment_count : 0;
  const rows = [
    ['Source', s.source ? html`<span class="mono" title=${shown(s.source.url)}>${shown(s.source.url)}</span>` : s.demo ? 'built-in camera' : s.producer ? `pushed from ${s.producer.remote}` : 'pushed to us'],
    ['Transport', s.source ? { auto: 'TCP, UDP if refused', tcp: 'TCP', udp: 'UDP' }[s.source.transport] || s.source.transport : s.demo ? 'none' : protocol(s.producer)],
    ['Video', format(s) || '–'],
    ['Rate', s.live ? rate(s.bitrate) : '–'],
    ['Key frame every', html`${s.key_interval ? span(s.key_interval * 1000) : '–'} ${s.source && html`<${SetKeys} name=${s.name} every=${s.key_interval} after="The figure follows as video comes." />`}`],
    ['Camera clock', s.clock_offset_ms == null ? 'not told' : offset(s.clock_offset_ms)],
    ['Kept', html`<button type="button" class="link" onClick=${onRetention}>${kept(s.retention)}${s.retention_bytes ? ` or ${bytes(s.retention_bytes)}` : ''}</button> · ${bytes(s.bytes || 0)}`],
    ...(s.kept_bytes ? [['Of it for events', bytes(s.kept_bytes)]] : []),
    ...(s.daily_bytes ? [['A day brings', bytes(s.daily_bytes)]] : []),
    ['Oldest', html`<${Time} at=${first}>${Number.isFinite(first) ? `${roughly(now.value - first)} ago` : 'nothing yet'}</${Time}>`],
    ['Newest', html`<${Time} at=${last}>${Number.isFinite(last) ? (s.live ? 'now' : when(last, now.value)) : 'nothing yet'}</${Time}>`],
    ['Fragments', `${count(s.fragment_count)}${per ? ` · ${bytes(per)}` : ''}`],
    ['Lost on the way', s.lost ? `${count(s.lost)} samples` : 'none'],
    ['Viewers', count(s.viewers)],
  ];
  return html`<div class="card pad flat"><h2 class="h">Stream</h2><dl class="kv">${rows.map(([k, v]) => html`<dt>${k}</dt><dd class=${k === 'Source' || k === 'Video' ? '' : k === 'Key frame every' ? 'free' : 'clip'} title=${typeof v === 'string' ? v : undefined}>${v}</dd>`)}</dl>
    ${s.tags && Object.keys(s.tags).filter((k) => !k.includes(':')).length ? html`<div class="row" style=${{ marginTop: '10px', gap: '6px' }}>${Object.entries(s.tags).filter(([k]) => !k.includes(':')).map(([k, v]) => html`<span class="chip"><span class="clip">${v ? `${k}: ${v}` : k}</span></span>`)}</div>` : null}</div>`;
}

const protocol = (p) => (p ? { rtsp: 'RTSP', 'rtsp/tcp': 'RTSP over TCP', 'rtsp/udp': 'RTSP over UDP' }[p.protocol] || p.protocol : '–');

function offset(ms) {
  if (Math.abs(ms) < 20) return 'same as the server';
  return `${span(Math.abs(ms))} ${ms > 0 ? 'ahead' : 'behind'}`;
}

/** The time that the upper bar shows, in words. */
function stretch(d) {
  const days = Math.max(1, Math.round((d.to - d.from) / 864e5));
  return Date.now() - d.to < 864e5 / 2 ? `in the last ${days === 1 ? '24 hours' : `${days} days`}` : `around ${day((d.from + d.to) / 2)}`;
}

/** The stretches that are missing, newest first; each can be gone to. */
export function Missing({ gaps: source, first, onGo }) {
  const d = source.data.value;
  if (!d) return html`<div class="card pad flat"><h2 class="h">Missing here</h2><p class="mut small">…</p></div>`;
  const gaps = [...d.gaps].sort((a, b) => b.start - a.start);
  const sum = gaps.reduce((n, g) => n + g.end - g.start, 0);
  const none = d.spans.length ? `${d.least > 2000 ? `No gap of ${span(d.least)} or more` : 'Nothing: recorded without a gap'} ${first > d.from + 60e3 ? `since it began ${roughly(now.value - first)} ago` : stretch(d)}.` : 'Nothing is recorded in this stretch.';
  return html`<div class="card pad flat"><h2 class="h">Missing here</h2>
    ${!gaps.length && html`<p class="mut" style=${{ marginTop: '6px' }}>${none}</p>`}
    ${gaps.length > 0 && html`<p class="mut small">${span(sum)} in ${gaps.length} ${gaps.length === 1 ? 'gap' : 'gaps'}, ${stretch(d)}${d.least > 2000 ? `; shorter than ${span(d.least)} not counted` : ''}</p><ul class="gaps">${gaps.slice(0, 6).map((g) => html`<li key=${g.start}><span class="hatch" aria-hidden="true"></span><button type="button" class="link" onClick=${() => onGo(g)}>${day(g.start)} <${Time} at=${g.start}>${clock(g.start)}</${Time}></button><span class="num">${span(g.end - g.start)}</span><small>${g.reason}</small></li>`)}</ul>`}
    ${gaps.length > 6 && html`<p class="mut small">and ${gaps.length - 6} more on the timeline</p>`}</div>`;
}
