// The fields that say where a camera is and how to sign in to it.
import { html, useId } from '../lib.js';
import { Field } from './bits.js';

/** Reads what people type: an address alone becomes an RTSP URL; user and password are taken out of it. */
export function tidy(v) {
  let url = v.url.trim();
  let { username, password } = v;
  if (url && !/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) url = `rtsp://${url}`;
  // The last @ before the path ends the sign-in: passwords may hold all the others.
  const m = /^(rtsps?:\/\/)([^/?#]*)@([^@]*)$/i.exec(url) || /^(rtsps?:\/\/)(.*)@([^@]+)$/i.exec(url);
  if (m && !username) {
    const colon = m[2].indexOf(':');
    username = plain(colon < 0 ? m[2] : m[2].slice(0, colon));
    if (!password && colon >= 0) password = plain(m[2].slice(colon + 1));
    url = m[1] + m[3];
  }
  return { ...v, url, username, password };
}

function plain(s) { try { return decodeURIComponent(s); } catch { return s; } }

export const nameOK = (name) => /^[A-Za-z0-9_.-]{1,256}$/.test(name);

export function SourceForm({ value, onChange, known, disabled }) {
  const id = useId();
  const set = (k) => (e) => onChange({ ...value, [k]: e.currentTarget.value });
  const leave = () => { if (value.url) onChange(tidy(value)); };
  return html`<fieldset disabled=${disabled} style=${{ border: 0, margin: 0, padding: 0, minWidth: 0 }}>
    <${Field} id=${`${id}u`} label="Address or RTSP URL"><input class="in mono" id=${`${id}u`} value=${value.url} onInput=${set('url')} onBlur=${leave} placeholder="10.0.4.36 or rtsp://10.0.4.36:554/stream1" inputmode="url" autocapitalize="off" autocomplete="off" spellcheck=${false} required /></${Field}>
    <div class="g2 pair"><${Field} id=${`${id}n`} label="User"><input class="in" id=${`${id}n`} value=${value.username} onInput=${set('username')} autocomplete="off" autocapitalize="off" spellcheck=${false} /></${Field}>
    <${Field} id=${`${id}p`} label="Password"><input class="in" id=${`${id}p`} type="password" value=${value.password} onInput=${set('password')} autocomplete="new-password" placeholder=${known ? 'as it was' : ''} /></${Field}></div>
    <${Field} id=${`${id}t`} label="Transport"><select class="in" id=${`${id}t`} value=${value.transport} onChange=${set('transport')}>
      <option value="auto">Automatic (TCP first)</option><option value="tcp">TCP only</option><option value="udp">UDP only</option></select></${Field}>
    <p class="mut small" style=${{ marginTop: '8px' }}>Any character works in the password; it is stored encrypted and never shown again.</p></fieldset>`;
}
