// What happens on a camera, beside its picture: marking, what goes on, what was newest.
import { html, useEffect, useRef, useState } from '../lib.js';
import { now, serverNow, system, told } from '../store.js';
import { address, stream as path, iso } from '../api.js';
import { clock, day, plural, startOfDay } from '../format.js';
import { ends, isKept, keptWords, length, mayMark, readEvent, word } from '../events.js';
import { tint } from '../timelineevents.js';
import { Icon } from './icons.js';
import { Time } from './bits.js';

const SHOWN = 5;

/**
 * @param {{events:any, overview:any, stream:any, failed:any, onGo:(e:any)=>void, onMark:()=>void, onRecord:()=>void,
 *   onStop:(e:any)=>void, onEdit:(e:any)=>void, onAll:()=>void, onRetry:()=>void}} p
 */
export function Happenings({ events, overview, stream, onGo, onMark, onRecord, onStop, onEdit, onAll }) {
  const d = overview.data.value;
  const failed = overview.error.value;
  const t = serverNow();
  now.value; // what goes on grows
  const here = d.at ? events.within(d.from, d.to) : [];
  const open = events.all.value.filter((e) => e.open).sort((a, b) => b.start - a.start);
  const past = here.filter((e) => !e.open).reverse();
  const may = mayMark();
  const latest = d.to > t - 432e5;
  const n = past.length + open.length;
  return html`<section class="card pad flat" aria-label="Events"><div class="row"><h2 class="h grow">${latest ? 'Now on this camera' : `Around ${day((d.from + d.to) / 2)}`}</h2></div>
    <${News} events=${events} name=${stream.name} />
    ${may && html`<div class="row evbtns"><button type="button" class="btn sm" title="what is shown now (B)" onClick=${onMark}><${Icon} name="flag" />Mark</button>
      ${open[0]?.kind === 'recording' ? html`<button type="button" class="btn sm danger" title="R" onClick=${() => onStop(open[0])}><${Icon} name="stop" />Stop</button>` : html`<button type="button" class="btn sm" title="from now until you stop it (R)" disabled=${!stream.live} onClick=${onRecord}><${Icon} name="rec" />Record event</button>`}</div>`}
    ${failed && !n && html`<p class="err" role="alert">The events could not be read: ${failed.message}</p>`}
    ${!d.at && !failed && html`<p class="mut small">…</p>`}
    ${d.at > 0 && !n && html`<p class="mut small" style=${{ marginTop: '8px' }}>Nothing was marked ${stretch(d, t)}.${may ? ' Mark what you see: what is marked can outlive the retention.' : ''}</p>`}
    <ul class="evs">${open.map((e) => html`<${Row} key=${e.id} e=${e} t=${t} stream=${stream} onGo=${onGo} onEdit=${may && onEdit} />`)}
      ${past.slice(0, Math.max(2, SHOWN - open.length)).map((e) => html`<${Row} key=${e.id} e=${e} t=${t} stream=${stream} onGo=${onGo} onEdit=${may && onEdit} />`)}</ul>
    ${(n > 0 || events.all.value.length > 0 || d.at > 0) && html`<button type="button" class="link small" onClick=${onAll}>${n > 1 ? `All ${events.more.value ? 'of more than 1,000' : n} events ${stretch(d, t)} →` : 'Find events →'}</button>`}</section>`;
}

/** The time that the upper bar shows, in words. */
function stretch(d, t) {
  const days = Math.max(1, Math.round((d.to - d.from) / 2.2 / 864e5));
  return d.to > t - 432e5 ? `in the last ${days === 1 ? '24 hours' : `${days} days`}` : `around ${day((d.from + d.to) / 2)}`;
}

/** One event: a picture of it, what it is, when, who said so. */
export function Row({ e, t, stream, onGo, onEdit }) {
  const what = word(e);
  const at = `${e.start < startOfDay(t) ? `${day(e.start)} ` : ''}${clock(e.start)}`;
  const facts = [at, length(e, t), e.label && e.kind !== 'mark' && e.kind !== 'recording' ? e.kind : '', e.by].filter(Boolean).join(' · ');
  return html`<li class="ev"><button type="button" class="go" aria-label=${`Play ${what}, ${facts}${e.keep ? `, ${keptWords(e, t)}` : ''}`} onClick=${() => onGo(e)}>
    <${Thumb} e=${e} name=${stream.name} />
    <span class="what"><b><span class="clamp">${e.open && html`<i class="dot rec" aria-hidden="true"></i> `}${what}</span></b><span class="mut small"><${Time} at=${e.start}>${facts}</${Time}></span>${e.keep && html`<span class=${`small ${isKept(e, t) ? 'keeps' : 'mut'}`}>${keptWords(e, t)}</span>`}</span></button>
    ${onEdit && html`<button type="button" class="btn sm ico" aria-label=${`Change ${what}, ${at}`} title="label, keep, delete" onClick=${() => onEdit(e)}><${Icon} name="more" /></button>`}</li>`;
}

/** A still of the event, where the server can make one; its shape where it cannot. */
function Thumb({ e, name }) {
  const [tries, setTries] = useState(0);
  const [ready, setReady] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const at = e.open || !(e.end > e.start) ? e.start : e.start + Math.min(1500, (e.end - e.start) / 2);
  // What has just happened is still being written: it is asked for again.
  const again = () => { setReady(false); if (tries < 3) timer.current = setTimeout(() => setTries(tries + 1), 2500 * (tries + 1)); else setTries(9); };
  const src = system.value?.ffmpeg && tries < 9 && address(path(name, '/still.jpg'), { at: iso(at), width: 128, n: tries || '' }).href;
  return html`<span class="th" aria-hidden="true">${!ready && html`<i class=${`sh ${tint(e.kind)} ${e.kind === 'mark' ? 'fl' : e.open || e.end - e.start > 1000 ? 'bl' : 'di'}`}></i>`}${src && html`<img alt="" loading="lazy" src=${src} style=${{ opacity: ready ? 1 : 0 }} onLoad=${() => setReady(true)} onError=${again} />`}</span>`;
}

/** Says aloud what others mark while someone looks, at most once in a few seconds. */
function News({ events, name }) {
  const [text, setText] = useState('');
  useEffect(() => {
    let first = true;
    let fresh = [];
    let timer = 0;
    const say = () => {
      timer = 0;
      const e = fresh[fresh.length - 1];
      setText(`${fresh.length > 1 ? `${plural(fresh.length, 'new event')}, the newest: ` : 'New event: '}${word(e)} at ${clock(e.start)}`);
      fresh = [];
    };
    const end = told.subscribe((v) => {
      if (first || !v) { first = false; return; }
      if (v.unmark?.stream === name) events.unmark(v.unmark.id);
      if (v.mark?.stream !== name) return;
      const e = readEvent(v.mark);
      if (!events.mark(e) || serverNow() - ends(e) > 120e3) return;
      fresh.push(e);
      if (!timer) timer = setTimeout(say, 3000);
    });
    return () => { end(); clearTimeout(timer); };
  }, [events, name]);
  return html`<span class="sr" role="status">${text}</span>`;
}
