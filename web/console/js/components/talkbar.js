// Push to talk: hold the button, or its key, while speaking; a short tap keeps it open.
import { html, useEffect, useRef, useState } from '../lib.js';
import { Call } from '../player/voice.js';
import { Icon } from './icons.js';
import { Spinner } from './bits.js';

const TAP = 350; // ms: shorter is a tap
const texts = { mic: 'Waiting for the microphone: the browser may ask for it.', calling: 'Calling the camera…', ready: 'The camera listens while you hold the button.', ended: '' };

export function Bar({ name, player, onClose }) {
  const call = useRef(/** @type {any} */ (null));
  const meter = useRef(/** @type {any} */ (null));
  const button = useRef(/** @type {any} */ (null));
  const began = useRef(0);
  const loud = useRef(false); // whether the camera could be heard before we spoke
  const [state, setState] = useState({ kind: 'mic', text: '' });
  const [on, setOn] = useState(false);
  const [round, setRound] = useState(0);
  const level = useRef(0);
  useEffect(() => {
    const c = new Call(name, {
      onstate: (s) => { setState(s); if (s.kind === 'ended') speak(false); },
      onlevel: (v) => {
        level.current = Math.max(v, level.current * 0.85);
        if (meter.current) meter.current.style.width = `${Math.min(100, Math.round(Math.sqrt(level.current) * 100))}%`;
      },
    });
    call.current = c;
    const hide = () => { if (document.hidden) speak(false); }; // nobody is heard from a page that is not seen
    document.addEventListener('visibilitychange', hide);
    return () => { document.removeEventListener('visibilitychange', hide); speak(false); c.end(); };
  }, [round]);
  useEffect(() => { if (state.kind === 'ready') button.current?.focus(); }, [state.kind]);
  // The camera is not heard while one speaks to it: it would hear itself.
  const speak = (want) => {
    const c = call.current;
    if (want && (!c || c.over || !c.node)) return;
    if (want === !!c?.speaking && !(c?.over)) return;
    if (c) c.speaking = want;
    setOn(want);
    if (want) { loud.current = !player.muted.value; player.mute(true); } else if (loud.current) { loud.current = false; player.mute(false); }
  };
  const down = () => { if (call.current?.speaking) { began.current = 0; speak(false); } else { began.current = performance.now(); speak(true); } };
  const up = () => { if (began.current && performance.now() - began.current > TAP) speak(false); };
  const key = (e, f) => {
    if (e.key !== ' ' && e.key !== 'Enter') return;
    e.preventDefault();
    e.stopPropagation();
    if (!e.repeat) f();
  };
  const escape = (e) => { if (e.key === 'Escape') { e.stopPropagation(); onClose(); } };
  const ready = state.kind === 'ready';
  return html`<div class="talk" role="group" aria-label="Talk to the camera" onKeyDown=${escape}>
    ${(state.kind === 'mic' || state.kind === 'calling') && html`<${Spinner} />`}
    ${ready && html`<button type="button" ref=${button} class=${`btn pri hold ${on ? 'on' : ''}`} aria-pressed=${on} onPointerDown=${(e) => { if (e.button > 0) return; e.currentTarget.setPointerCapture(e.pointerId); down(); }} onPointerUp=${up} onPointerCancel=${() => speak(false)} onContextMenu=${(e) => e.preventDefault()} onKeyDown=${(e) => key(e, down)} onKeyUp=${(e) => key(e, up)} onBlur=${() => speak(false)}><${Icon} name="mic" />${on ? 'Speak now' : 'Hold to talk'}</button>
      <span class="vu" role="img" aria-label="Level of the microphone"><i ref=${meter} class=${on ? 'on' : ''}></i></span>`}
    <span class=${`grow small ${state.kind === 'ended' ? '' : 'mut'}`} role="status">${state.kind === 'ended' ? state.text || 'The call ended.' : on ? 'You are heard at the camera.' : texts[state.kind]}</span>
    ${state.kind === 'ended' && html`<button type="button" class="btn sm" onClick=${() => { setState({ kind: 'mic', text: '' }); setRound(round + 1); }}>Call again</button>`}
    <button type="button" class="btn sm" onClick=${onClose}>${ready ? 'Hang up' : 'Close'}</button></div>`;
}
