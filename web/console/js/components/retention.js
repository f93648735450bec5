// How long a recording is kept: the usual choices, or any span from an hour to ten years.
import { html, useId, useState } from '../lib.js';
import { duration, kept, bytes } from '../format.js';
import { Field } from './bits.js';

const usual = ['24h', '7d', '30d', '90d', '365d'];
const LEAST = 36e5, MOST = 87600 * 36e5;

export const retentionOK = (text) => { const ms = duration(text); return ms >= LEAST && ms <= MOST; };

/** What the API takes: hours, as years and weeks are words of ours. */
export const retentionValue = (text) => `${Math.round(duration(text) / 36e5)}h`;

export function Retention({ value, onChange, bitrate }) {
  const id = useId();
  const ms = duration(value);
  const match = usual.find((u) => duration(u) === ms);
  const [own, setOwn] = useState(!match);
  const pick = (e) => { const v = e.currentTarget.value; setOwn(v === 'own'); if (v !== 'own') onChange(v); };
  const ok = retentionOK(value);
  const weight = ok && bitrate ? ` About ${bytes((bitrate / 8) * (ms / 1000))} at today's rate.` : '';
  return html`<${Field} id=${id} label="Keep recordings for" error=${ok ? '' : 'Between 1 h and 10 y, such as 36h, 45d or 2y'} hint=${weight || null}>
    <div class="row" style=${{ flexWrap: 'nowrap' }}><select class="in" id=${id} value=${own ? 'own' : match} onChange=${pick}>${usual.map((u) => html`<option value=${u}>${kept(u).replace(/ d$/, ' days').replace(/ h$/, ' hours')}</option>`)}<option value="own">another time…</option></select>
    ${own && html`<input class="in" aria-label="Time to keep" value=${value} onInput=${(e) => onChange(e.currentTarget.value)} aria-invalid=${!ok} />`}</div></${Field}>`;
}
