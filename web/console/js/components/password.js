import { html, useState } from '../lib.js';
import { post } from '../api.js';
import { refreshSystem, session, toast, words } from '../store.js';
import { Dialog } from './dialog.js';
import { Field } from './bits.js';

const LEAST = 8;

/** Sets the password of whoever is signed in. */
export function PasswordForm({ onDone }) {
  const [text, setText] = useState('');
  const [current, setCurrent] = useState('');
  const own = session.value?.own_password;
  const [show, setShow] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const submit = async (e) => {
    e.preventDefault();
    if (text.length < LEAST || busy || (own && !current)) return;
    setBusy(true);
    setError(null);
    try {
      await post('v1/password', { password: text, current });
      setText('');
      setCurrent('');
      toast('The password is set. The one-time link is no longer needed.');
      session.value = { ...session.value, password_set: true, own_password: true };
      refreshSystem();
      onDone?.();
    } catch (err) { setError(err); }
    setBusy(false);
  };
  return html`<form onSubmit=${submit}>
    <input class="sr" type="text" name="username" autocomplete="username" value=${session.value?.name || 'admin'} tabIndex="-1" aria-hidden="true" readOnly />
    ${own && html`<${Field} id="oldpass" label="Present password">
    <input class="in" id="oldpass" type="password" autocomplete="current-password" value=${current} onInput=${(e) => setCurrent(e.currentTarget.value)} /></${Field}>`}
    <${Field} id="newpass" label="New password" error=${error && words(error)} hint=${text && text.length < LEAST ? `${LEAST - text.length} more characters` : `At least ${LEAST} characters; a few words are best.`}>
    <div class="row" style=${{ flexWrap: 'nowrap' }}><input class="in" id="newpass" type=${show ? 'text' : 'password'} autocomplete="new-password" value=${text} onInput=${(e) => setText(e.currentTarget.value)} />
    <button type="button" class="btn" aria-pressed=${show} onClick=${() => setShow(!show)}>${show ? 'Hide' : 'Show'}</button></div></${Field}>
    <div class="row" style=${{ marginTop: '12px' }}><button class="btn pri" disabled=${text.length < LEAST || busy || (own && !current)}>${busy ? 'Setting…' : 'Set password'}</button></div></form>`;
}

export const PasswordDialog = ({ onClose }) => html`<${Dialog} title="Set a password" onClose=${onClose}>
  <p class="mut">With a password, you sign in from other machines and phones. To let them reach the server, start it with <code class="mono">--http 0.0.0.0:8080</code>.</p>
  <${PasswordForm} onDone=${onClose} /></${Dialog}>`;
