// A camera that makes a key frame too seldom is told to make more of them, by ONVIF.
import { html, useEffect, useRef, useState } from '../lib.js';
import { post, stream as path } from '../api.js';
import { mayChange, words } from '../store.js';
import { span } from '../format.js';
import { Confirm } from './dialog.js';
import { Field } from './bits.js';

const SELDOM = 3.5; // seconds between key frames from which on video starts late, as the check has it

/**
 * A button, for who may change cameras, where key frames are seldom; then what was set.
 * @param {{name?:string, camera?:any, every?:number, device?:string, after:string}} p name: of a camera that is
 *   added; camera: url, username and password of one that is not; device: its ONVIF service, where it is known
 */
export function SetKeys({ name, camera, every, device: known = '', after }) {
  const [open, setOpen] = useState(false);
  const [seconds, setSeconds] = useState('1');
  const [device, setDevice] = useState('');
  const [lost, setLost] = useState(false);
  const [done, setDone] = useState(/** @type {any} */ (null));
  const said = useRef(null);
  const button = useRef(null);
  const was = useRef(false);
  useEffect(() => { if (was.current && !open) button.current?.focus(); was.current = open; }, [open]);
  useEffect(() => { if (done) said.current?.focus(); }, [done]);
  if (done) return html`<span class="keyset" role="status" tabIndex="-1" ref=${said}>Set: a key frame every ${span(done.after.seconds * 1000)} (${done.after.frames} frames at ${done.after.fps}/s, profile ${done.after.profile}); it was every ${span(done.before.seconds * 1000)}. ${after}</span>`;
  if (!mayChange.value || (name && !(every >= SELDOM) && !open)) return null;
  const set = async () => {
    const body = { seconds: Number(seconds), device: device.trim() || known };
    try {
      const answer = await (name ? post(path(name, '/key-interval'), body) : post('v1/probe/key-interval', { url: camera.url, username: camera.username, password: camera.password, ...body }));
      setOpen(false);
      setDone(answer);
    } catch (err) {
      setLost(true);
      throw err.status ? new Error(err.status === 403 ? 'Not set: this sign-in may not change cameras' : `Not set: ${words(err)}`) : err;
    }
  };
  return html`<button type="button" class="btn sm" ref=${button} onClick=${() => setOpen(true)}>Set it for me</button>
    ${open && html`<${Confirm} title="Change the camera" action="Change the camera" mild=${true} onDo=${set} onClose=${() => setOpen(false)}>
      <p>Its encoder makes a key frame ${every ? `every ${span(every * 1000)}` : 'too seldom'}: video starts late, and clips are as coarse. This sets it in the camera itself, by ONVIF, with the sign-in of its video. Nothing else of it is changed; whoever else watches this stream gets the same.</p>
      <${Field} id="keysec" label="A key frame every"><select class="in auto" id="keysec" value=${seconds} onChange=${(e) => setSeconds(e.currentTarget.value)}><option value="1">1 second: starts soonest</option><option value="2">2 seconds: needs fewer bits</option></select></${Field}>
      <details class="small" style=${{ marginTop: '6px' }} open=${lost}><summary style=${{ padding: '8px 0' }}>Where its ONVIF service is</summary>
        <${Field} id="keydev" label="Address" hint="Mostly it ends in /onvif/device_service. Empty: the usual ports of the camera are tried."><input class="in mono" id="keydev" value=${device} onInput=${(e) => setDevice(e.currentTarget.value)} placeholder=${known} inputmode="url" autocapitalize="off" autocomplete="off" spellcheck=${false} /></${Field}></details>
    </${Confirm}>`}`;
}
