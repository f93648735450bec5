// The rungs of a camera check, as they come, with the next step at the one that broke.
import { html, useState, useRef, useEffect } from '../lib.js';
import { probe } from '../api.js';
import { words } from '../store.js';
import { playable } from '../player/mse.js';
import { codecName } from '../format.js';
import { Dot } from './bits.js';
import { SetKeys } from './keyinterval.js';

const NAMES = {
  'address resolves': 'Address found', 'port reached': 'Reached', 'RTSP answers': 'Speaks RTSP', 'signed in': 'Signed in',
  described: 'Streams found', 'set up': 'Stream opened', 'first packets': 'Media arrives', 'key frame': 'Key frames', clock: 'Camera clock', 'first picture': 'First picture', 'two-way audio': 'Two-way audio',
};

/** Runs checks: {body, steps, report, error, busy, run(body), stop()}; body: what is checked. */
export function useProbe() {
  const [state, set] = useState({ body: null, steps: [], report: null, error: null, busy: false, began: 0, took: 0 });
  const abort = useRef(null);
  useEffect(() => () => abort.current?.abort(), []);
  const run = async (body) => {
    abort.current?.abort();
    const mine = new AbortController();
    abort.current = mine;
    const began = performance.now();
    const live = (f) => { if (abort.current === mine) set(f); };
    set({ body, steps: [], report: null, error: null, busy: true, began, took: 0 });
    try {
      const report = await probe(body, (step) => live((s) => ({ ...s, steps: [...s.steps, step] })), mine.signal);
      live((s) => ({ ...s, steps: report.steps?.length ? report.steps : s.steps, report, busy: false, took: performance.now() - began }));
      return report;
    } catch (error) {
      if (error.name !== 'AbortError') live((s) => ({ ...s, error, busy: false }));
      return null;
    }
  };
  const stop = () => { abort.current?.abort(); abort.current = null; set((s) => ({ ...s, busy: false })); };
  return { ...state, run, stop };
}

/** device: address of the camera's ONVIF service, where it is known. */
export function Ladder({ check, device }) {
  const { steps, busy, error, report } = check;
  if (!steps.length && !busy && !error) return null;
  const cannot = report && !playable(report) && report.tracks.find((t) => t.kind === 'video');
  const keys = (s) => report && s.step === 'key frame' && /key frame interval/.test(s.try) && html`<${SetKeys} key=${check.began} camera=${check.body} every=${report.key_interval} device=${device} after="Check again to see it." />`;
  return html`<div class="ladder" aria-live="polite" aria-busy=${busy}>
    ${steps.map((s) => html`<${Rung} key=${s.step} tone=${s.ok ? (s.try ? 'warn' : 'ok') : 'bad'} title=${NAMES[s.step] || s.step} detail=${s.detail} next=${s.try} failed=${!s.ok} act=${keys(s)} />`)}
    ${cannot && html`<${Rung} tone="warn" title=${`This browser cannot play ${codecName(cannot.codec)}`} detail="It is recorded as it is." next="Use a browser with hardware decoding (Safari, or Chrome and Edge on most machines), or give the camera's H.264 sub stream" />`}
    ${busy && html`<div class="chk"><span class="spin" aria-hidden="true"></span><span class="mut">${steps.length ? 'Next step…' : 'Calling the camera…'}</span></div>`}
    ${error && html`<${Rung} tone="bad" title="The check could not run" detail=${words(error)} failed=${true} />`}
  </div>`;
}

const Rung = ({ tone, title, detail, next, failed, act }) => html`<div class=${`chk ${tone === 'ok' ? 'line' : ''}`}><${Dot} tone=${tone} /><b>${title}${failed ? html`<span class="failed"> failed</span>` : ''}</b>
  ${detail && html`<small>${detail}</small>`}${next && html`<small class="try">${failed ? html`<b>Try: </b>` : ''}${next}</small>`}${act && html`<div class="act">${act}</div>`}</div>`;
