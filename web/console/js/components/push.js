// How a camera or an encoder sends to a stream itself, with a key made for it on the spot.
import { html, useState } from '../lib.js';
import { system, words, session } from '../store.js';
import { post } from '../api.js';
import { Copy } from './bits.js';

/** host:port that others reach RTSP at: the server's own, or this page's host when it listens on all. */
export function rtspHost() {
  const text = String(system.value?.rtsp || ':8554').replace(/^rtsps?:\/\//, '').replace(/\/.*$/, '');
  const m = /^(.*?):(\d+)$/.exec(text);
  const host = m ? m[1] : text;
  const any = !host || host === '0.0.0.0' || host === '[::]' || host === '::';
  return `${any ? location.hostname : host}:${m ? m[2] : 8554}`;
}

export function Push({ name }) {
  const [token, setToken] = useState('');
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const make = async () => {
    setBusy(true);
    setError(null);
    try { setToken((await post('v1/keys', { name: `push-${name}`, role: 'producer', streams: [name] })).token); } catch (err) { setError(err); }
    setBusy(false);
  };
  const url = `rtsp://penstock:${token || 'TOKEN'}@${rtspHost()}/${encodeURIComponent(name)}`;
  const may = !session.value || session.value.role === 'admin' || !session.value.role;
  return html`<div class="stack">
    <p class="mut">Set this as the RTSP address to publish to. Any user name works; the password is the token of a key that may send to this stream.</p>
    ${!token && may && html`<div><button type="button" class="btn pri" disabled=${busy} onClick=${make}>${busy ? 'Making…' : 'Make a key for it'}</button></div>`}
    ${token && html`<p role="status"><b>The key is in the lines below.</b> It is shown this once.</p>`}
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div><div class="f">Address</div><${Copy} text=${url} label="RTSP address" /></div>
    <div><div class="f">With ffmpeg, from a file</div><${Copy} label="ffmpeg command" text=${`ffmpeg -re -i video.mp4 -c copy -f rtsp -rtsp_transport tcp "${url}"`} /></div>
    <div><div class="f">With ffmpeg, from a USB camera</div><${Copy} label="ffmpeg command for a USB camera" text=${`ffmpeg -f v4l2 -i /dev/video0 -c:v libx264 -preset veryfast -tune zerolatency -g 30 -pix_fmt yuv420p -f rtsp -rtsp_transport tcp "${url}"`} /></div>
  </div>`;
}
