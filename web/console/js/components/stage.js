// The picture of the stream page with what lies over it, and the controls below it.
import { html, useRef, useState, useEffect } from '../lib.js';
import { RATES } from '../player/player.js';
import { address, stream as path, iso } from '../api.js';
import { serverNow, mayChange, now, system, outage } from '../store.js';
import { status } from '../status.js';
import { span, clock, day, codecName, startOfDay } from '../format.js';
import { Icon } from './icons.js';
import { Dot, Spinner, Time } from './bits.js';
import { fixes } from './tile.js';

/** @param {{player:any, stream:any, video:any, frame:any, unplayable:boolean, onFix:(kind:string)=>void}} p */
export function Stage({ player, stream, video, frame, unplayable, onFix }) {
  return html`<div class="player" ref=${frame} onDblClick=${() => fullscreen(frame.current)}>
    <video ref=${video} aria-label=${`${stream.name}, ${player?.mode.value === 'live' ? 'live' : 'recorded'}`} playsInline muted onClick=${() => player?.toggle()}></video>
    ${player && html`<${Over} player=${player} stream=${stream} unplayable=${unplayable} onFix=${onFix} /><${Tags} player=${player} stream=${stream} />`}
  </div>`;
}

export function fullscreen(el) {
  if (document.fullscreenElement) return document.exitFullscreen();
  if (el.requestFullscreen) return el.requestFullscreen().catch(() => {});
  el.querySelector('video')?.webkitEnterFullscreen?.();
  return undefined;
}

function Tags({ player, stream }) {
  const live = player.mode.value === 'live';
  const t = player.time.value;
  const behind = Math.max(0, serverNow() - t);
  const silent = player.silent.value && ((stream.tracks || []).find((x) => x.kind === 'audio')?.codec || player.silent.value);
  const text = !Number.isFinite(t) || (live && (!stream.live || outage.value)) ? '' : live
    ? (player.playing.value ? `live ${Number.isFinite(player.latency.value) ? span(Math.max(0, Math.round(player.latency.value / 10) * 10)) : ''}` : `paused · −${span(behind)}`)
    : `−${span(behind)} · recorded`;
  const gap = player.gap.value;
  return html`${gap && html`<div class="note" role="status">${Number.isFinite(gap.start) ? `skipped ${span(gap.end - gap.start)} that is missing${gap.reason ? `: ${gap.reason}` : ''}` : 'nothing is recorded there: this is the first picture after it'}</div>`}<div class="tags">
    ${player.skipped.value > 0 && html`<span class="tag" role="status">${player.skipped.value} frames skipped to stay live; the recording has them</span>`}
    ${silent && html`<span class="tag">no sound: this browser cannot play ${codecName(silent)}</span>`}
    ${player.rate.value !== 1 && html`<span class="tag">${player.rate.value}×</span>`}
    ${text && html`<span class="tag">${live && player.playing.value && stream.live && html`<${Dot} tone="ok" />`}${text}</span>`}</div>`;
}

function Over({ player, stream, unplayable, onFix }) {
  const s = player.state.value;
  const st = status(stream, now.value);
  const live = player.mode.value === 'live';
  if (unplayable || s.kind === 'unplayable') return html`<${CannotPlay} stream=${stream} mime=${s.mime || s.text} at=${player.time.value} live=${live} />`;
  if (live && !stream.live && s.kind !== 'playing') {
    const fix = mayChange.value && s.kind !== 'error' && fixes[st.fix];
    return html`<div class="over solid" role="status"><b>${st.title}</b>${st.text && html`<p>${st.text}</p>`}${stream.last && html`<p class="small">What was recorded can be played: touch the timeline below.</p>`}${fix && html`<button type="button" class="btn sm" onClick=${() => onFix(fix[1])}>${fix[0]}</button>`}</div>`;
  }
  if (s.kind === 'error') {
    const retry = () => (live ? player.live() : player.seek(player.time.value, true));
    return html`<div class="over solid" role="alert"><b>${s.error?.status === 0 ? 'The server does not answer' : 'This did not play'}</b><p>${s.text || s.error?.message || ''}${s.error?.hint ? `. ${s.error.hint}` : ''}</p><button type="button" class="btn sm" onClick=${retry}>Try again</button></div>`;
  }
  if (s.kind === 'nothing') return html`<div class="over solid" role="status"><b>Nothing is recorded here</b><p>${gapWords(s, stream)}</p><div class="row">${s.end && html`<button type="button" class="btn sm" onClick=${() => player.seek(s.end, true)}>Go to ${clock(s.end)}</button>`}${s.ended && html`<button type="button" class="btn sm" onClick=${() => player.live()}>Go live</button>`}</div></div>`;
  if (s.kind === 'edge' && player.playing.value) return html`<div class="note">at the newest recording${stream.live ? '' : '; nothing more is coming in'}</div>`;
  if (s.kind === 'loading' || s.kind === 'waiting') return html`<div class="over"><${Spinner} />${s.text && html`<p>${s.text}</p>`}</div>`;
  if (!player.playing.value && !player.scrubbing) return html`<div class="over" aria-hidden="true"></div>`;
  return null;
}

function gapWords(s, stream) {
  if (s.start && s.end) return `Missing from ${clock(s.start)} to ${clock(s.end)} (${span(s.end - s.start)})${s.reason ? `: ${s.reason}` : ''}.`;
  if (s.end) return 'The recording starts later than this.';
  return stream.live ? 'The newest fragment is still being written.' : 'The recording ends before this.';
}

/** Words, and stills where the server can make them, for what this browser cannot play. */
function CannotPlay({ stream, mime, at, live }) {
  const step = live ? 5000 : 250;
  const when = Math.floor(at / step) * step;
  const [src, setSrc] = useState('');
  const [shown, setShown] = useState(false);
  const able = system.value?.ffmpeg !== false && Number.isFinite(at) && (!live || stream.live);
  useEffect(() => {
    if (!able) return undefined;
    const t = setTimeout(() => setSrc(address(path(stream.name, '/still.jpg'), { at: live ? '' : iso(when), n: live ? when : '', width: 960 }).href), 160);
    return () => clearTimeout(t);
  }, [able, when, live]);
  const video = (stream.tracks || []).find((t) => t.kind === 'video');
  const codec = video ? codecName(video.codec) : mime || 'this video';
  const stills = src && shown ? ' These are stills.' : '';
  return html`${src && able && html`<img class="fit" alt=${`still of ${stream.name}`} src=${src} hidden=${!shown} onLoad=${() => setShown(true)} onError=${() => setShown(false)} />`}
    <div class=${stills ? 'caption' : 'over solid'} role="status"><b>This browser cannot play ${codec}</b>
    <p>The camera is recorded as it is, and clips hold the original.${stills} To watch here, use Safari, or Chrome or Edge on a machine that decodes ${codec} in hardware${video?.codec === 'h265' ? '; or add the camera’s second stream, which is often H.264' : ''}.</p></div>`;
}

/** Buttons under the picture. */
export function Controls({ player, stream, video, frame, clip, onClip, onSnapshot, onMark, talking, onTalk }) {
  const live = player.mode.value === 'live';
  const playing = player.playing.value;
  const t = player.time.value;
  const audio = (stream.tracks || []).some((x) => x.kind === 'audio');
  const stale = Number.isFinite(t) && t < startOfDay(now.value);
  const select = useRef(null);
  return html`<div class="ctl" role="group" aria-label="Player">
    <button type="button" class="btn sm" aria-label="Back 10 seconds" onClick=${() => player.skip(-10000)}>−10 s</button>
    <button type="button" class="btn sm ico" aria-label=${playing ? 'Pause' : 'Play'} onClick=${() => player.toggle()}><${Icon} name=${playing ? 'pause' : 'play'} /></button>
    <button type="button" class="btn sm" aria-label="Forward 10 seconds" disabled=${live} onClick=${() => player.skip(10000)}>+10 s</button>
    <select ref=${select} class="btn sm hidem" aria-label="Speed" value=${String(player.rate.value)} onChange=${(e) => { player.speed(Number(e.currentTarget.value)); select.current.blur(); }}>${RATES.map((r) => html`<option value=${String(r)}>${r}×</option>`)}</select>
    <span class="mono time"><${Time} at=${t}>${stale ? `${day(t)} ` : ''}${clock(t, true)}</${Time}></span>
    <span class="grow"></span>
    ${audio && html`<button type="button" class="btn sm ico" aria-label=${player.muted.value ? 'Sound on' : 'Sound off'} aria-pressed=${!player.muted.value} disabled=${!!player.silent.value} onClick=${() => player.mute(!player.muted.value)}><${Icon} name=${player.muted.value ? 'mute' : 'sound'} /></button>`}
    ${onTalk && html`<button type="button" class="btn sm" aria-pressed=${talking} title="through the camera's loudspeaker (T)" onClick=${onTalk}><${Icon} name="mic" />Talk</button>`}
    <button type="button" class=${`btn sm ${live && playing ? '' : 'pri'}`} aria-pressed=${live && playing} onClick=${() => player.live()}><${Dot} tone=${live && playing && stream.live && !outage.value ? 'ok' : 'off'} />${live && playing ? 'Live' : 'Go live'}</button>
    ${onMark && html`<button type="button" class="btn sm ico" aria-label="Mark what is shown" title="mark what is shown (B)" onClick=${onMark}><${Icon} name="flag" /></button>`}
    <button type="button" class="btn sm" onClick=${onSnapshot}>Snapshot</button>
    <button type="button" class="btn sm" aria-pressed=${!!clip} onClick=${onClip}>${clip ? `Clip ${span(clip.to - clip.from)} ↓` : 'Clip…'}</button>
    ${document.pictureInPictureEnabled && html`<button type="button" class="btn sm ico hidem" aria-label="Picture in picture" onClick=${() => (document.pictureInPictureElement ? document.exitPictureInPicture() : video.current.requestPictureInPicture().catch(() => {}))}><${Icon} name="pip" /></button>`}
    <button type="button" class="btn sm ico" aria-label="Full screen" onClick=${() => fullscreen(frame.current)}><${Icon} name="full" /></button>
  </div>`;
}
