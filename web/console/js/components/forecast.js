// Whether the disk holds what was asked to be kept.
import { html } from '../lib.js';
import { list, now, system } from '../store.js';
import { href } from '../router.js';
import { bytes, day, duration, instant, kept, plural, roughly } from '../format.js';
import { Dot } from './bits.js';

/** The outlook: {tone, title, text, short}, or null when the disk is not known. */
export function forecast(s = system.value, all = list.value || []) {
  const d = s?.disk;
  if (!d?.total) return null;
  const used = Math.round(((d.total - d.free) / d.total) * 100);
  const full = instant(d.full_at);
  const live = all.filter((x) => x.live);
  const held = d.kept_bytes ? ` What events keep, ${bytes(d.kept_bytes)}, is not touched.` : '';
  if (d.free / d.total < 0.03) return { tone: 'bad', used, title: 'The disk is all but full', short: 'disk all but full', text: `${bytes(d.free)} of ${bytes(d.total)} are free. The oldest video goes first; give more room or keep less.${held}` };
  if (!Number.isFinite(full)) return { tone: 'ok', used, title: d.steady_bytes ? `The disk holds it all: ${bytes(d.steady_bytes)} once every camera has its time` : 'The disk does not fill', short: '', text: '' };
  const left = full - now.value;
  const most = live.length ? live.reduce((a, b) => (duration(a.retention) > duration(b.retention) ? a : b)) : null;
  const text = `${used}% of ${bytes(d.total)} used, ${bytes(d.daily_bytes)} a day from ${plural(live.length, 'camera')}.${d.steady_bytes ? ` All that is to be kept would take ${bytes(d.steady_bytes)}.` : ''} When the disk is full, the oldest video goes first.${held}`;
  return { tone: 'warn', used, title: `The disk fills on ${day(full)}, in ${roughly(left)}${most ? `, before the ${kept(most.retention).replace(/ d$/, ' days')} you asked for` : ''}`, short: `disk full on ${day(full)}`, text };
}

/** The outlook, where it is a bad one. */
export function DiskAlert({ action }) {
  const f = forecast();
  if (!f || f.tone === 'ok') return null;
  return html`<div class=${`card alert ${f.tone}`}><${Dot} tone=${f.tone} /><div><b>${f.title}</b><div class="mut">${f.text}</div></div>${action}</div>`;
}

/** The same in two words, on the way to the page that says more. */
export function DiskChip() {
  const f = forecast();
  return f?.short ? html`<a class="chip" href=${href('health')} title=${f.title}><${Dot} tone=${f.tone} />${f.short}</a>` : null;
}
