// One camera on the wall.
import { html, useRef } from '../lib.js';
import { now, mayChange } from '../store.js';
import { href } from '../router.js';
import { format, kept, when, instant, rate } from '../format.js';
import { Dot, StatusChip, Time, known } from './bits.js';
import { LiveVideo, useSeen } from './video.js';
import { Strip } from './strip.js';

export const fixes = { source: ['Fix the address or password', 'edit'], push: ['Show how to send', 'push'] };

export function Tile({ stream, onFix }) {
  const ref = useRef(null);
  const seen = useSeen(ref);
  const s = known(stream);
  const last = instant(stream.last);
  const what = stream.live ? format(stream) : Number.isFinite(last) ? html`last picture <${Time} at=${last}>${when(last, now.value)}</${Time}>` : 'nothing recorded yet';
  return html`<article class="card tile" ref=${ref} aria-label=${`${stream.name}, ${s.word}`}>
    <div class="v">
      <${LiveVideo} stream=${stream} />
      ${!stream.live && html`<${Note} s=${s} stream=${stream} onFix=${onFix} />`}
    </div>
    <div class="bd">
      <div class="n"><${Dot} tone=${s.tone} /><a class="clip" href=${href('cameras', stream.name)} title=${stream.name}>${stream.name}</a>
        ${s.tone === 'ok' ? (stream.demo ? html`<span class="chip">built-in</span>` : html`<span class="sr">${s.word}</span>`) : html`<${PlainChip} word=${s.word} title=${s.text} />`}</div>
      <div class="m"><span class="clip">${what}</span><span class="clip" title=${`kept ${kept(stream.retention)}`}>${stream.live && stream.bitrate ? rate(stream.bitrate) : `kept ${kept(stream.retention)}`}</span></div>
      <${Strip} stream=${stream} seen=${seen} />
    </div></article>`;
}

const PlainChip = ({ word, title }) => html`<span class="chip" title=${title}>${word}</span>`;

/** Why there is no picture, and what to do about it. */
export function Note({ s, stream, onFix }) {
  const fix = mayChange.value && s.fix && fixes[s.fix];
  return html`<div class="off-note"><strong>${s.title}</strong>${s.text && html`<span title=${s.text}>${s.text}</span>`}
    ${fix && html`<button type="button" class="btn sm" onClick=${() => onFix(fix[1], stream)}>${fix[0]}</button>`}</div>`;
}

export { StatusChip };
