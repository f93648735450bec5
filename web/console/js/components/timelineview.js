// The timeline on the page: the canvas, its zoom, where it looks, what the pointer is over,
// and the same in words.
import { html, useEffect, useRef, useState, useSignalEffect } from '../lib.js';
import { Timeline } from '../timeline.js';
import { ZOOMS } from '../timescale.js';
import { serverNow, system, now } from '../store.js';
import { address, stream as path, iso } from '../api.js';
import { clock, day, span, zone, startOfDay, nextDay, hourMinute, bytes } from '../format.js';
import { Seg } from './bits.js';
import { Icon } from './icons.js';
import { keptWords, length, word } from '../events.js';

const SPANS = [[864e5, '24 h'], [7 * 864e5, '7 d'], [30 * 864e5, '30 d']];

export function TimelineView({ player, stream, detail, overview, events, control, clip, onClip, onDownload, onKeep, onPick }) {
  const canvas = useRef(null);
  const [hover, setHover] = useState(null);
  const [view, setView] = useState({ from: 0, to: 1, over: 0 });
  useEffect(() => {
    const tl = new Timeline(canvas.current, {
      detail, overview, events, now: serverNow, pick: (list) => onPick(list[0]),
      scrub: (t) => player.scrub(t), scrubEnd: (t) => player.scrubEnd(t),
      select: onClip, hover: setHover,
      moved: () => setView({ from: tl.view.from, to: tl.view.to, over: tl.span }),
    });
    control.current = tl;
    tl.settle();
    return () => { control.current = null; tl.close(); };
  }, [player]);
  useSignalEffect(() => {
    const t = player.time.value;
    const live = player.mode.value === 'live' && player.playing.value;
    detail.data.value; overview.data.value; events.all.value; now.value; // each is drawn
    const tl = control.current;
    if (tl && !tl.dragging) tl.setPlayhead(t, live); else tl?.paint();
  });
  const tl = control.current;
  const width = view.to - view.from;
  const zoom = ZOOMS.reduce((best, z) => (Math.abs(Math.log(z[1] / width)) < Math.abs(Math.log(best[1] / width)) ? z : best), ZOOMS[0]);
  const exact = Math.abs(zoom[1] / width - 1) < 0.08 ? zoom[1] : 0;
  const key = (e) => {
    const step = (width / 60) * (e.key === 'ArrowLeft' ? -1 : 1);
    if (e.key === 'ArrowLeft' || e.key === 'ArrowRight') { if (e.shiftKey) tl.pan(step * 12); else player.seek(player.time.value + step); } else if (e.key === 'Home') player.seek(detail.data.value.spans[0]?.start ?? player.time.value); else if (e.key === 'End') player.live(); else return;
    e.preventDefault();
    e.stopPropagation();
  };
  return html`<div class="tlwrap">
    <div class="tlbar">
      <${Seg} small=${true} label="Zoom" value=${exact} onChange=${(ms) => tl.zoom(ms)} options=${ZOOMS.map(([text, ms]) => [ms, text])} />
      <span class="grow"></span>
      <${Jump} tl=${tl} player=${player} view=${view} />
      <span class="hidem row" style=${{ gap: '7px' }}><span class="mut small word" aria-hidden="true">overview</span><${Seg} small=${true} label="Overview" value=${view.over} onChange=${(ms) => tl.setSpan(ms)} options=${SPANS.map(([ms, t]) => [ms, t, `the upper bar shows ${t}`])} /></span>
    </div>
    <div class="tl">
      <canvas ref=${canvas} tabIndex="0" role="slider" aria-label="Timeline" aria-valuemin=${Math.round(view.from / 1000)} aria-valuemax=${Math.round(view.to / 1000)} aria-valuenow=${Math.round((player.time.value || view.from) / 1000)} aria-valuetext=${spoken(player, detail, events)} onKeyDown=${key}></canvas>
      ${hover && html`<${Peek} hover=${hover} name=${stream.name} width=${tl?.width || 600} />`}
    </div>
    <${Words} detail=${detail} view=${view} hover=${hover} player=${player} clip=${clip} onClip=${(c) => tl.setSelection(c)} onDownload=${onDownload} onKeep=${onKeep} />
  </div>`;
}

function spoken(player, detail, events) {
  const t = player.time.value;
  if (!Number.isFinite(t)) return 'no picture yet';
  const gap = detail.gapAt(t);
  const there = events.within(t, t + 1).slice(0, 3).map(word).join(', ');
  return `${day(t)} ${clock(t)}, ${player.mode.value === 'live' ? 'live' : gap ? `missing: ${gap.reason}` : 'recorded'}${there ? `, ${there}` : ''}`;
}

/** A day back, a day on, or any day and time. */
function Jump({ tl, player, view }) {
  const mid = (view.from + view.to) / 2;
  const move = (n) => {
    const t = Number.isFinite(player.time.value) ? player.time.value : mid;
    const to = nextDay(t, n) + (t - startOfDay(t));
    tl.follow = true;
    player.seek(Math.min(to, serverNow()), undefined);
    tl.show(Math.min(to, serverNow()));
  };
  const d = new Date(mid);
  const local = new Date(mid - d.getTimezoneOffset() * 6e4).toISOString().slice(0, 16);
  const field = useRef(null);
  // It follows the timeline, but not under the hands of someone who types in it.
  useEffect(() => { const f = field.current; if (document.activeElement !== f && f.value !== local) f.value = local; });
  const pick = (e) => {
    const t = new Date(e.currentTarget.value).getTime();
    if (Number.isFinite(t)) { player.seek(Math.min(t, serverNow()), undefined); tl.show(Math.min(t, serverNow())); }
  };
  return html`<span class="row" style=${{ gap: '4px', flexWrap: 'nowrap' }}><button type="button" class="btn sm ico" aria-label="A day back" title="a day back" onClick=${() => move(-1)}><${Icon} name="left" /></button>
    <input class="in auto small" style=${{ minHeight: '28px', padding: '2px 6px' }} type="datetime-local" aria-label="Go to a day and time" ref=${field} onChange=${pick} />
    <button type="button" class="btn sm ico" aria-label="A day on" title="a day on" disabled=${mid > serverNow() - 864e5 / 2} onClick=${() => move(1)}><${Icon} name="right" /></button></span>`;
}

/** The time under the pointer, with a thumbnail where something is recorded. */
function Peek({ hover, name, width }) {
  const [src, setSrc] = useState('');
  const [ready, setReady] = useState(false);
  const able = system.value?.ffmpeg !== false && !hover.scrub && (hover.recorded || hover.events);
  const at = hover.events ? hover.events[0].start : Math.floor(hover.t / 1000) * 1000;
  useEffect(() => {
    if (!able) { setSrc(''); return undefined; }
    const t = setTimeout(() => { setReady(false); setSrc(address(path(name, '/still.jpg'), { at: iso(at), width: 240 }).href); }, 140);
    return () => clearTimeout(t);
  }, [able, at, name]);
  if (hover.scrub && !hover.gap) return null;
  const half = (able && ready) || hover.events ? 102 : 60;
  const left = Math.min(Math.max(half, hover.x), width - half);
  return html`<div class=${`peek ${hover.events ? 'wide' : ''}`} style=${{ left: `${left}px`, bottom: hover.over ? 'calc(100% + 4px)' : undefined }}>
    ${able && src && html`<img src=${src} alt="" hidden=${!ready} onLoad=${() => setReady(true)} onError=${() => { setSrc(''); setReady(false); }} />`}
    ${hover.events ? html`<${Told} list=${hover.events} />` : html`<b>${hover.over ? `${day(hover.t)} ${hourMinute(hover.t)}` : clock(hover.t)}</b>`}
    ${hover.events ? null : hover.gap ? html`<div class="mut"><span class="hatch"></span> ${span(hover.gap.end - hover.gap.start)} missing${hover.gap.reason ? `: ${hover.gap.reason}` : ''}</div>` : !hover.recorded && !hover.scrub && html`<div class="mut">nothing recorded</div>`}
  </div>`;
}

/** The events under the pointer. */
function Told({ list }) {
  return html`${list.slice(0, 4).map((e) => html`<div key=${e.id}><b>${word(e)}</b><div class="mut">${[clock(e.start), length(e), keptWords(e), e.by].filter(Boolean).join(' · ')}</div></div>`)}${list.length > 4 && html`<div class="mut">and ${list.length - 4} more</div>`}`;
}

/** What the picture says, for those who cannot see it or its colours. */
function Words({ detail, view, hover, player, clip, onClip, onDownload, onKeep }) {
  if (clip) {
    const s = detail.sum(clip.from, clip.to);
    const missing = Math.max(0, clip.to - clip.from - s.ms);
    return html`<div class="tlfoot" style=${{ alignItems: 'center' }}><span class="grow" role="status"><b style=${{ color: 'var(--text)' }}>Clip ${clock(clip.from)} – ${clock(clip.to)}</b> · ${span(clip.to - clip.from)}${s.bytes ? ` · about ${bytes(s.bytes)}` : ''}${missing > 1500 ? ` · ${span(missing)} of it is missing` : ''}</span>
      <span class="row"><button type="button" class="btn sm" onClick=${() => player.seek(clip.from, true)}>Play it</button><button type="button" class="btn sm" onClick=${() => onClip(null)}>Clear</button>${onKeep && html`<button type="button" class="btn sm" disabled=${!s.ms} title="so that it outlives the retention (P)" onClick=${onKeep}>Keep this…</button>`}<button type="button" class="btn sm pri" disabled=${!s.ms} onClick=${onDownload}>Download</button></span></div>`;
  }
  const d = detail.data.value;
  const gaps = d.gaps.filter((g) => g.end > view.from && g.start < view.to);
  const near = hover?.gap || gaps.find((g) => Math.abs((g.start + g.end) / 2 - player.time.value) < (view.to - view.from) / 8) || gaps[gaps.length - 1];
  return html`<div class="tlfoot">
    ${detail.error.value && html`<span role="alert">The timeline could not be read: ${detail.error.value.message}</span>`}
    ${near && html`<span class="gap clip" title=${near.reason}><span class="hatch" aria-hidden="true"></span> gap ${clock(near.start)} – ${clock(near.end)}${near.reason ? `: ${near.reason}` : ''}${gaps.length > 1 ? ` (one of ${gaps.length} here)` : ''}</span>`}
    ${!near && d.at > 0 && !d.spans.some((s) => s.end > view.from && s.start < view.to) && html`<span>Nothing is recorded in this stretch.</span>`}
    ${!near && html`<span class="grow"></span>`}
    <span class="hidem hints"><kbd>←</kbd><kbd>→</kbd> frame <kbd>J</kbd><kbd>L</kbd> 10 s <kbd>E</kbd> next event <kbd>I</kbd><kbd>O</kbd> mark clip</span>
    <span class="hints" title="the zone of this browser">${zone(view.to)}</span></div>`;
}
