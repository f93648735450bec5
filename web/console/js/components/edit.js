// Changes to a stream: where its video comes from, how long it is kept, its tags, its end.
import { html, useState } from '../lib.js';
import { patch, remove, stream as path } from '../api.js';
import { put, drop, toast, words } from '../store.js';
import { go } from '../router.js';
import { bytes } from '../format.js';
import { Dialog, Confirm } from './dialog.js';
import { Field, Seg } from './bits.js';
import { SourceForm, tidy } from './sourceform.js';
import { RetentionDialog, keeps } from './retentiondialog.js';
import { Ladder, useProbe } from './ladder.js';
import { Push } from './push.js';
import { PasswordDialog } from './password.js';

const blank = { url: '', username: '', password: '', transport: 'auto' };

export function Edit({ stream, onClose, onSwitch }) {
  const first = stream.source ? { ...blank, ...stream.source, password: '' } : blank;
  const [kind, setKind] = useState(stream.source ? 'pull' : 'push');
  const [source, setSource] = useState(first);
  const [tags, setTags] = useState(Object.entries(stream.tags || {}).map(([k, v]) => (v ? `${k}=${v}` : k)).join('\n'));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const check = useProbe();
  const moved = kind === 'pull' && JSON.stringify(tidy(source)) !== JSON.stringify(first);
  const submit = async (e) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const body = {};
      if (kind === 'push' && stream.source) body.push = true;
      if (moved) { const { url, username, password, transport } = tidy(source); body.source = { url, username, transport, ...(password ? { password } : {}) }; }
      const t = readTags(tags);
      if (JSON.stringify(t) !== JSON.stringify(stream.tags || {})) body.tags = t;
      if (Object.keys(body).length) { put(await patch(path(stream.name), body)); toast(`${stream.name} changed`); }
      onClose();
    } catch (err) { setError(err); setBusy(false); }
  };
  const can = (kind === 'push' || source.url.trim()) && !busy;
  return html`<${Dialog} title=${`Edit ${stream.name}`} onClose=${onClose}><form onSubmit=${submit}>
    <${Seg} label="Where the video comes from" value=${kind} onChange=${setKind} options=${[['pull', 'Pull from a camera'], ['push', 'A camera pushes to us']]} />
    ${kind === 'pull' ? html`<${SourceForm} value=${source} onChange=${setSource} known=${stream.source?.password_set} />
      <div class="row" style=${{ marginTop: '10px' }}><button type="button" class="btn sm" disabled=${!source.url || check.busy} onClick=${() => check.run(probeBody(source))}>${check.busy ? 'Checking…' : 'Check it first'}</button>${stream.source?.password_set && !source.password && html`<span class="mut small">To check, type the password again.</span>`}</div>
      <${Ladder} check=${check} />` : html`<div style=${{ marginTop: '12px' }}><${Push} name=${stream.name} /></div>`}
    <div class="f">Recordings are kept for</div><div class="row"><span>${keeps(stream)}</span>${onSwitch && html`<button type="button" class="btn sm" onClick=${() => onSwitch('retention')}>Change…</button>`}</div>
    <${Field} id="tags" label="Tags, one a line: floor=2" hint="The filter on the wall finds them."><textarea class="in mono" id="tags" rows="2" value=${tags} onInput=${(e) => setTags(e.currentTarget.value)}></textarea></${Field}>
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '16px' }}>${onSwitch && html`<button type="button" class="btn danger" onClick=${() => onSwitch('delete')}>Delete…</button>`}<span class="grow"></span><button type="button" class="btn" onClick=${onClose}>Cancel</button><button class="btn pri" disabled=${!can}>${busy ? 'Saving…' : 'Save'}</button></div>
  </form></${Dialog}>`;
}

export function probeBody(source) {
  const { url, username, password, transport } = tidy(source);
  return { url, username, password, transport };
}

function readTags(text) {
  const out = {};
  for (const line of text.split('\n')) {
    const [k, ...v] = line.split('=');
    if (k.trim()) out[k.trim()] = v.join('=').trim();
  }
  return out;
}

export function Delete({ stream, onClose }) {
  const end = async () => {
    await remove(path(stream.name));
    drop(stream.name);
    toast(`${stream.name} deleted`);
    onClose();
    go('cameras');
  };
  return html`<${Confirm} title=${`Delete ${stream.name}`} typed=${stream.name} action="Delete for good" onDo=${end} onClose=${onClose}>
    <p>This ends the camera and deletes everything it recorded${stream.bytes ? `: ${bytes(stream.bytes)}` : ''}. It cannot be undone.</p></${Confirm}>`;
}

export const PushDialog = ({ stream, onClose }) => html`<${Dialog} title=${`Send to ${stream.name}`} onClose=${onClose}><${Push} name=${stream.name} /></${Dialog}>`;

/** By kind of dialog. */
export const parts = { edit: Edit, push: PushDialog, delete: Delete, password: PasswordDialog, retention: RetentionDialog };
