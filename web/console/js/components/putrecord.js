// Puts a record by hand.
import { html, useState } from '../lib.js';
import { address, csrfHeader } from '../api.js';
import { words } from '../store.js';
import { clock } from '../format.js';
import { Dialog } from './dialog.js';
import { Dot, Field } from './bits.js';
import { short } from './shardmap.js';

export function PutRecord({ name, onClose }) {
  const [v, set] = useState({ key: '', text: '{"temperature": 21.5}' });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [stored, setStored] = useState('');
  const field = (k) => (e) => set({ ...v, [k]: e.currentTarget.value });
  const submit = async (e) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    setStored('');
    try {
      // As bytes: what is typed is the record, JSON or not.
      const res = await fetch(address(`v1/data/${encodeURIComponent(name)}`, { key: v.key }), {
        method: 'POST', credentials: 'same-origin', body: new TextEncoder().encode(v.text), headers: { 'Content-Type': 'application/octet-stream', ...csrfHeader() },
      });
      const answer = await res.json();
      if (!res.ok) throw Object.assign(new Error(answer.error?.message || `the server answered ${res.status}`), { hint: answer.error?.hint });
      const r = answer.records[0];
      setStored(`Stored in ${short(r.shard)} as …${r.sequence_number.slice(-6)}, at ${clock(Date.now())}`);
      setBusy(false);
    } catch (err) { setError(err); setBusy(false); }
  };
  return html`<${Dialog} title=${`Put a record into ${name}`} onClose=${onClose}><form onSubmit=${submit}>
    <${Field} id="pkey" label="Partition key" hint="Records with the same key stay in order. Empty: any shard."><input class="in mono" id="pkey" value=${v.key} onInput=${field('key')} maxlength="256" autocapitalize="off" spellcheck=${false} autofocus /></${Field}>
    <${Field} id="pdata" label="Data"><textarea class="in mono" id="pdata" rows="6" value=${v.text} onInput=${field('text')} spellcheck=${false}></textarea></${Field}>
    ${error && html`<p class="err" role="alert">${words(error)}</p>`}
    <div class="row" style=${{ marginTop: '16px', justifyContent: 'flex-end' }}><span class="grow small" role="status">${stored && html`<${Dot} tone="ok" /> ${stored}`}</span><button type="button" class="btn" onClick=${onClose}>Close</button><button type="submit" class="btn pri" disabled=${busy}>${busy ? 'Storing…' : 'Put'}</button></div></form></${Dialog}>`;
}
