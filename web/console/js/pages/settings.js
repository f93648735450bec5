// Keys for machines, the password for people, and how the page looks.
import { html, useEffect, useState } from '../lib.js';
import { get, post, remove } from '../api.js';
import { session, system, theme, setTheme, signOut, words, toast, now } from '../store.js';
import { instant, when, day, zone } from '../format.js';
import { Seg, Copy, Field, Failure, Skeleton, Time, Dot } from '../components/bits.js';
import { Dialog, Confirm } from '../components/dialog.js';
import { mayAudit } from '../components/shell.js';
import { href } from '../router.js';
import { PasswordForm } from '../components/password.js';

const ROLES = [['viewer', 'watches live and recorded'], ['producer', 'sends video'], ['worker', 'reads video for a model'], ['operator', 'all but keys and passwords'], ['admin', 'everything']];

export default function Settings() {
  const set = system.value?.password_set ?? session.value?.password_set;
  return html`<div class="top"><h1>Keys & settings</h1><span class="grow"></span>${mayAudit() && html`<a class="btn" href=${href('audit')}>Audit log</a>`}<button type="button" class="btn" onClick=${signOut}>Sign out</button></div>
    <div class="inset stack">
      <${Keys} />
      <div class="g2">
        <div class="card pad"><h2 class="h">Password</h2><p class="mut" style=${{ marginTop: '6px' }}>${set === false ? 'None is set. Until then only the one-time link that the server prints signs in.' : 'Changing it signs out other browsers.'}</p><${PasswordForm} /></div>
        <div class="card pad"><h2 class="h">This browser</h2><div class="f">Theme</div><${Seg} label="Theme" value=${theme.value} onChange=${setTheme} options=${[['system', 'As the system'], ['dark', 'Dark'], ['light', 'Light']]} />
          <p class="mut small" style=${{ marginTop: '12px' }}>${zoneWords()}</p></div>
      </div>
    </div>`;
}

function zoneWords() {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return zone(Date.now()) === 'UTC' ? 'Times are in UTC, as this browser has it.' : `Times are in this browser's zone, ${name.replace(/_/g, ' ')} (${zone(Date.now())}). Point at one to see it in UTC.`;
}

function Keys() {
  const [keys, setKeys] = useState(null);
  const [error, setError] = useState(null);
  const [dialog, setDialog] = useState(null);
  const load = async () => {
    setError(null);
    try { setKeys((await get('v1/keys')).keys || []); } catch (err) { setError(err); }
  };
  useEffect(() => { load(); }, []);
  if (error?.status === 403) return html`<div class="card pad"><h2 class="h">Keys</h2><p class="mut">Your role does not manage keys.</p></div>`;
  return html`${error && html`<${Failure} what="The keys could not be read" error=${error} retry=${load} />`}
    <div class="card"><div class="pad row"><div class="grow"><h2 class="h">Keys</h2><p class="mut small">For scripts, cameras that push, and AWS clients. A token is also the password for RTSP.</p></div><button type="button" class="btn pri" onClick=${() => setDialog({ kind: 'new' })}>Make a key</button></div>
      ${!keys && !error && html`<div class="pad stack"><${Skeleton} /><${Skeleton} width="70%" /></div>`}
      ${keys && !keys.length && html`<p class="pad mut">No keys yet. Make one for each machine, so that each can be taken back by itself.</p>`}
      ${keys?.length > 0 && html`<div class="scroll"><table><thead><tr><th>Name</th><th>Role</th><th class="hidem">Streams</th><th class="hidem">Id</th><th class="hidem">Made</th><th class="hidem">Last used</th><th><span class="sr">Action</span></th></tr></thead><tbody>
        ${keys.map((k) => html`<tr key=${k.id}><td><b>${k.name || 'unnamed'}</b>${expiry(k)}</td><td class="nw">${k.role || 'policy'}</td><td class="hidem">${k.streams?.length ? k.streams.join(', ') : 'all'}</td><td class="mono hidem">${k.id}</td>
        <td class="hidem"><${Time} at=${instant(k.created)}>${when(instant(k.created), now.value)}</${Time}></td><td class="hidem">${k.last_used ? html`<${Time} at=${instant(k.last_used)}>${when(instant(k.last_used), now.value)}</${Time}>` : 'never'}</td>
        <td class="num"><button type="button" class="btn sm danger" aria-label=${`Remove ${k.name || k.id}`} onClick=${() => setDialog({ kind: 'remove', key: k })}>Remove</button></td></tr>`)}</tbody></table></div>`}
    </div>
    ${dialog?.kind === 'new' && html`<${NewKey} onClose=${() => { setDialog(null); load(); }} />`}
    ${dialog?.kind === 'remove' && html`<${Confirm} title=${`Remove ${dialog.key.name || dialog.key.id}`} action="Remove" onClose=${() => setDialog(null)} onDo=${async () => { await remove(`v1/keys/${encodeURIComponent(dialog.key.id)}`); toast('The key is removed; what it started has ended'); setDialog(null); load(); }}><p>Whoever uses this key is cut off at once: cameras that push with it stop, players that watch with it end.</p></${Confirm}>`}`;
}

function expiry(k) {
  const t = instant(k.expires);
  if (!Number.isFinite(t)) return null;
  return html`<div class="mut small">${t < now.value ? html`<${Dot} tone="bad" /> expired` : 'until'} <${Time} at=${t}>${day(t)}</${Time}></div>`;
}

function NewKey({ onClose }) {
  const [v, set] = useState({ name: '', role: 'viewer', streams: '', ttl: '' });
  const [made, setMade] = useState(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const field = (k) => (e) => set({ ...v, [k]: e.currentTarget.value });
  const submit = async (e) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const streams = v.streams.split(/[\s,]+/).filter(Boolean);
      setMade(await post('v1/keys', { name: v.name.trim(), role: v.role, ...(streams.length ? { streams } : {}), ...(v.ttl ? { ttl: v.ttl } : {}) }));
    } catch (err) { setError(err); }
    setBusy(false);
  };
  if (made) return html`<${Dialog} title=${`Key ${made.name}`} onClose=${onClose} footer=${html`<button type="button" class="btn pri" onClick=${onClose}>I have kept it</button>`}><p role="status"><b>This is shown once.</b> Keep it in a safe place now.</p>
    <div class="f">Token: for the API, and as the RTSP password</div><${Copy} text=${made.token} label="Token" />
    <div class="f">Access key id: for AWS clients</div><${Copy} text=${made.access_key_id} label="Access key id" />
    <div class="f">Secret access key</div><${Copy} text=${made.secret_access_key} label="Secret access key" /></${Dialog}>`;
  return html`<${Dialog} title="Make a key" onClose=${onClose}><form onSubmit=${submit}>
    <${Field} id="kname" label="Name" hint="Who or what uses it, such as loading-dock-encoder."><input class="in" id="kname" value=${v.name} onInput=${field('name')} autofocus required /></${Field}>
    <${Field} id="krole" label="May do"><select class="in" id="krole" value=${v.role} onChange=${field('role')}>${ROLES.map(([r, t]) => html`<option value=${r}>${r}: ${t}</option>`)}</select></${Field}>
    ${v.role !== 'admin' && html`<${Field} id="kstreams" label="Only these streams" hint="Names or patterns such as dock-*, with commas. Empty: all."><input class="in mono" id="kstreams" value=${v.streams} onInput=${field('streams')} autocapitalize="off" spellcheck=${false} /></${Field}>`}
    <${Field} id="kttl" label="Ends"><select class="in" id="kttl" value=${v.ttl} onChange=${field('ttl')}><option value="">never</option><option value="24h">in a day</option><option value="30d">in 30 days</option><option value="365d">in a year</option></select></${Field}>
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '16px', justifyContent: 'flex-end' }}><button type="button" class="btn" onClick=${onClose}>Cancel</button><button class="btn pri" disabled=${busy || !v.name.trim()}>${busy ? 'Making…' : 'Make the key'}</button></div></form></${Dialog}>`;
}
